"""Where vertices land in pictures: the camera of `operators.types` applied to whole meshes, from any list of angles."""

from __future__ import annotations

from typing import Any, no_type_check

import numba
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from operators.morphable import camera
from operators.threads import share

_FOCAL = 4.0
_FILL = 0.78
_kernel: Any = numba.njit(cache=True, error_model="numpy", nogil=True)


def placed(
    vertices: Float[Tensor, "faces vertices 3"], rotation: Float[Tensor, "pictures 3 3"],
    translation: Float[Tensor, "pictures 3"], focal_px: Float[Tensor, " pictures"], size: int, scale: int = 1,
) -> Float[Tensor, "pictures vertices 3"]:  # fmt: skip
    """Pixels, times `scale`, and camera depth of vertices in the face frame (see `camera.project_with_depth`).

    Every face may be in several pictures, one after the other.
    """
    if any(t.is_cuda or t.requires_grad for t in (vertices, rotation, translation, focal_px)):
        repeated = vertices.repeat_interleave(len(rotation) // max(len(vertices), 1), 0)
        inside = camera.to_camera(repeated, rotation, translation)
        return camera.project_with_depth(inside, focal_px, size) * vertices.new_tensor([scale, scale, 1.0])
    out = torch.empty(len(rotation), *vertices.shape[1:])
    tensors = (vertices, camera.camera_axes(rotation), translation, focal_px * scale)
    given, middle = [t.contiguous().numpy() for t in tensors], np.float32(size * scale / 2)
    share(lambda first, step: _place(*given, middle, out.numpy(), first, step), len(out))
    return out


def turned(
    vertices: Float[Tensor, "faces vertices 3"],
    mean: Float[Tensor, "vertices 3"],
    angles_deg: Float[Tensor, "views 2"],
    size: int,
    scale: int = 1,
) -> Float[Tensor, "faces views vertices 3"]:
    """Every face from every (yaw, pitch); the mean face's middle is the picture's, its height 78 % of it."""
    low, high = mean.amin(0), mean.amax(0)
    count, views = len(vertices), len(angles_deg)
    angles = torch.stack((angles_deg[:, 1], angles_deg[:, 0], torch.zeros_like(angles_deg[:, 0])), -1)
    rotation = camera.rotation_from_deg(angles)
    shift = -(camera.camera_axes(rotation) * (low + high) / 2).sum(-1)
    shift[:, 2] += _FOCAL * float((high - low)[1]) / _FILL
    focal = vertices.new_full((count * views,), _FOCAL * size)
    points = placed(vertices, rotation.repeat(count, 1, 1), shift.repeat(count, 1), focal, size, scale)
    return points.unflatten(0, (count, views))


@_kernel
@no_type_check
def _place(vertices, axes, translation, focal, middle, out, first, step):
    pictures = len(out) // max(len(vertices), 1)
    for f in range(first, len(out), step):
        points, r, t, to = vertices[f // pictures], axes[f], translation[f], out[f]
        for v in range(len(points)):
            x, y, z = points[v, 0], points[v, 1], points[v, 2]
            depth = r[2, 0] * x + r[2, 1] * y + r[2, 2] * z + t[2]
            scale = focal[f] / depth if depth > 0 else focal[f]
            to[v, 0] = (r[0, 0] * x + r[0, 1] * y + r[0, 2] * z + t[0]) * scale + middle
            to[v, 1] = (r[1, 0] * x + r[1, 1] * y + r[1, 2] * z + t[1]) * scale + middle
            to[v, 2] = depth
