"""The whole face that the upper face implies: MediaPipe's canonical face model laid over eyes, brows and forehead.

A mesh network infers the hidden lower face from where it expects the chin in its crop; a crop that is framed by a detection or a
mesh that shrank under a mask therefore shrinks the face again. The canonical model (Apache-2.0) breaks that circle.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float

_FILE = Path(__file__).resolve().parent.parent / "models" / "canonical_mesh.npz"

# Forehead, brows, eyes and the bridge of the nose: what a mask leaves visible.
# fmt: off
UPPER_FACE = (
    10, 338, 297, 332, 284, 251, 109, 67, 103, 54, 21, 162, 70, 63, 105, 66, 107, 336, 296, 334, 293, 300, 33, 246, 161, 160,
    159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7, 362, 398, 384, 385, 386, 387, 388, 466, 263, 249, 390, 373, 374,
    380, 381, 382, 168, 6, 197, 9, 8, 151,
)
# fmt: on


@lru_cache(maxsize=1)
def canonical_mesh() -> Float[np.ndarray, "468 3"]:
    """Canonical face model in picture axes: x right, y down, z away from the camera; cm."""
    with np.load(_FILE, allow_pickle=False) as file:
        return file["vertices_cm"] * (1.0, -1.0, -1.0)


def whole_face_from_upper(mesh_px: Float[np.ndarray, "faces 468 3"]) -> Float[np.ndarray, "faces 468 3"]:
    """The canonical model after the similarity that fits it best to the upper face (Umeyama 1991), in the mesh's pixels."""
    model, seen = canonical_mesh(), mesh_px[:, list(UPPER_FACE)].astype(np.float64)
    upper = model[list(UPPER_FACE)]
    centre, seen_centre = upper.mean(0), seen.mean(1, keepdims=True)
    u, s, vt = np.linalg.svd(np.einsum("pi,fpj->fij", upper - centre, seen - seen_centre))
    sign = np.ones_like(s)
    sign[:, 2] = np.sign(np.linalg.det(u) * np.linalg.det(vt))
    rotation = np.einsum("fji,fj,fkj->fik", vt, sign, u)
    scale = (s * sign).sum(1) / np.square(upper - centre).sum()
    return scale[:, None, None] * np.einsum("fij,pj->fpi", rotation, model - centre) + seen_centre
