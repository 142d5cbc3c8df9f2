"""The rendered completed face, colour-matched to the photo and blended in the gradient domain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from operators.blend import hold, membrane
from operators.grain import bands, blur, blur_within, doubled, halved, noise, quantile, spread
from operators.inpaint.base import READS, FillInput, Inpainter, InpainterConfig
from operators.types import OperatorInfo, option

_FINE_PX = 3.0
"""Wider Gaussians are made on smaller grids."""


@dataclass(frozen=True)
class PriorInpainterConfig(InpainterConfig):
    """Lengths are shares of the crop's side, so that they mean the same at every crop size."""

    kind: Literal["prior"] = "prior"
    smooth: float = option(0.05, "how smooth the colour correction is, share of the crop's side")
    ring: float = option(0.016, "width of the ring of skin around the hole that the fill is fitted to, share of the crop's side")
    rim: float = option(0.02, "visible skin is taken to go on by this much up to the hole, share of the crop's side")
    reach: float = option(0.03, "how far the last step at the hole's border is felt inside, share of the crop's side")
    doubt: float = option(0.05, "how much pixels at the hole's border that may not be skin pull, where the step is not large")
    outlier: float = option(2.5, "skin pixels whose colour is this many spreads off do not pull (mask rim, hair, collar)")
    silhouette_px: float = option(1.0, "softness of the face's silhouette inside the hole, crop pixels")
    neck: float = option(0.72, "darkest that the neck under the chin becomes, share of the visible skin's colour")
    grain: float = option(0.7, "share of the photo's fine grain that is put into the filled skin; 0 = none")
    grain_bands: int = option(2, "octaves of grain and sharpness that are matched, finest first")
    cycles: int = option(6, "multigrid cycles of each membrane")


