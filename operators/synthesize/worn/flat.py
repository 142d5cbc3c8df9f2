"""A mask's cloth laid out flat, as maps from edge to edge."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float

from operators.synthesize.worn.shell import Shell

Map = Float[np.ndarray, "h w"]


@dataclass(frozen=True)
class Flat:
    """Where each texel lies, mm along the cloth: `x` from the middle column, `y` from the upper edge, and from the other edges.

    `u` runs from -1 to 1 across, `v` from 0 to 1 downwards; `level` is the height in the face frame; `straight` the length
    downwards from where the cloth crosses the height of the mouth; `hollow` how far the surroundings stand out beyond it.
    """

    x: Map
    y: Map
    to_side: Map
    to_bottom: Map
    u: Map
    v: Map
    level: Map
    straight: Map
    hollow: Map

    @classmethod
    def of(cls, shell: Shell, height: int, width: int) -> Flat:
        """A shell at `height` x `width` texels."""
        rows, columns = shell.air_mm.shape
        across, down = np.linspace(0, columns - 1, width, dtype=np.float32), np.linspace(0, rows - 1, height, dtype=np.float32)
        u, v = np.meshgrid(across, down)

        def enlarged(values: np.ndarray) -> np.ndarray:
            return cv2.remap(np.ascontiguousarray(values), u, v, cv2.INTER_LINEAR)

        x, y, level = (enlarged(a) for a in (shell.cloth_mm[..., 0], shell.cloth_mm[..., 1], shell.points[..., 1]))
        heights = np.minimum.accumulate(shell.points[..., 1], 0)
        mouth = float(heights[rows // 2, columns // 2])
        crossing = [np.interp(-mouth, -heights[:, c], shell.cloth_mm[:, c, 1]) for c in range(columns)]
        return cls(
            x,
            y,
            np.minimum(x - x[:, :1], x[:, -1:] - x),
            y[-1:] - y,
            u / np.float32(columns - 1) * 2 - 1,
            v / np.float32(rows - 1),
            level,
            y - np.interp(across, np.arange(columns), crossing).astype(np.float32),
            enlarged(_hollow(shell)),
        )

    @property
    def to_edge(self) -> Map:
        """Distance to the nearest edge, mm."""
        return np.minimum(np.minimum(self.y, self.to_bottom), self.to_side)


def _hollow(shell: Shell) -> np.ndarray:
    around = cv2.blur(shell.points, (9, 9), borderType=cv2.BORDER_REFLECT_101) - shell.points
    return cv2.blur((around * shell.normals).sum(-1), (3, 3)).astype(np.float32)
