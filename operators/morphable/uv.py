"""UV atlas: which triangle covers each texel of a square texture, and photos unwrapped into it.

Texel (row r, column c) covers u in [c, c + 1] / px and v in [r, r + 1] / px; v runs down (see `FaceBasis`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from scipy import ndimage

from operators.morphable.normals import mesh_normals


@dataclass(frozen=True)
class UvAtlas:
    """Triangle and barycentric coordinates of every covered texel, in row order of the texture."""

    px: int
    texels: Int[np.ndarray, " covered"]
    triangle: Int[np.ndarray, " covered"]
    corners: Int[np.ndarray, "covered 3"]
    """Vertices of that triangle."""
    barycentric: Float[np.ndarray, "covered 3"]

    def interpolate(self, values: Float[np.ndarray, "vertices channels"]) -> Float[np.ndarray, "covered channels"]:
        """A per-vertex quantity at the texels' centres."""
        return (values[self.corners] * self.barycentric[..., None]).sum(1)

    def spread(self, values: Shaped[np.ndarray, "covered channels"]) -> Shaped[np.ndarray, "texels channels"]:
        """The whole texture in row order; texels that no triangle covers take the nearest covered one."""
        free = np.ones(self.px * self.px, bool)
        free[self.texels] = False
        slot = np.zeros(self.px * self.px, np.int64)
        slot[self.texels] = np.arange(len(self.texels))
        nearest: Any = ndimage.distance_transform_edt(free.reshape(self.px, self.px), return_distances=False, return_indices=True)
        rows, columns = nearest
        return values[slot[(rows * self.px + columns).ravel()]]

    def at(self, other: UvAtlas) -> UvAtlas:
        """This atlas at the texels that the other covers (each must be covered here, or have a neighbour that is)."""
        slot = self.spread(np.arange(len(self.texels))[:, None])[other.texels, 0]
        return UvAtlas(self.px, other.texels, self.triangle[slot], self.corners[slot], self.barycentric[slot])

    def mirrored(self) -> Int[np.ndarray, " covered"]:
        """Position, among the covered texels, of each one's left-right partner; the UV layout must be symmetric.

        A rim texel without an exact partner gets the nearest covered one.
        """
        row, column = np.divmod(self.texels, self.px)
        return self.spread(np.arange(len(self.texels))[:, None])[row * self.px + self.px - 1 - column, 0]


