"""The renderer's stage: landmarks stay on their pixels, the finder learns, and what is written can be used."""

import json

import cv2
import numpy as np
import PIL.Image
import pytest
import torch
from safetensors.torch import load_file

from asymtalker.metrics.face_mesh import PYTHON_VARIABLE
from asymtalker.renderer.finder import LandmarkFinder, to_pixels
from asymtalker.renderer.landmarks import LEFT_EYE, LIPS_INNER, LIPS_OUTER, OUTER_EYES, OVAL, POINTS, RIGHT_EYE
from asymtalker.renderer.renderer import FaceRenderer
from tests.train.tiny_stage import ROOT
from train import renderer
from train.config import build_settings
from train.face_patches import FacePatches, draw_bend, eye_unit, mirror_order, reference_face
from train.faces import FRAME_SIDE, LabelledFace, read_clip_faces, read_photographs, store_files
from train.photometry import vary

SIDE = 120


def ring(points, indices, middle, radii):
    """Lays a ring of landmarks on an ellipse, from the right corner below to the left one and back above."""
    angles = np.pi - 2 * np.pi * np.arange(len(indices)) / len(indices)
    points[list(indices)] = np.stack([np.cos(angles), np.sin(angles)], 1) * radii + middle


def made_face(seed):
    """A symmetric face in a picture of 120 pixels, but for a little noise: landmarks (478, 3)."""
    rng = np.random.default_rng(0)
    points = np.zeros((POINTS, 2))
    pairs = [(a, b) for a, b in zip(RIGHT_EYE, LEFT_EYE, strict=True)]
    rings = set(LIPS_OUTER + LIPS_INNER + RIGHT_EYE + LEFT_EYE + OVAL)
    others = [point for point in range(POINTS) if point not in rings]
    pairs += list(zip(others[0::2], others[1::2], strict=True))
    for right, left in pairs:
        points[right] = rng.uniform(-30, -3), rng.uniform(-30, 35)
        points[left] = points[right] * [-1, 1]
    angles = 2 * np.pi * np.arange(len(OVAL)) / len(OVAL)
    points[list(OVAL)] = np.stack([34 * np.sin(angles), 42 * -np.cos(angles)], 1)
    for indices, middle, radii in ((LIPS_OUTER, (0, 24), (14, 8)), (LIPS_INNER, (0, 24), (11, 3))):
        ring(points, indices, middle, radii)
    ring(points, RIGHT_EYE, (-16, -10), (7, 4))
    points[list(LEFT_EYE)] = points[list(RIGHT_EYE)] * [-1, 1]
    points += np.random.default_rng(seed).normal(0, 0.05, points.shape) + SIDE / 2
    return np.float32(np.concatenate([points, rng.normal(0, 5, (POINTS, 1))], axis=1))


def places_as_colours(side=SIDE):
    """A picture whose red is x, whose green is y: uint8 (S, S, 3)."""
    steps = np.arange(side) + 0.5
    x, y = np.meshgrid(steps, steps)
    return np.stack([x * 255 / side, y * 255 / side, 0 * x], axis=-1).round().astype(np.uint8)


