"""iBUG-68 landmarks from the 468-point face mesh.

For each of the 68 points the mesh vertices whose mean it is: the correspondence between MediaPipe's canonical face model
and the 300-W annotation (jaw 0-16, brows 17-26, nose 27-35, eyes 36-47, mouth 48-67).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

# fmt: off
VERTICES: tuple[tuple[int, int], ...] = (
    (127, 127), (234, 234), (93, 93), (132, 58), (58, 172), (136, 136), (150, 150), (176, 176), (152, 152), (400, 400),
    (379, 379), (365, 365), (397, 288), (361, 361), (323, 323), (454, 454), (356, 356), (70, 70), (63, 63), (105, 105),
    (66, 66), (107, 107), (336, 336), (296, 296), (334, 334), (293, 293), (300, 300), (168, 6), (197, 195), (5, 5),
    (4, 4), (75, 75), (97, 97), (2, 2), (326, 326), (305, 305), (33, 33), (160, 160), (158, 158), (133, 133),
    (153, 153), (144, 144), (362, 362), (385, 385), (387, 387), (263, 263), (373, 373), (380, 380), (61, 61), (39, 39),
    (37, 37), (0, 0), (267, 267), (269, 269), (291, 291), (321, 321), (314, 314), (17, 17), (84, 84), (91, 91),
    (78, 78), (82, 82), (13, 13), (312, 312), (308, 308), (317, 317), (14, 14), (87, 87),
)
# fmt: on


def ibug68_from_mesh(mesh_px: Float[np.ndarray, "faces 468 k"]) -> Float[np.ndarray, "faces 68 2"]:
    """The 68 points in the mesh's own pixels (x, y)."""
    return mesh_px[:, np.array(VERTICES), :2].mean(axis=2)