@dataclass(frozen=True)
class Fold:
    """Covered texels folded along the face's midline: `left` are the ones kept, `slot` says where each one's value is kept."""

    left: Int[np.ndarray, " half"]
    slot: Int[np.ndarray, " covered"]
    flip: Int[np.ndarray, " covered"]

    @classmethod
    def of(cls, columns: Int[np.ndarray, " covered"], flip: Int[np.ndarray, " covered"], px: int) -> Fold:
        """From the texels' columns in the texture and their mirror partners."""
        is_left = columns < px / 2
        left = np.flatnonzero(is_left)
        place = np.cumsum(is_left) - 1
        return cls(left, place[np.where(is_left, np.arange(len(flip)), flip)], flip)

    def mean(self, values: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weighted mean of the two halves of (covered, 3) values, and the greater weight."""
        w, other = weight[self.left, None], weight[self.flip[self.left], None]
        total = values[self.left] * w + values[self.flip[self.left]] * other
        return total / np.maximum(w + other, 1e-6), np.maximum(w, other)[:, 0]


def fold_atlas(atlas: UvAtlas) -> Fold:
    """The fold of a left-right symmetric atlas."""
    return Fold.of(atlas.texels % atlas.px, atlas.mirrored(), atlas.px)


def build_atlas(
    uv: Float[np.ndarray, "vertices 2"], triangles: Int[np.ndarray, "triangles 3"], px: int, margin: float = 1e-6
) -> UvAtlas:
    """Atlas of a mesh with one UV point per vertex. A texel belongs to the first triangle that holds its centre."""
    owner = np.full(px * px, -1, np.int64)
    weights = np.zeros((px * px, 3))
    points = uv * px
    for t, (a, b, c) in enumerate(points[triangles]):
        low = np.maximum(np.floor(np.minimum(np.minimum(a, b), c)).astype(int), 0)
        high = np.minimum(np.ceil(np.maximum(np.maximum(a, b), c)).astype(int), px)
        area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
        if abs(area) < 1e-12 or (high <= low).any():
            continue
        y, x = np.mgrid[low[1] : high[1], low[0] : high[0]]
        x, y = x.ravel() + 0.5, y.ravel() + 0.5
        wb = ((x - a[0]) * (c[1] - a[1]) - (y - a[1]) * (c[0] - a[0])) / area
        wc = ((b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0])) / area
        w = np.stack([1 - wb - wc, wb, wc], axis=1)
        texel = y.astype(int) * px + x.astype(int)
        inside = (w >= -margin).all(1) & (owner[texel] < 0)
        owner[texel[inside]] = t
        weights[texel[inside]] = w[inside]
    texels = np.flatnonzero(owner >= 0)
    return UvAtlas(px, texels, owner[texels], triangles[owner[texels]], weights[texels])


def vertex_normals(
    points: Float[np.ndarray, "vertices 3"], triangles: Int[np.ndarray, "triangles 3"]
) -> Float[np.ndarray, "vertices 3"]:
    """Unit normals of one mesh, as `operators.morphable.normals` has them."""
    return mesh_normals(points[None], triangles)[0]


@dataclass(frozen=True)
class Unwrapped:
    """One photo seen through the atlas, covered texels only."""

    color: Float[np.ndarray, "covered 3"]
    """RGB in [0, 1]; 0 where outside the photo."""
    normal: Float[np.ndarray, "covered 3"]
    """Unit, x right, y up, z to the camera, as the camera sees it (pose included: light is fixed to the camera)."""
    visible: Bool[np.ndarray, " covered"]
    footprint: Float[np.ndarray, " covered"]
    """Photo pixels per texel: near 0 where the surface is seen edge-on or folded away (a closed mouth's inside)."""


def unwrap(
    image: np.ndarray,
    points: Float[np.ndarray, "vertices 3"],
    triangles: Int[np.ndarray, "triangles 3"],
    uv: Float[np.ndarray, "vertices 2"],
    atlas: UvAtlas,
    min_facing: float = 0.2,
    depth_slack: float = 0.05,
) -> Unwrapped:
    """Sample a photo (RGB uint8 HWC) at the texels of a mesh placed on it.

    `points`: x, y in photo pixels (centres at +0.5), z in pixels, smaller = nearer. A texel is visible when its normal's z is at
    least `min_facing`, it lies inside the photo, and nothing is nearer to the camera at its pixel by more than `depth_slack`
    of the mesh's width.
    """
    width = np.ptp(points[:, 0])
    face = points * [1.0, -1.0, -1.0]
    corners_px = points[triangles][:, :, :2]
    corners_uv = uv[triangles] * atlas.px
    footprint = (_signed_area(corners_px) / np.where(np.abs(a := _signed_area(corners_uv)) < 1e-9, 1e-9, a))[atlas.triangle]
    scale = 1.0
    dense = np.sqrt(max(float(np.median(footprint)), 1e-6))
    if dense > 1.5:  # fewer texels than pixels: average first, or fine texture aliases
        scale = 1.25 / dense
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    place = atlas.interpolate(points)
    xy = (place[:, :2] * scale - 0.5).astype(np.float32)
    color = _sample(image, xy)
    inside = (xy >= 0).all(1) & (xy[:, 0] <= image.shape[1] - 1) & (xy[:, 1] <= image.shape[0] - 1)
    normal = atlas.interpolate(vertex_normals(face, triangles))
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    visible = inside & (normal[:, 2] >= min_facing) & _nearest(place, width, depth_slack)
    return Unwrapped(
        np.where(inside[:, None], color, 0).astype(np.float32) / np.float32(255),
        normal.astype(np.float32),
        visible,
        np.maximum(footprint, 0).astype(np.float32),
    )


def _sample(image: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """Bilinear colours at points (centres at whole numbers), 0 outside; in rows, because OpenCV limits a side to 32,767."""
    rows = -(-len(xy) // 4096)
    grid = np.zeros((rows * 4096, 2), np.float32)
    grid[: len(xy)] = xy
    u, v = grid.T.reshape(2, rows, 4096)
    return cv2.remap(image, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT).reshape(-1, 3)[: len(xy)]


def _signed_area(corners: np.ndarray) -> np.ndarray:
    u, v = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    return 0.5 * (u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0])


def _nearest(place: np.ndarray, width: float, slack: float) -> np.ndarray:
    """True where no other texel of the same cell of a coarse depth buffer is nearer by more than the slack."""
    cells = max(int(np.sqrt(len(place)) / 2), 1)
    cell = ((place[:, :2] - place[:, :2].min(0)) / max(width, 1e-6) * cells).astype(int)
    index = cell[:, 1] * (cells + 1) + cell[:, 0]
    depth = np.full(index.max() + 1, np.inf)
    np.minimum.at(depth, index, place[:, 2])
    return place[:, 2] <= depth[index] + slack * width


def contour_mask(contours: list[Float[np.ndarray, "_ 2"]], atlas: UvAtlas, soft_px: float = 0.0) -> Float[np.ndarray, " covered"]:
    """1 inside any of the closed UV contours, 0 outside, at the covered texels; the edge blurred by `soft_px` texels."""
    canvas = np.zeros((atlas.px * 4, atlas.px * 4), np.uint8)
    for contour in contours:
        cv2.fillPoly(canvas, [np.round(contour * atlas.px * 4).astype(np.int32)], 255)
    mask = cv2.resize(canvas, (atlas.px, atlas.px), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    if soft_px:
        mask = cv2.GaussianBlur(mask, (0, 0), soft_px)
    return mask.ravel()[atlas.texels]
