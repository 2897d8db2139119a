"""Runs mediapipe's face mesh in an environment of its own, over standard input and output; see `face_mesh.py`.

This file is started by path with that environment's Python and imports nothing of this package. Frame in: height and
width (two little-endian uint32), then height × width × 3 bytes RGB; height 0 forgets the tracked face. Frame out:
478 × 3 float32 (x and y as shares of width and height, z as a share of the width), all NaN where no face was found. The
first line out is empty, or says why the mesh could not be loaded.
"""

import os
import struct
import sys

import numpy as np

POINTS = 478


def main() -> None:
    source = sys.stdin.buffer
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not get between the landmarks
    try:
        from mediapipe.python.solutions.face_mesh import FaceMesh

        mesh = FaceMesh(static_image_mode=False, refine_landmarks=True, max_num_faces=1)
    except Exception as error:
        sink.write(f"{type(error).__name__}: {' '.join(str(error).split())}\n".encode())
        sink.flush()
        return
    sink.write(b"\n")
    sink.flush()
    while header := source.read(8):
        height, width = struct.unpack("<II", header)
        if height == 0:
            mesh.reset()
            continue
        frame = np.frombuffer(source.read(height * width * 3), np.uint8).reshape(height, width, 3)
        faces = mesh.process(frame).multi_face_landmarks
        points = np.full((POINTS, 3), np.nan, np.float32)
        if faces:
            points[:] = [(point.x, point.y, point.z) for point in faces[0].landmark]
        sink.write(points.tobytes())
        sink.flush()


if __name__ == "__main__":
    main()
