"""A face's texture: the photo unwrapped where the face is seen, the model where it is not, joined without a seam."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as nnf

from operators.morphable.atlas import TextureAtlas
from operators.morphable.light import shade
from operators.morphable.model import rows_times
from operators.rasterize.base import Fragments

_EPS = 0.02


def model_texture(
    atlas: TextureAtlas,
    albedo: Float[Tensor, "faces albedo"],
    normals: Float[Tensor, "faces vertices 3"],
    light: Float[Tensor, "faces 9 3"],
) -> Float[Tensor, "faces texels 3"]:
    """Albedo times light at every texel, in [0, 1]; normals of the viewer's frame."""
    coefficients = torch.cat((torch.ones_like(albedo[:, :1]), albedo), 1)
    tint = rows_times(atlas.albedo, coefficients).unflatten(1, (-1, 3))
    return (tint * atlas.interpolate(shade(normals, light))).clamp(0, 1)


def unwrap(
    atlas: TextureAtlas, photo: Float[Tensor, "faces height width 3"], usable: Float[Tensor, "faces height width"],
    vertices_px: Float[Tensor, "faces vertices 3"], normals_camera: Float[Tensor, "faces vertices 3"], fragments: Fragments,
) -> tuple[Float[Tensor, "faces texels 3"], Float[Tensor, "faces texels"]]:  # fmt: skip
    """Photo colour at every texel and how far to trust it (0..1).

    Trust falls with the angle of sight and is 0 behind other parts of the face (depth test against `fragments`), outside the
    picture and where `usable` is 0.
    """
    height, width = usable.shape[1:]
    place = atlas.interpolate(vertices_px)
    grid = place[:, None, :, :2] / place.new_tensor([width, height]) * 2 - 1
    layers = torch.cat((photo, usable[..., None]), -1).movedim(-1, 1)
    sampled = nnf.grid_sample(layers, grid, mode="bilinear", padding_mode="zeros", align_corners=False)[:, :, 0].movedim(1, 2)
    front = torch.where(torch.isfinite(fragments.depth), fragments.depth, torch.zeros_like(fragments.depth))
    seen = nnf.grid_sample(front[:, None], grid, mode="nearest", padding_mode="zeros", align_corners=False)[:, 0, 0]
    z = place[..., 2]
    extent = vertices_px[..., 2].amax(1) - vertices_px[..., 2].amin(1)
    unoccluded = (z <= seen + 0.02 * extent[:, None]) & (seen > 0)
    facing = atlas.interpolate(normals_camera)[..., 2]
    trust = ((facing - 0.15) / 0.35).clamp(0, 1)
    return sampled[..., :3], trust * sampled[..., 3] * unoccluded * atlas.covered


def complete(
    atlas: TextureAtlas, model: Float[Tensor, "faces texels 3"], photo: Float[Tensor, "faces texels 3"],
    trust: Float[Tensor, "faces texels"], mirror_trust: float = 0.3,
) -> Float[Tensor, "faces px px 3"]:  # fmt: skip
    """The whole texture.

    Where the photo is not to be trusted, the model is multiplied by the ratio photo / model carried over from the mirrored
    side and, beyond that, spread smoothly from the visible parts (pull-push; Gortler et al. 1996): no seam in colour, and
    the model's own detail. Works on logarithms.
    """
    px = atlas.px
    ratio = torch.log((photo + _EPS) / (model + _EPS)).clamp(-1.5, 1.5)
    sure = trust * plausible(ratio, trust)
    other = ratio[:, atlas.mirror]
    borrowed = mirror_trust * sure[:, atlas.mirror] * (1 - trust)
    total = sure + borrowed
    known = (ratio * sure[..., None] + other * borrowed[..., None]) / total.clamp_min(1e-6)[..., None]
    spread = pull_push(known.unflatten(1, (px, px)).movedim(-1, 1), total.unflatten(1, (px, px))[:, None])
    filled = (model + _EPS) * torch.exp(spread.movedim(1, -1).flatten(1, 2)) - _EPS
    blended = filled + trust[..., None] * (photo - filled)
    return blended.clamp(0, 1)[:, atlas.source].unflatten(1, (px, px))


def plausible(
    ratio: Float[Tensor, "faces texels 3"], trust: Float[Tensor, "faces texels"], spread: float = 0.35
) -> Float[Tensor, "faces texels"]:
    """Weight of each texel's log ratio against the face's median: hair, glasses and remnants of a mask get next to none."""
    seen = torch.where((trust > 0.5)[..., None], ratio, torch.nan)
    middle = torch.nan_to_num(seen.nanmedian(1, keepdim=True).values)
    return (1 + ((ratio - middle) / spread).square().mean(-1)).reciprocal().square()


def pull_push(
    values: Float[Tensor, "faces channels px px"], weights: Float[Tensor, "faces 1 px px"]
) -> Float[Tensor, "faces channels px px"]:
    """Smooth completion of a field known where weights are positive; exactly the field where they are 1."""
    levels = [(values * weights, weights)]
    while levels[-1][1].shape[-1] > 1:
        pooled = [nnf.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False) * 4 for x in levels[-1]]
        scale = pooled[1].clamp_min(1.0)
        levels.append((pooled[0] / scale, pooled[1] / scale))
    result = levels[-1][0] / levels[-1][1].clamp_min(1e-6)
    for value, weight in reversed(levels[:-1]):
        up = nnf.interpolate(result, size=value.shape[-2:], mode="bilinear", align_corners=False)
        result = value + (1 - weight) * up
    return result


def usable_pixels(
    occluder: Bool[Tensor, "faces height width"], valid: Bool[Tensor, "faces height width"], margin_px: int
) -> Float[Tensor, "faces height width"]:
    """1 where the photo shows the face itself: inside the picture and further than `margin_px` from the occluder."""
    blocked = (occluder | ~valid).float()[:, None]
    if margin_px > 0:
        for kernel in ((2 * margin_px + 1, 1), (1, 2 * margin_px + 1)):
            blocked = nnf.max_pool2d(blocked, kernel, stride=1, padding=(kernel[0] // 2, kernel[1] // 2))
    return 1 - blocked[:, 0]


def soft_edge(shown: Bool[Tensor, "faces height width"], width_px: int) -> Float[Tensor, "faces height width"]:
    """1 in the mask's inside, falling to 0 over `width_px` pixels before its border; gaps narrower than that are closed first."""
    if width_px < 1:
        return shown.float()
    kernel, half = 2 * width_px + 1, width_px
    closed = nnf.max_pool2d(shown[:, None].float(), kernel, 1, half)
    inside = 1 - nnf.max_pool2d(1 - closed, 2 * kernel - 1, 1, 2 * half)
    return nnf.avg_pool2d(inside, kernel, 1, half, count_include_pad=False)[:, 0]
