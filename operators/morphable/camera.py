"""The camera of `operators.types`: rotations, projection, and their derivatives.

v_camera = F (R v_face) + t,  F = diag(1, -1, -1),  R = Rz(roll) Ry(yaw) Rx(pitch)
u = focal_px * X / Z + size / 2,   v = focal_px * Y / Z + size / 2
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def rotation_from_deg(angles_deg: Float[Tensor, "faces 3"]) -> Float[Tensor, "faces 3 3"]:
    """Rotation matrices from pitch, yaw, roll in degrees."""
    sin, cos = torch.sin(torch.deg2rad(angles_deg)), torch.cos(torch.deg2rad(angles_deg))
    (sp, sy, sr), (cp, cy, cr) = sin.unbind(-1), cos.unbind(-1)
    rows = (
        cr * cy, cr * sy * sp - sr * cp, cr * sy * cp + sr * sp,
        sr * cy, sr * sy * sp + cr * cp, sr * sy * cp - cr * sp,
        -sy, cy * sp, cy * cp,
    )  # fmt: skip
    return torch.stack(rows, -1).reshape(*angles_deg.shape[:-1], 3, 3)


def deg_from_rotation(rotation: Float[Tensor, "faces 3 3"]) -> Float[Tensor, "faces 3"]:
    """Pitch, yaw, roll in degrees; yaw in [-90, 90]. At |yaw| = 90 pitch and roll share one axis."""
    pitch = torch.atan2(rotation[..., 2, 1], rotation[..., 2, 2])
    yaw = torch.asin(-rotation[..., 2, 0].clamp(-1, 1))
    roll = torch.atan2(rotation[..., 1, 0], rotation[..., 0, 0])
    return torch.rad2deg(torch.stack((pitch, yaw, roll), -1))


def skew(v: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3 3"]:
    """Cross-product matrices: skew(v) @ w = v x w."""
    x, y, z = v.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack((zero, -z, y, z, zero, -x, -y, x, zero), -1).reshape(*v.shape[:-1], 3, 3)


def rotation_from_axis_angle(axis_angle: Float[Tensor, "faces 3"]) -> Float[Tensor, "faces 3 3"]:
    """Rodrigues' formula, smooth at zero; angle in radians."""
    square = axis_angle.square().sum(-1)[..., None, None]
    tiny = square < 1e-6
    safe = torch.where(tiny, torch.ones_like(square), square)
    angle = safe.sqrt()
    a = torch.where(tiny, 1 - square / 6, torch.sin(angle) / angle)
    b = torch.where(tiny, 0.5 - square / 24, (1 - torch.cos(angle)) / safe)
    k = skew(axis_angle)
    return torch.eye(3, dtype=k.dtype, device=k.device) + a * k + b * (k @ k)


def to_camera(
    vertices: Float[Tensor, "faces vertices 3"], rotation: Float[Tensor, "faces 3 3"], translation: Float[Tensor, "faces 3"]
) -> Float[Tensor, "faces vertices 3"]:
    """Face frame to camera frame, in the basis's unit."""
    return (vertices[:, :, None, :] * camera_axes(rotation)[:, None]).sum(-1) + translation[:, None]


def camera_axes(rotation: Float[Tensor, "faces 3 3"]) -> Float[Tensor, "faces 3 3"]:
    """F R: the rotation with the camera's y and z axes turned."""
    return rotation * rotation.new_tensor([1.0, -1.0, -1.0])[:, None]


def project(
    points_camera: Float[Tensor, "faces points 3"], focal_px: Float[Tensor, " faces"], size: float
) -> Float[Tensor, "faces points 2"]:
    """Pixels of a `size` x `size` crop. Points must lie in front of the camera (Z > 0)."""
    return points_camera[..., :2] * (focal_px[:, None] / points_camera[..., 2])[..., None] + size / 2


def project_with_depth(
    points_camera: Float[Tensor, "faces points 3"], focal_px: Float[Tensor, " faces"], size: float
) -> Float[Tensor, "faces points 3"]:
    """Pixels and camera depth Z, as a rasterizer wants them; points behind the camera keep Z <= 0 and get finite pixels."""
    depth = points_camera[..., 2]
    scale = focal_px[:, None] / torch.where(depth > 0, depth, torch.ones_like(depth))
    return torch.cat((points_camera[..., :2] * scale[..., None] + size / 2, depth[..., None]), -1)


def projection_jacobian(
    points_camera: Float[Tensor, "faces points 3"], focal_px: Float[Tensor, " faces"]
) -> Float[Tensor, "faces points 2 3"]:
    """Derivative of `project` by the point: f / Z [[1, 0, -X/Z], [0, 1, -Y/Z]]."""
    x, y, z = points_camera.unbind(-1)
    scale = focal_px[:, None] / z
    zero = torch.zeros_like(z)
    return torch.stack((scale, zero, -scale * x / z, zero, scale, -scale * y / z), -1).reshape(*z.shape, 2, 3)
