"""Everything that is drawn of a worn mask as one mesh: the head first, then the cloth, then straps and filters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8

from operators.rasterize.numba_backend import NumbaRasterizer
from operators.synthesize.worn.head import Head
from operators.synthesize.worn.shading import CLOTH, HEAD, PLAIN, UNDER_HAIR
from operators.synthesize.worn.shell import Shell
from operators.synthesize.worn.straps import SHELL_TRIANGLES, Part
from operators.synthesize.worn.view import View

_BEHIND_MM = 3.0
"""How far the head is pushed back for the depth test: cloth touches the skin."""
_STRAP_BEHIND_MM = 2.0
"""The same for straps: thin ones lie closer."""


@dataclass(frozen=True)
class Assembly:
    """`placed` are pixels of the photo and depth in mm; directions are in the viewer's frame; `texel` runs over the cloth from
    0 to 1; `plain` is colour and gloss of what is not cloth. `head` and `cloth` count the points of those two."""

    placed: Float[np.ndarray, "points 3"]
    triangles: Int[np.ndarray, "triangles 3"]
    material: UInt8[np.ndarray, " triangles"]
    normals: Float[np.ndarray, "points 3"]
    across: Float[np.ndarray, "points 3"]
    down: Float[np.ndarray, "points 3"]
    texel: Float[np.ndarray, "points 2"]
    plain: Float[np.ndarray, "points 4"]
    head: int
    cloth: int

    def rasterize(
        self, corner: tuple[float, float], scale: float, height: int, width: int
    ) -> tuple[Int[np.ndarray, "height width"], Float[np.ndarray, "height width 3"]]:
        """Front triangle (-1 = none) and its weights in a window that starts at `corner` of the photo; `scale` samples per
        pixel."""
        placed = (self.placed - (*corner, 0.0)) * (scale, scale, 1.0)
        fragments = _RASTERIZER(
            torch.from_numpy(placed.astype(np.float32))[None], torch.from_numpy(self.triangles), height, width
        )
        return fragments.pix_to_face[0].numpy(), fragments.barycentric[0].numpy()


_RASTERIZER = NumbaRasterizer()


def assemble(head: Head, view: View, shell: Shell, parts: list[Part]) -> Assembly:
    """One mesh in the photo's pixels."""
    behind, cloth = len(head.vertices), shell.points.shape[0] * shell.points.shape[1]
    points = np.concatenate((head.vertices, shell.points.reshape(-1, 3), *(p.points for p in parts)))
    placed = view.place(head, points)
    placed[:behind, 2] += _BEHIND_MM
    placed[behind + cloth :, 2] += _STRAP_BEHIND_MM
    count = len(points)
    normals, across, down = np.zeros((3, count, 3), np.float32)
    for target, source in ((normals, shell.normals), (across, shell.across), (down, shell.down)):
        target[behind : behind + cloth] = view.viewer(source.reshape(-1, 3))
    texel, plain = np.zeros((count, 2)), np.zeros((count, 4), np.float32)
    v, u = np.meshgrid(np.linspace(0, 1, shell.points.shape[0]), np.linspace(0, 1, shell.points.shape[1]), indexing="ij")
    texel[behind : behind + cloth] = np.stack((u, v), -1).reshape(-1, 2)
    triangles, material, start = [head.triangles, SHELL_TRIANGLES + behind], [HEAD, CLOTH], behind + cloth
    for part in parts:
        end = start + len(part.points)
        normals[start:end] = view.viewer(part.normals)
        plain[start:end] = (*part.colour, part.gloss)
        triangles.append(part.triangles + start)
        material.append(UNDER_HAIR if part.under_hair else PLAIN)
        start = end
    kinds = np.repeat(np.array(material, np.uint8), [len(t) for t in triangles])
    whole = np.concatenate(triangles).astype(np.int32)
    return Assembly(placed, whole, kinds, normals, across, down, texel, plain, behind, cloth)
