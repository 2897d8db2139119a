"""Is it still the same person? One measure that needs no download, one of face geometry, and ArcFace.

Distances mean little by themselves, so they are given in units of the mean distance between two people, measured the
same way on the portraits of the set: 0 is the portrait, 1 is as far off as somebody else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations

import cv2
import numpy as np
import scipy.spatial
from huggingface_hub import hf_hub_download

from asymtalker.media.portrait import CROP_MARGIN
from asymtalker.metrics.estimate import MetricUnavailableError
from asymtalker.renderer.landmarks import RIGID

FACE_SIDE = 64
FACE_ROOM = 1.3  # widths of the face box that are compared
ALIGNMENT_BLUR = 2.0  # pixels of 64
ALIGNMENT_END = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 1e-3)
MAX_PAIRS = 500
STRANGERS = 0.8
"""Radians: about how far two people are apart by `appearance_distance` (0.75 among the examples, 0.85 between
them and photographs). The unit where there is one portrait only; `distance_between_people` is that of a set."""
ARCFACE_REPOSITORY = "immich-app/buffalo_l"
ARCFACE_FILE = "recognition/model.onnx"
ARCFACE_SIDE = 112
ARCFACE_TEMPLATE = ((38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041))
"""Where ArcFace wants eyes, nose tip and mouth corners, in pixels of its 112² input (Deng et al. 2019)."""
FIVE_POINTS = (468, 473, 1, 61, 291)  # of the mesh: irises, nose tip, mouth corners


def appearance_distance(frame: np.ndarray, reference: np.ndarray) -> float:
    """How differently two faces look: the angle between their gradient orientations, in radians.

    The frame is laid over the reference by an affine map (ECC, Evangelidis & Psarakis 2008), so that a moving head is
    not another face; gradient orientations (HOG, Dalal & Triggs 2005) do not mind brightness. Meant for portraits of
    one set in one crop: it is no face recognition, which would hold across photographs.

    Args:
        frame, reference: uint8 (H, W, 3) RGB, cropped as the app crops (`asymtalker.media.portrait.crop_box`).
    """
    a, b = _face(frame), _face(reference)
    return _angle(_orientations(_laid_over(a, b)), _orientations(b))


def _face(frame: np.ndarray) -> np.ndarray:
    """The face in the middle of a crop, with a little room: grey, uint8 (64, 64)."""
    height, width = frame.shape[:2]
    side = round(min(height, width) * FACE_ROOM / CROP_MARGIN)
    top, left = (height - side) // 2, (width - side) // 2
    face = cv2.cvtColor(frame[top : top + side, left : left + side], cv2.COLOR_RGB2GRAY)
    return cv2.resize(face, (FACE_SIDE, FACE_SIDE), interpolation=cv2.INTER_AREA)


def _laid_over(face: np.ndarray, reference: np.ndarray) -> np.ndarray:
    smooth = [cv2.GaussianBlur(image, (0, 0), ALIGNMENT_BLUR) for image in (reference, face)]
    matrix = np.eye(2, 3, dtype=np.float32)
    try:
        _, matrix = cv2.findTransformECC(*smooth, matrix, cv2.MOTION_AFFINE, ALIGNMENT_END, None, 3)
    except cv2.error:  # it did not converge, as with a flat image: compared where it is
        matrix = np.eye(2, 3, dtype=np.float32)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(face, matrix, (FACE_SIDE, FACE_SIDE), flags=flags, borderMode=cv2.BORDER_REPLICATE)


def _orientations(face: np.ndarray) -> np.ndarray:
    return cv2.HOGDescriptor((FACE_SIDE, FACE_SIDE), (16, 16), (8, 8), (8, 8), 9).compute(face).ravel()


def _angle(a: np.ndarray, b: np.ndarray) -> float:
    length = float(np.linalg.norm(a) * np.linalg.norm(b))
    if length == 0:  # a flat image has no gradients at all
        return 0.0 if np.array_equal(a, b) else float(np.pi / 2)
    return float(np.arccos(np.clip(np.dot(a, b) / length, -1, 1)))


class IdentityDrift:
    """Distance of a video's face to its portrait against time.

    Args:
        reference: the portrait as the video shows it, uint8 (H, W, 3) RGB.
        interval: seconds over which frames are averaged.
        fps: frames per second.
        every: frames from one that is measured to the next.
    """

    def __init__(self, reference: np.ndarray, interval: float = 10.0, fps: float = 25.0, every: int = 5) -> None:
        self._reference, self._every = reference, every
        self._interval_frames = round(interval * fps)
        self.reset()

    def reset(self) -> None:
        """Forgets the video, keeps the reference."""
        self._frames = 0
        self._distances: dict[int, list[float]] = {}

    def update(self, frames: np.ndarray) -> None:
        """Adds the next frames, uint8 (F, H, W, 3) RGB."""
        for frame in frames:
            if self._frames % self._every == 0:
                distance = appearance_distance(frame, self._reference)
                self._distances.setdefault(self._frames // self._interval_frames, []).append(distance)
            self._frames += 1

    def compute(self) -> np.ndarray:
        """Mean distance of each interval (n,), in radians; divide by `distance_between_people`.

        Raises:
            ValueError: there was no frame.
        """
        if not self._distances:
            raise ValueError("No frames: call update() before compute().")
        return np.array([np.mean(values) for values in self._distances.values()])


def geometry_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Difference in shape of two faces (478, 3) once moved, turned and scaled onto each other (Procrustes).

    Only the points that speech hardly moves are compared. The unit is the root of Procrustes' disparity, 0 to 1.
    """
    _, _, disparity = scipy.spatial.procrustes(np.float64(a[list(RIGID)]), np.float64(b[list(RIGID)]))
    return float(np.sqrt(disparity))


