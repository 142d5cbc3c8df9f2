"""Shadow of a mask on the skin around it: dark where they touch, and away from the light."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float

_DEEPEST = 0.75


def light_direction(light: Float[np.ndarray, "9 3"]) -> Float[np.ndarray, "3"]:
    """Where most light comes from in the viewer's frame, as a unit vector; straight ahead when it comes from everywhere."""
    y, z, x = light[1:4].mean(1)
    direction = np.array([x, y, max(z, 0.15 * abs(float(light[0].mean())))], np.float64)
    return direction / max(float(np.linalg.norm(direction)), 1e-9)


def contact_shadow(
    alpha: Float[np.ndarray, "h w"],
    skin: Float[np.ndarray, "h w"],
    light: Float[np.ndarray, "9 3"],
    px_per_mm: float,
    strength: float,
) -> Float[np.ndarray, "h w"]:
    """Factor of the photo's brightness, 1 = no shadow. `skin` is where a shadow can fall (0-1)."""
    direction = light_direction(light)
    near = cv2.GaussianBlur(alpha, (0, 0), max(1.6 * px_per_mm, 0.5))
    drop = 7.0 * px_per_mm / max(direction[2], 0.45)
    # The picture's y runs down: light from above throws the shadow down.
    shift = np.array([[1, 0, -direction[0] * drop], [0, 1, direction[1] * drop]], np.float32)
    size = (alpha.shape[1], alpha.shape[0])
    cast = cv2.warpAffine(alpha, shift, size, flags=cv2.INTER_LINEAR)
    cast = cv2.GaussianBlur(cast, (0, 0), max(4.0 * px_per_mm, 0.7))
    contrast = float(np.clip(np.linalg.norm(light[1:4].mean(1)) / max(float(light[0].mean()), 1e-3), 0.3, 1.2))
    amount = strength * (0.42 * near + 0.45 * contrast * cast)
    return (1 - np.minimum(amount * skin, _DEEPEST)).astype(np.float32)