class PriorInpainter(Inpainter):
    """Fills the hole with `prior` where the face is, and with the surroundings where the hole lies beside the face.

    At the hole's border the fill is held only to pixels that can be trusted: visible skin of a plausible colour for the
    face, background for the rest. Leftovers of the occluder, hair and collars do not pull (see `operators.blend`).
    """

    info: ClassVar[OperatorInfo] = OperatorInfo("PriorInpainter", "2", READS, ("inpainted",))
    config: PriorInpainterConfig

    def __init__(self, config: PriorInpainterConfig = PriorInpainterConfig(), assets: object | None = None, device: str = "cpu"):
        super().__init__(config, assets, device)

    def fill(self, given: FillInput) -> Float[Tensor, "faces 3 h w"]:
        if given.prior is None or given.prior_mask is None:
            raise ValueError(
                "kind prior needs the columns render and render_mask: put the face renderer before it, or use kind telea"
            )
        config, side = self.config, max(given.image.shape[-2:])
        image, hole = given.image, given.hole
        known = ~hole if given.valid is None else ~hole & given.valid
        covered = erode(given.prior_mask, 1)
        skin = known & covered
        if given.visible_face is not None:
            seen = skin & dilate(given.visible_face, round(config.rim * side))
            enough = seen.flatten(1).sum(1) >= 0.002 * side * side
            skin = torch.where(enough[:, None, None], seen, skin)
        prior = torch.where(covered[:, None], given.prior, blur_within(given.prior, covered[:, None].float(), 0.01 * side + 1))

        matched = match_colours(prior, image, skin, hole)
        ring = skin & dilate(hole, max(2, round(config.ring * side)))
        offset = torch.where(ring[:, None], image - matched, 0.0)
        trust = skin_trust(offset, ring, config.smooth * side, config.outlier)
        face_hole = hole & dilate(covered, round(2 + 2 * config.silhouette_px))
        face = matched + self._correction(offset, trust, ring | face_hole, face_hole)
        face = temper(face, image, skin, face_hole | skin)
        face, missing = self._match_detail(face, image, skin, face_hole | skin)
        # the last step between fill and photo, felt only near the border
        step = torch.where((known & covered)[:, None], image - face, 0.0)
        near = (known & covered) * torch.exp(-((step.abs().amax(1) / 0.2) ** 4))
        source, held = hold(step, torch.maximum(trust, config.doubt * near), face_hole)
        face = face + membrane(source, held + 1.0 / (config.reach * side) ** 2 * face_hole[:, None], face_hole, config.cycles)

        alpha = blur(covered[:, None].to(image.dtype), config.silhouette_px)
        around = known & ~skin & (alpha[:, 0] < 0.5)
        beside = fill_beside(
            image, around, covered, hole & (alpha[:, 0] < 0.999), quantile(image, skin, 0.5), config.neck, config.cycles
        )
        result = alpha * (face + self._grain(given, missing)) + (1 - alpha) * beside
        result = tone_down(result, image, known)
        return torch.where(hole[:, None], result.clamp(0, 1), image)

    def _correction(self, offset: Tensor, trust: Tensor, domain: Tensor, face_hole: Tensor) -> Tensor:
        """The smooth colour correction, from trusted skin into the hole; solved at half size, as it is smooth."""
        side, size = max(offset.shape[-2:]), offset.shape[-2:]
        weight = trust[:, None] / (self.config.smooth * side) ** 2
        towards_none = 1.0 / side**2 * face_hole[:, None]
        source, weight, inside = weight * offset, weight + towards_none, domain[:, None].to(offset.dtype)
        pad = (0, size[1] % 2, 0, size[0] % 2)
        source, weight = (4 * functional.avg_pool2d(functional.pad(x, pad), 2) for x in (source, weight))
        inside = functional.max_pool2d(functional.pad(inside, pad), 2)
        field = membrane(source, weight, inside[:, 0] > 0, self.config.cycles)
        both = functional.interpolate(torch.cat([field, inside], 1), scale_factor=2, mode="bilinear", align_corners=False)
        return (both[:, :-1] / both[:, -1:].clamp_min(1e-3))[..., : size[0], : size[1]]

    def _match_detail(self, face: Tensor, image: Tensor, skin: Tensor, within: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Blur the render where its bands hold more than the photo's skin does; spreads that it lacks, per band."""
        count = self.config.grain_bands
        split, photo = bands(face, within, count), bands(image, skin, count)
        result, missing = split[-1], []
        for ours, theirs in zip(split[:-1], photo[:-1], strict=True):
            have, want = spread(ours, skin), spread(theirs, skin)
            gain = torch.where((have > 0) & (want > 0), want / have.clamp_min(1e-6), 1.0).clamp(0.25, 1.0)
            result = result + gain[..., None, None] * ours
            missing.append((want**2 - (gain * have) ** 2).clamp_min(0).sqrt())
        return result, missing

    def _grain(self, given: FillInput, missing: list[Tensor]) -> Tensor:
        """Noise with the spreads that the photo's skin has in each band and the fill has not, mostly grey."""
        result = torch.zeros_like(given.image)
        if self.config.grain <= 0:
            return result
        height, width = given.image.shape[-2:]
        own, shared = (
            noise(given.seeds ^ salt, channels, height, width, len(missing)) for salt, channels in ((0, 3), (0x5EED, 1))
        )
        for i, lacking in enumerate(missing):
            random = (0.9 * shared[i] + 0.436 * own[i]).to(result.device)
            result = result + self.config.grain * lacking.clamp_max(0.02)[..., None, None] * random
        return result


def match_colours(
    prior: Float[Tensor, "faces 3 h w"],
    image: Float[Tensor, "faces 3 h w"],
    skin: Bool[Tensor, "faces h w"],
    hole: Bool[Tensor, "faces h w"],
) -> Float[Tensor, "faces 3 h w"]:
    """`gain * prior + offset` per face and channel, fitted robustly to the visible skin, nearest the hole most.

    Huber weights, six rounds of weighted least squares; gain is drawn to 1 and kept in [0.6, 1.6]. No skin: the prior.
    """
    near = blur(hole[:, None].to(image.dtype), 0.08 * max(image.shape[-2:]))
    base = (skin[:, None] * (0.15 + near))[..., ::2, ::2].to(torch.float64).expand(-1, 3, -1, -1)
    x, y = prior[..., ::2, ::2].to(torch.float64), image[..., ::2, ::2].to(torch.float64)
    weight, gain, shift = base, torch.ones_like(x[..., :1, :1]), torch.zeros_like(x[..., :1, :1])
    for _ in range(6):
        total = weight.sum(dim=(-2, -1), keepdim=True).clamp_min(1e-9)
        mean_x, mean_y = (weight * x).sum((-2, -1), True) / total, (weight * y).sum((-2, -1), True) / total
        var = (weight * (x - mean_x) ** 2).sum((-2, -1), True) / total
        covariance = (weight * (x - mean_x) * (y - mean_y)).sum((-2, -1), True) / total
        gain = ((covariance + 0.003) / (var + 0.003)).clamp(0.6, 1.6)
        shift = mean_y - gain * mean_x
        misfit = (y - gain * x - shift).abs()
        scale = ((base * misfit).sum((-2, -1), True) / base.sum((-2, -1), True).clamp_min(1e-9)).clamp_min(0.01)
        weight = base * (scale / misfit.clamp_min(1e-6)).clamp_max(1.0)
    some = skin.flatten(1).any(1)[:, None, None, None]
    return torch.where(some, gain.to(prior.dtype) * prior + shift.to(prior.dtype), prior)


def skin_trust(
    offset: Float[Tensor, "faces 3 h w"], skin: Bool[Tensor, "faces h w"], sigma_px: float, outlier: float
) -> Float[Tensor, "faces h w"]:
    """In [0, 1]: how well a skin pixel's offset from the prior agrees with the offsets around it.

    Offsets more than about 0.15 from the median of all are leftovers of something else, however many there are.
    """
    gap = (offset - quantile(offset, skin, 0.5)[..., None, None]).square().mean(1, keepdim=True).sqrt()
    plausible = skin[:, None] * torch.exp(-((gap / 0.15) ** 4))
    trust = plausible
    for _ in range(3):
        misfit = (offset - blur_within(offset, trust, sigma_px)).square().sum(1, keepdim=True).sqrt()
        typical = misfit.masked_fill(~skin[:, None], float("nan")).flatten(1).nanmedian(dim=1).values.nan_to_num(1.0)
        scaled = misfit / (outlier * typical.clamp_min(0.01))[:, None, None, None]
        trust = plausible * torch.exp(-(scaled**4))
    return trust[:, 0]


def temper(
    face: Float[Tensor, "faces 3 h w"],
    image: Float[Tensor, "faces 3 h w"],
    skin: Bool[Tensor, "faces h w"],
    within: Bool[Tensor, "faces h w"],
) -> Float[Tensor, "faces 3 h w"]:
    """Draw the broad tones of the fill softly into the range that the photo's skin has; detail stays.

    A light fitted to the upper face alone can run away on the lower one.
    """
    broad = blur_within(face, within[:, None].to(face.dtype), 0.04 * max(face.shape[-2:]))
    bright = image.mean(1)
    skin = skin & (bright > 0.4 * quantile(bright[:, None], skin, 0.95)[..., None])  # not hair, brows, pupils
    low, middle, high = (quantile(image, skin, q)[..., None, None] for q in (0.25, 0.6, 0.95))
    reach = (1.5 * torch.maximum(high - middle, middle - low)).clamp_min(0.1)
    change = middle + reach * torch.tanh((broad - middle) / reach) - broad
    return face + 0.15 * torch.tanh(change / 0.15)


def tone_down(
    fill: Float[Tensor, "faces 3 h w"], image: Float[Tensor, "faces 3 h w"], known: Bool[Tensor, "faces h w"]
) -> Float[Tensor, "faces 3 h w"]:
    """Grey fills for grey photos: below a mean colour spread of 0.03 in the known pixels, colour fades out, to none at 0.01."""
    spread_of = (image.amax(1) - image.amin(1)).double() * known
    mean = spread_of.sum((1, 2)) / known.sum((1, 2)).clamp_min(1)
    colour = ((mean - 0.01) / 0.02).clamp(0, 1).to(fill.dtype)[:, None, None, None]
    grey = fill.mean(1, keepdim=True)
    return grey + colour * (fill - grey)


def fill_beside(
    image: Float[Tensor, "faces 3 h w"],
    known: Bool[Tensor, "faces h w"],
    covered: Bool[Tensor, "faces h w"],
    domain: Bool[Tensor, "faces h w"],
    skin_colour: Float[Tensor, "faces 3"],
    neck: float,
    cycles: int,
) -> Float[Tensor, "faces 3 h w"]:
    """The surroundings continued into the part of the hole beside the face; strong edges of the photo pull little.

    The nearest known pixels are continued, then a membrane takes away what is left at the border. Along the underside of
    the face the neck counts as known: what lies below, kept between the skin's colour and its share `neck`.
    """
    weight = known[:, None].to(image.dtype)
    change = (image - blur_within(image, weight, 2.0)).abs().sum(1, keepdim=True)
    weight = weight / (1.0 + (change / 0.1) ** 2)
    below = functional.pad(blur(covered[:, None].to(image.dtype), 0.02 * max(image.shape[-2:])), (1, 1, 1, 1), mode="replicate")
    down, right = below[..., :-2, 1:-1] - below[..., 2:, 1:-1], below[..., 1:-1, :-2] - below[..., 1:-1, 2:]
    facing = (down / (down**2 + right**2).sqrt().clamp_min(1e-6) - 0.75).clamp(0, 0.2) / 0.2
    rim = (covered & ~erode(covered, 2))[:, None] * dilate(domain, 2)[:, None] * facing
    beneath = nearest(image, weight).minimum(skin_colour[..., None, None]).maximum(neck * skin_colour[..., None, None])
    picture = torch.where(rim > 0, beneath, image)
    weight = torch.where(rim > 0, rim, weight)
    near = nearest(picture, weight)
    source, held = hold(picture - near, weight[:, 0], domain)
    return near + membrane(source, held + 1e-3 * domain[:, None], domain, cycles)


def nearest(picture: Float[Tensor, "faces 3 h w"], weight: Float[Tensor, "faces 1 h w"]) -> Float[Tensor, "faces 3 h w"]:
    """The weighted pixels continued everywhere, the nearest counting most: normalised convolution over octaves of Gaussians."""
    total, share, sigma = torch.cat([picture * weight, weight], 1), 1.0, 1.5
    summed, grids = torch.zeros_like(total), [total]
    shares = []
    while sigma < max(picture.shape[-2:]):
        if sigma <= _FINE_PX:
            summed = summed + share * blur(total, sigma)
        else:
            grids.append(halved(grids[-1]))
            shares.append(share)
        share, sigma = share * 0.02, 2 * sigma
    coarse = None
    for grid, part in zip(grids[:0:-1], shares[::-1], strict=True):  # each octave on its own grid, coarsest first
        coarse = part * blur(grid, _FINE_PX) + (0 if coarse is None else doubled(coarse, (grid.shape[-2], grid.shape[-1])))
    if coarse is not None:
        summed = summed + doubled(coarse, (total.shape[-2], total.shape[-1]))
    return summed[:, :-1] / summed[:, -1:].clamp_min(1e-20)


def erode(mask: Bool[Tensor, "faces h w"], steps: int) -> Bool[Tensor, "faces h w"]:
    """Remove `steps` pixels (square neighbourhood) from a mask's border; the picture's border does not count as one."""
    return ~dilate(~mask, steps)


def dilate(mask: Bool[Tensor, "faces h w"], steps: int) -> Bool[Tensor, "faces h w"]:
    """Add `steps` pixels (square neighbourhood) to a mask."""
    grown = functional.max_pool2d(mask[:, None].float(), (1, 2 * steps + 1), 1, (0, steps))
    return functional.max_pool2d(grown, (2 * steps + 1, 1), 1, (steps, 0))[:, 0] > 0