def distance_between_people(
    portraits: Sequence[np.ndarray], people: Sequence[str], distance: Callable[[np.ndarray, np.ndarray], float]
) -> float:
    """Mean distance of two portraits of different people, over at most 500 pairs: the unit of identity drift.

    Args:
        portraits: images for `appearance_distance`, landmarks for `geometry_distance`.
        people: who is shown on each.
        distance: one of the two.

    Raises:
        ValueError: there are not two people.
    """
    pairs = [(a, b) for a, b in combinations(range(len(people)), 2) if people[a] != people[b]]
    if not pairs:
        raise ValueError("The distance between people needs clips of at least two people.")
    if len(pairs) > MAX_PAIRS:
        pairs = [pairs[index] for index in np.random.default_rng(0).choice(len(pairs), MAX_PAIRS, replace=False)]
    return float(np.mean([distance(portraits[a], portraits[b]) for a, b in pairs]))


class ArcFace:
    """ArcFace embeddings (Deng et al. 2019), the network `w600k_r50` of InsightFace's model pack `buffalo_l`.

    Its weights (174 MB) are downloaded from the Hub on first use; InsightFace offers them for research only. The face
    is aligned by five points of the face mesh, where InsightFace's own detector finds its own five.

    Raises:
        MetricUnavailableError: onnxruntime is not installed, or the weights cannot be had.
    """

    def __init__(self) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise MetricUnavailableError("ArcFace needs onnxruntime: pip install -e '.[evaluate]'.") from error
        path = download(ARCFACE_REPOSITORY, ARCFACE_FILE)
        self._session = onnxruntime.InferenceSession(path, providers=onnxruntime.get_available_providers())
        self._input = self._session.get_inputs()[0].name

    def embed(self, frame: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Embedding (512,) of length 1 of the face in an RGB frame with its landmarks (478, 3) in pixels."""
        face = align_face(frame, points)
        pixels = (face.astype(np.float32) - 127.5) / 127.5
        embedding = self._session.run(None, {self._input: pixels.transpose(2, 0, 1)[None]})[0][0]
        return embedding / np.linalg.norm(embedding)


def align_face(frame: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The face of an RGB frame with landmarks (478, 3) as ArcFace wants it, uint8 (112, 112, 3)."""
    source = np.float32(points[list(FIVE_POINTS), :2])
    matrix, _ = cv2.estimateAffinePartial2D(source, np.float32(ARCFACE_TEMPLATE), method=cv2.LMEDS)
    return cv2.warpAffine(frame, matrix, (ARCFACE_SIDE, ARCFACE_SIDE), flags=cv2.INTER_LINEAR)


def download(repository: str, file: str) -> str:
    """A file of the Hub, from the cache or downloaded.

    Raises:
        MetricUnavailableError: it cannot be had.
    """
    try:
        return hf_hub_download(repository, file)
    except (OSError, ValueError) as error:
        raise MetricUnavailableError(
            f"{file} of {repository} is not there and cannot be downloaded from the Hub ({type(error).__name__})."
        ) from error
