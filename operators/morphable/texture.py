"""A face's texture: the photo unwrapped where the face is seen, the model where it is not, joined without a seam.

Everything is computed at the texels that a triangle covers (`TextureAtlas.texels`). Tensors on a GPU, and those that need a
gradient, take the tensor code; on the CPU the same steps run as compiled loops (`operators.morphable.texels`).
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn import functional as nnf

from operators.morphable import texels
from operators.morphable.atlas import TextureAtlas
from operators.morphable.draw import to_uint8
from operators.morphable.light import shade
from operators.morphable.model import rows_times
from operators.rasterize.base import Fragments
from operators.threads import share

_EPS = 0.02
_CLIP = 1.5
_SLACK = 0.02
_OUTLIER = 0.35


def _compiled(*tensors: Tensor) -> bool:
    return not any(t.is_cuda or t.requires_grad for t in tensors)


def model_texture(
    atlas: TextureAtlas,
    albedo: Float[Tensor, "faces albedo"],
    normals: Float[Tensor, "faces vertices 3"],
    light: Float[Tensor, "faces 9 3"],
) -> Float[Tensor, "faces covered 3"]:
    """Albedo times light at every covered texel, in [0, 1]; normals of the viewer's frame."""
    tint = _tint(atlas, albedo)
    if _compiled(tint, normals, light):
        out = torch.empty(len(tint), len(atlas.texels), 3)
        given = _arrays(tint, normals, light, atlas.corners, atlas.barycentric)
        share(lambda first, step: texels.lit(*given, out.numpy(), first, step), len(out))
        return out
    return (tint.unflatten(1, (-1, 3)) * atlas.interpolate(shade(normals, light))).clamp(0, 1)


def unwrap(
    atlas: TextureAtlas, photo: UInt8[Tensor, "faces height width 3"], usable: Float[Tensor, "faces height width"],
    vertices_px: Float[Tensor, "faces vertices 3"], normals_camera: Float[Tensor, "faces vertices 3"], fragments: Fragments,
) -> tuple[Float[Tensor, "faces covered 3"], Float[Tensor, "faces covered"]]:  # fmt: skip
    """Photo colour at every covered texel and how far to trust it (0..1); the colour is 0 where the trust is.

    Trust falls with the angle of sight and is 0 behind other parts of the face (depth test against `fragments`, at any
    multiple of the photo's resolution), outside the picture and where `usable` is 0.
    """
    if _compiled(vertices_px, normals_camera, usable):
        colour, trust = torch.empty(len(photo), len(atlas.texels), 3), torch.empty(len(photo), len(atlas.texels))
        given = _arrays(photo, usable, vertices_px, normals_camera[..., 2], fragments.depth, atlas.corners, atlas.barycentric)
        share(lambda first, step: texels.sample(*given, _SLACK, colour.numpy(), trust.numpy(), first, step), len(photo))
        return colour, trust
    height, width = usable.shape[1:]
    place = atlas.interpolate(vertices_px)
    grid = place[:, None, :, :2] / place.new_tensor([width, height]) * 2 - 1
    layers = torch.cat((photo / 255.0, usable[..., None]), -1).movedim(-1, 1)
    sampled = nnf.grid_sample(layers, grid, mode="bilinear", padding_mode="zeros", align_corners=False)[:, :, 0].movedim(1, 2)
    front = torch.where(torch.isfinite(fragments.depth), fragments.depth, torch.zeros_like(fragments.depth))
    seen = nnf.grid_sample(front[:, None], grid, mode="nearest", padding_mode="zeros", align_corners=False)[:, 0, 0]
    z = place[..., 2]
    extent = vertices_px[..., 2].amax(1) - vertices_px[..., 2].amin(1)
    unoccluded = (z <= seen + _SLACK * extent[:, None]) & (seen > 0)
    facing = atlas.interpolate(normals_camera)[..., 2]
    inside = (grid[:, 0].abs() < 1).all(-1)
    trust = ((facing - 0.15) / 0.35).clamp(0, 1) * sampled[..., 3] * unoccluded * inside
    return sampled[..., :3] * (trust > 0)[..., None], trust