def drawn(points, seed):
    """A picture of a face: dark where its lips and eyes are."""
    rng = np.random.default_rng(seed)
    picture = np.full((SIDE, SIDE, 3), rng.integers(120, 220, 3), np.uint8)
    for part, colour in ((OVAL, 230), (LIPS_OUTER, 90), (LIPS_INNER, 20), (RIGHT_EYE, 40), (LEFT_EYE, 40)):
        cv2.fillPoly(picture, [points[list(part), :2].round().astype(np.int32)], (colour, colour // 2, colour))
    return picture


@pytest.fixture(scope="module")
def points():
    return np.stack([made_face(seed) for seed in range(6)])


@pytest.fixture(scope="module")
def patches(points):
    mirror = mirror_order(points)
    photographs = [LabelledFace(places_as_colours(), face) for face in points]
    return FacePatches(photographs, [], reference_face(points, mirror), mirror, 4, 0.6, seed=0)


@pytest.fixture(scope="module")
def photographs(points, tmp_path_factory):
    """A folder of drawn faces."""
    folder = tmp_path_factory.mktemp("photographs")
    (folder / "images").mkdir()
    for index, face in enumerate(points):
        PIL.Image.fromarray(drawn(face, index)).save(folder / f"images/{index}.png")
    np.savez(folder / "landmarks.npz", **{str(index): face for index, face in enumerate(points)})
    return folder


def test_mirrored_landmarks_are_told_from_their_places(points):
    mirror = mirror_order(points)
    np.testing.assert_array_equal(mirror[mirror], np.arange(POINTS))
    np.testing.assert_array_equal(mirror[list(RIGHT_EYE)], LEFT_EYE)
    assert mirror[LIPS_OUTER[0]] == LIPS_OUTER[10] and mirror[OVAL[0]] == OVAL[0]


def test_the_reference_face_is_upright_symmetric_and_fills_its_square(points):
    angle = np.radians(20)
    turn = np.float32([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    turned = np.concatenate([points[..., :2] @ turn, points[..., 2:]], axis=-1)
    mirror = mirror_order(turned)
    reference = reference_face(turned, mirror)
    np.testing.assert_allclose(reference[mirror] * [-1, 1], reference, atol=1e-6)
    outline = reference[list(OVAL)]
    assert np.ptp(outline, axis=0).max() == pytest.approx(1.6, abs=0.01)
    assert reference[OUTER_EYES[0], 1] < 0 and eye_unit(reference) == pytest.approx(46 / 84 * 1.6, abs=0.02)


def test_a_bend_carries_points_to_where_it_looks_them_up(points):
    for seed in range(20):
        bend = draw_bend(points[0, :, :2], 52.0, np.random.default_rng(seed))
        carried = bend.carry(points[0, :, :2])
        np.testing.assert_allclose(bend.look_up(carried), points[0, :, :2], atol=0.2)


def test_landmarks_stay_on_their_pixels(points, patches):
    """Colours tell where a pixel was in the picture: at a landmark they are those of the landmark's place."""
    mirror = mirror_order(points)
    parts = {"locator": range(POINTS), "face": range(POINTS), "mouth": LIPS_OUTER + LIPS_INNER}
    rng = np.random.default_rng(5)
    looked_at = 0
    for _ in range(12):
        sample = patches._draw(rng)
        for name, part in parts.items():
            image, places, _, placed = sample[name]
            inside = (np.abs(places[:, :2]) < 0.9).all(1)
            if not placed or image[..., 2].max() > 8:  # none, or blended with what is beyond the picture
                continue
            side = image.shape[0]
            square = torch.tensor([[side / 2, side / 2, side / 2, 0.0]])
            pixels = to_pixels(torch.from_numpy(places[None, inside, :2]), square)[0].numpy().astype(np.float32) - 0.5
            seen = cv2.remap(image, pixels[:, None, 0], pixels[:, None, 1], cv2.INTER_LINEAR)[:, 0]
            seen = seen[:, :2] * (SIDE / 255)
            face = points.mean(0)[list(part), :2][inside]
            other = points.mean(0)[mirror[list(part)], :2][inside]
            looked_at += len(seen)
            assert min(np.abs(seen - expected).max(1).mean() for expected in (face, other)) < 1.0  # mirrored or not
    assert looked_at > 1000


def test_light_and_colour_vary_and_stay_in_range():
    images = torch.rand(16, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    before = images.clone()
    varied = vary(images, np.random.default_rng(0))
    assert varied.shape == images.shape and varied.min() >= 0 and varied.max() <= 1
    changed = (varied - before).abs().amax((1, 2, 3)) > 0.01
    assert 4 < changed.sum() < 16  # most, but not all
    torch.testing.assert_close(images, before, rtol=0, atol=0)


def command(photographs, output, **pairs):
    settings = {"photographs": photographs, "output": output, "batch_size": 4, "workers": 0, "max_minutes": 60} | pairs
    overrides = [argument for key, value in settings.items() for argument in ("--set", f"{key}={value}")]
    return ["--config", str(ROOT / "train/configs/tiny/renderer.yaml"), "--set", "dataset=", *overrides]


def test_a_run_writes_a_finder_and_goes_on_where_it_ended(photographs, tmp_path, monkeypatch):
    monkeypatch.setattr(renderer, "SHAPE_BATCHES", 20)
    renderer.main(command(photographs, tmp_path, max_steps=2))
    first = load_file(tmp_path / "finder.safetensors")
    renderer.main(command(photographs, tmp_path, max_steps=3))
    second = load_file(tmp_path / "finder.safetensors")
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 3]
    assert set(lines[0]["photographs"]) == {f"{name}{end}" for name in ("lips", "lids", "all") for end in ("", "_p90")}
    assert any((first[name] != second[name]).any() for name in first)
    assert (tmp_path / "finder.safetensors").stat().st_size < 2e6
    finder = LandmarkFinder(**json.loads((tmp_path / "finder.json").read_text()))
    finder.load_state_dict(second)
    points, confidence = finder.eval().observe(drawn(made_face(9), 9))
    assert np.isfinite(points).all() and 0 <= confidence <= 1


def test_the_finder_learns(patches, tmp_path):
    torch.manual_seed(0)
    places = {"photographs": "unused", "output": str(tmp_path), "max_steps": 20, "warmup_steps": 1}
    training = renderer.Training(LandmarkFinder(), build_settings(renderer.RendererSettings, places))
    training.finder.reference.copy_(patches._reference)
    batch = next(iter(patches))
    losses = [training.update(batch)["loss"] for _ in range(15)]
    assert losses[-1] < 0.6 * losses[0]


def test_every_nth_photograph_is_held_out(photographs):
    settings = {"photographs": str(photographs), "output": "unused", "holdout": 3}
    held = renderer.split_faces(build_settings(renderer.RendererSettings, settings))
    assert [len(part) for part in held] == [4, 2, 0, 0]
    with pytest.raises(ValueError, match="larger holdout"):
        renderer.split_faces(renderer.RendererSettings(photographs=str(photographs), output="unused", holdout=1))


def test_labelled_frames_are_read_from_the_store(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (2, 3, FRAME_SIDE, FRAME_SIDE, 3), dtype=np.uint8)
    labels = np.random.default_rng(1).uniform(0, 256, (2, 3, POINTS, 3)).astype(np.float32)
    labels[0, 1] = np.nan  # no face was found there
    files = store_files("clips", "train", 3, tmp_path)
    for path, values in zip(files, (images, labels), strict=True):
        np.save(path, values)
    clips = read_clip_faces("clips", "train", 3, tmp_path)
    assert [len(clip) for clip in clips] == [2, 3]
    np.testing.assert_array_equal(clips[0][1].image, images[0, 2])
    np.testing.assert_array_equal(clips[0][1].points, labels[0, 2])


def test_without_a_face_mesh_it_says_how_to_get_one(dataset, photographs, tmp_path, monkeypatch):
    monkeypatch.setenv(PYTHON_VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(SystemExit, match=PYTHON_VARIABLE):
        renderer.main(command(photographs, tmp_path / "run", dataset=dataset, store=tmp_path / "store"))


def test_a_folder_without_landmarks_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no landmarks\.npz"):
        read_photographs(tmp_path)
    (tmp_path / "images").mkdir()
    PIL.Image.fromarray(places_as_colours()).save(tmp_path / "images/a.png")
    np.savez(tmp_path / "landmarks.npz", b=made_face(0))
    with pytest.raises(ValueError, match="none of the files"):
        read_photographs(tmp_path)
    np.savez(tmp_path / "landmarks.npz", a=np.zeros((68, 2)))
    with pytest.raises(ValueError, match=r"\(68, 2\), not \(478, 3\)"):
        read_photographs(tmp_path)


def test_the_renderer_is_a_component(tmp_path):
    """What is written is what a pipeline loads, and finds what the finder finds."""
    torch.manual_seed(0)
    finder = LandmarkFinder()
    renderer.write_renderer(finder, tmp_path)
    written = FaceRenderer.from_pretrained(tmp_path)
    weight = next(finder.mouth.parameters())
    torch.testing.assert_close(next(written.finder.mouth.parameters()), weight, rtol=1e-3, atol=1e-4)
    assert (tmp_path / "diffusion_pytorch_model.safetensors").stat().st_size < 2e6  # half precision
