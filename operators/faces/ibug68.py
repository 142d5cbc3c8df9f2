"""iBUG-68 landmarks from the 468 points of MediaPipe's face mesh.

The order is that of Sagonas et al., "300 Faces in-the-Wild Challenge", 2013. Each point is the mean of one or two mesh
vertices; the vertex numbers are facts about the canonical face mesh.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

# fmt: off
MESH_VERTICES: tuple[tuple[int, ...], ...] = (
    # jaw, viewer's left to right
    (127,), (234,), (93,), (132, 58), (58, 172), (136,), (150,), (176,), (152,), (400,), (379,), (365,), (397, 288), (361,), (323,), (454,), (356,),
    # brow, viewer's left
    (70,), (63,), (105,), (66,), (107,),
    # brow, viewer's right
    (336,), (296,), (334,), (293,), (300,),
    # nose bridge
    (168, 6), (197, 195), (5,), (4,),
    # nostrils
    (75,), (97,), (2,), (326,), (305,),
    # eye, viewer's left
    (33,), (160,), (158,), (133,), (153,), (144,),
    # eye, viewer's right
    (362,), (385,), (387,), (263,), (373,), (380,),
    # outer lips
    (61,), (39,), (37,), (0,), (267,), (269,), (291,), (321,), (314,), (17,), (84,), (91,),
    # inner lips
    (78,), (82,), (13,), (312,), (308,), (317,), (14,), (87,),
)
# fmt: on

_FIRST = np.array([vertices[0] for vertices in MESH_VERTICES])
_LAST = np.array([vertices[-1] for vertices in MESH_VERTICES])


def ibug68_from_mesh(mesh: Float[np.ndarray, "*faces 468 n"]) -> Float[np.ndarray, "*faces 68 n"]:
    """The 68 landmarks of each mesh, in the mesh's own coordinates (2D or 3D)."""
    return (mesh[..., _FIRST, :] + mesh[..., _LAST, :]) / 2