def complete(
    atlas: TextureAtlas, model: Float[Tensor, "faces covered 3"], photo: Float[Tensor, "faces covered 3"],
    trust: Float[Tensor, "faces covered"], mirror_trust: float = 0.3,
) -> UInt8[Tensor, "faces px px 3"]:  # fmt: skip
    """The whole texture.

    Where the photo is not to be trusted, the model is multiplied by the ratio photo / model carried over from the mirrored
    side and, beyond that, spread smoothly from the visible parts (pull-push; Gortler et al. 1996): no seam in colour, and
    the model's own detail. Works on logarithms.
    """
    if _compiled(model, photo, trust):
        out = torch.empty(model.shape, dtype=torch.uint8)
        given = _arrays(model, photo, trust, atlas.mirror, atlas.texels)
        settings = (atlas.px, *map(np.float32, (mirror_trust, _EPS, _CLIP, _OUTLIER)))
        share(lambda first, step: texels.joined(*given, *settings, out.numpy(), first, step), len(out))
        return atlas.spread(out)
    ratio = torch.log((photo + _EPS) / (model + _EPS)).clamp(-_CLIP, _CLIP)
    sure = trust * plausible(ratio, trust)
    other = ratio[:, atlas.mirror]
    borrowed = mirror_trust * sure[:, atlas.mirror] * (1 - trust)
    known = ratio * sure[..., None] + other * borrowed[..., None]
    field = atlas.on_grid(torch.cat((known, (sure + borrowed)[..., None]), -1))
    spread = pull_push(field[:, :3], field[:, 3:]).movedim(1, -1).flatten(1, 2)[:, atlas.texels]
    filled = (model + _EPS) * torch.exp(spread) - _EPS
    return atlas.spread(to_uint8(filled + trust[..., None] * (photo - filled)))


def without_light(
    atlas: TextureAtlas, textures: UInt8[Tensor, "faces px px 3"], model: Float[Tensor, "faces covered 3"],
    albedo: Float[Tensor, "faces albedo"],
) -> Float[Tensor, "faces covered 3"]:  # fmt: skip
    """Albedo at every covered texel: that of the model, times what the texture has more than the lit model (wrinkles, brows)."""
    seen = textures.flatten(1, 2)[:, atlas.texels] / 255
    return (_tint(atlas, albedo).unflatten(1, (-1, 3)) * (seen + _EPS) / (model + _EPS)).clamp(0, 1)


def _tint(atlas: TextureAtlas, albedo: Tensor) -> Float[Tensor, "faces covered_rgb"]:
    return rows_times(atlas.albedo, torch.cat((torch.ones_like(albedo[:, :1]), albedo), 1))


def plausible(
    ratio: Float[Tensor, "faces texels 3"], trust: Float[Tensor, "faces texels"], spread: float = _OUTLIER
) -> Float[Tensor, "faces texels"]:
    """Weight of each texel's log ratio against the face's median: hair, glasses and remnants of a mask get next to none."""
    seen = torch.where((trust > 0.5)[..., None], ratio, torch.nan)
    middle = torch.nan_to_num(seen.nanmedian(1, keepdim=True).values)
    return (1 + ((ratio - middle) / spread).square().mean(-1)).reciprocal().square()


def pull_push(
    premultiplied: Float[Tensor, "faces channels px px"], weights: Float[Tensor, "faces 1 px px"]
) -> Float[Tensor, "faces channels px px"]:
    """Smooth completion of a field from value times weight and weight (0..1); exactly the field where weights are 1."""
    levels = [(premultiplied, weights)]
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
    return (~box_dilated(occluder | ~valid, margin_px)).float()


def soft_edge(shown: Bool[Tensor, "faces height width"], width_px: int) -> Float[Tensor, "faces height width"]:
    """1 in the mask's inside, falling to 0 over `width_px` pixels before its border; gaps narrower than that are closed first."""
    if width_px < 1:
        return shown.float()
    return box_mean(~box_dilated(~box_dilated(shown, width_px), 2 * width_px), width_px)


def box_dilated(masks: Bool[Tensor, "faces height width"], radius: int) -> Bool[Tensor, "faces height width"]:
    """Pixels with a True one in the square of 2 radius + 1 around them; nothing lies outside the picture."""
    side = 2 * radius + 1
    if radius < 1:
        return masks
    if not masks.is_cuda:
        kernel = np.ones((side, side), np.uint8)
        return torch.from_numpy(np.stack([cv2.dilate(m, kernel) for m in masks.byte().numpy()])).bool()
    grown = masks[:, None].float()
    for kernel in ((side, 1), (1, side)):
        grown = nnf.max_pool2d(grown, kernel, 1, (kernel[0] // 2, kernel[1] // 2))
    return grown[:, 0] > 0


def box_mean(masks: Bool[Tensor, "faces height width"], radius: int) -> Float[Tensor, "faces height width"]:
    """Share of True ones among those pixels of the square of 2 radius + 1 that lie in the picture."""
    side = 2 * radius + 1
    if masks.is_cuda:
        return nnf.avg_pool2d(masks[:, None].float(), side, 1, radius, count_include_pad=False)[:, 0]
    count = [np.convolve(np.ones(n), np.ones(side))[radius : radius + n] for n in masks.shape[1:]]
    share = (1 / np.outer(*count)).astype(np.float32)
    sums = [cv2.boxFilter(m, cv2.CV_32F, (side, side), normalize=False, borderType=0) for m in masks.byte().numpy()]
    return torch.from_numpy(np.stack(sums) * share)


def _arrays(*tensors: Tensor) -> list[np.ndarray]:
    return [t.detach().contiguous().numpy() for t in tensors]
