"""3DFaceFill: a face is taken apart into shape, pose, light and albedo, its albedo completed in UV space and drawn again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from operators.assets import AssetStore
from operators.blend import hold, membrane
from operators.grain import blur, blur_within, quantile
from operators.inpaint.base import READS, FillInput
from operators.inpaint.facefill3d_geometry import LEAST_SHADE, PosedFace, UvAtlas, draw, posed, sample, shade
from operators.inpaint.network import NetworkInpainter, NetworkInpainterConfig
from operators.inpaint.prior import fill_beside
from operators.inpaint.sizes import resized
from operators.networks.facefill3d import FaceFill
from operators.networks.facefill3d_encoder import SIDE
from operators.rasterize import select
from operators.types import OperatorInfo, option

BACKGROUND = 2
"""The segmentation's third class."""
_SILHOUETTE_PX, _NECK, _CYCLES = 1.0, 0.72, 6
"""Of what is filled in beside the face, as `prior` does by default."""


@dataclass(frozen=True)
class FaceFillInpainterConfig(NetworkInpainterConfig):
    """Settings of `FaceFillInpainter`."""

    system: ClassVar[str] = "facefill3d"

    kind: Literal["facefill3d"] = option("facefill3d", "3DFaceFill with official checkpoints and face definition")
    iterations: int = option(1, "passes; from the second on the encoder sees the completed face, as the paper describes")
    window: float = option(0.79, "side of the square that the encoder sees, share of the crop's shorter side")
    window_up: float = option(0.09, "how far that square's centre lies above the crop's, share of the crop's shorter side")
    parse: bool = option(True, "take no skin from what the segmentation calls background, where occ_ckpt.pth is given")
    stretch: bool = option(
        False, "stretch the visible face's tones to the full range before its albedo is taken, as the published code does"
    )
    blend_reach: float = option(
        0.0, "how far into the hole the step at its border is taken back, share of the crop's shorter side; 0 = not, as published"
    )
    rasterizer: Literal["auto", "numba", "triton", "pytorch3d"] = option("auto", "rasterizer backend")

    def __post_init__(self) -> None:
        if self.iterations < 1:
            raise ValueError(f"iterations: expected at least 1, got {self.iterations}")
        if not 0 < self.window <= 1:
            raise ValueError(f"window: expected a share above 0 and up to 1, got {self.window}")
        if self.blend_reach < 0:
            raise ValueError(f"blend_reach: expected at least 0, got {self.blend_reach}")


@dataclass(frozen=True)
class _Window:
    """The square of the crop that the networks see at 224 px."""

    top: int
    left: int
    side: int

    @classmethod
    def of(cls, height: int, width: int, share: float, up: float) -> _Window:
        short = min(height, width)
        side = max(1, round(share * short))
        top, left = round((height - side) / 2 - up * short), round((width - side) / 2)
        return cls(min(max(top, 0), height - side), left, side)

    def cut(self, x: Tensor) -> Tensor:
        return x[..., self.top : self.top + self.side, self.left : self.left + self.side]

    def in_crop(self, face: PosedFace) -> Float[Tensor, "faces vertices 3"]:
        """The face's vertices in crop pixels."""
        scale = self.side / SIDE
        return face.vertices_px * scale + face.vertices_px.new_tensor((self.left, self.top, 0.0))

    def spread(self, mask: Bool[Tensor, "faces 224 224"], height: int, width: int) -> Bool[Tensor, "faces h w"]:
        """A mask of the window in the crop, False around it."""
        at = functional.interpolate(mask[:, None].float(), (self.side, self.side), mode="nearest-exact")[:, 0] > 0.5
        below, right = height - self.top - self.side, width - self.left - self.side
        return functional.pad(at, (self.left, right, self.top, below))


class FaceFillInpainter(NetworkInpainter):
    """Fills the hole with the completed face where it lies on one, and with the surroundings where it does not.

    The published code leaves pixels beside the face as they were; here they are in the hole, and unknown.
    """

    info: ClassVar[OperatorInfo] = OperatorInfo("FaceFillInpainter", "1", READS, ("inpainted",), wants_gpu=True)
    config: FaceFillInpainterConfig

    def __init__(
        self,
        config: FaceFillInpainterConfig = FaceFillInpainterConfig(),
        assets: AssetStore | None = None,
        device: str = "cpu",
        network: nn.Module | None = None,
    ):
        super().__init__(config, assets, device, network)
        self.atlas = UvAtlas(self.network.definition)
        self.rasterizer = select(config.rasterizer, device, perspective=False, cull_backfaces=True)

    def prepare(self, network: nn.Module) -> nn.Module:
        assert isinstance(network, FaceFill)
        parser = network.parser.folded() if self.config.parse and network.parser is not None else None
        prepared = FaceFill(network.encoder, network.inpainter, network.definition, parser)
        for part in (prepared.inpainter, prepared.parser):
            if part is not None:
                part.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        return prepared.eval()

    def paint(self, given: FillInput) -> Float[Tensor, "faces 3 h w"]:
        image, hole = given.image, given.hole
        height, width = hole.shape[1:]
        window = _Window.of(height, width, self.config.window, self.config.window_up)
        known = ~hole if given.valid is None else ~hole & given.valid
        seen = self._as_input(image, hole, window)
        skin = known & ~self._background(seen, window, height, width)
        drawn, shown = self._completed(seen, image, skin, window)
        for _ in range(1, self.config.iterations):
            better = torch.where((hole & shown)[:, None], drawn, image)
            drawn, shown = self._completed(self._as_input(better, hole & ~shown, window), image, skin, window)
        if self.config.blend_reach:
            drawn = drawn + border_step(image - drawn, skin & shown, hole & shown, self.config.blend_reach * min(height, width))
        return surrounded(image, known, hole, drawn.clamp(0, 1), shown)

    def _as_input(self, image: Tensor, hidden: Tensor, window: _Window) -> Float[Tensor, "faces 3 224 224"]:
        """What the encoder sees: [-1, 1], 0 where hidden."""
        small, hidden = resized(window.cut(image), window.cut(hidden), (SIDE, SIDE))
        return torch.where(hidden[:, None], 0.0, 2 * small - 1)

    def _background(self, seen: Tensor, window: _Window, height: int, width: int) -> Bool[Tensor, "faces h w"]:
        parser = self.network.parser
        if parser is None:
            return torch.zeros(len(seen), height, width, dtype=torch.bool, device=seen.device)
        return window.spread(parser(seen)[:, BACKGROUND] >= 0.5, height, width)

    def _completed(
        self, seen: Tensor, image: Tensor, skin: Tensor, window: _Window
    ) -> tuple[Float[Tensor, "faces 3 h w"], Bool[Tensor, "faces h w"]]:
        """One pass: the whole face drawn over the crop, in [0, 1], and where it is.

        A face that the encoder has no finite numbers for is no number everywhere: nothing else would say so, as it is not drawn.
        """
        net: Any = self.network
        shape, scale, pose, light = net.encoder.geometry(net.encoder.features(seen))
        lost = ~torch.isfinite(torch.cat((shape, scale[:, None], pose, light), 1)).all(1)[:, None, None]
        face = posed(net.definition, shape, scale, pose)
        vertices = window.in_crop(face)
        texture, visible = self._texture(image, skin, vertices, face)
        shading = (shade(light, self.atlas.unwrap(face.normals)) * self.atlas.mapped).clamp_min(LEAST_SHADE)
        low, high = extent(texture, visible) if self.config.stretch else (0.0, 1.0)
        albedo = visible * (texture - low) / (high - low) / shading
        middle = albedo.amax((1, 2, 3), keepdim=True) / 2
        completed, _ = net.inpainter((albedo - middle) * visible, visible)
        texture = low + (high - low) * (completed.float() + middle) * shading
        height, width = image.shape[2:]
        colours = self.atlas.wrap(texture.clamp(0, 1))
        drawn, shown = draw(colours, face.towards, vertices, net.definition, self.rasterizer, height, width)
        return drawn.masked_fill(lost[:, None], torch.nan), shown | lost

    def _texture(
        self, image: Tensor, skin: Tensor, vertices: Tensor, face: PosedFace
    ) -> tuple[Float[Tensor, "faces 3 rows columns"], Float[Tensor, "faces 1 rows columns"]]:
        """The photo in UV space (0 where nothing is known of it), and 1 where at least half of a texel is visible skin."""
        height, width = skin.shape[1:]
        weight = skin[:, None].to(image.dtype)
        values = sample(torch.cat((image * weight, weight), 1), vertices)
        counts = face.towards & over(vertices, height, width)
        together = self.atlas.unwrap(values, counts)
        share = together[:, 3:]
        visible = (share >= 0.5).to(image.dtype)
        return visible * together[:, :3] / share.clamp_min(1e-3), visible


def over(vertices_px: Float[Tensor, "faces vertices 3"], height: int, width: int) -> Bool[Tensor, "faces vertices"]:
    """Vertices that lie over a picture of that size."""
    x, y = vertices_px[..., 0], vertices_px[..., 1]
    return (x >= 0) & (x <= width) & (y >= 0) & (y <= height)


def extent(texture: Tensor, visible: Tensor) -> tuple[Float[Tensor, "faces 1 1 1"], Float[Tensor, "faces 1 1 1"]]:
    """Least and largest visible value of each face; 0 and 1 where they do not differ."""
    hidden = visible == 0
    low = texture.masked_fill(hidden, torch.inf).amin((1, 2, 3), keepdim=True)
    high = texture.masked_fill(hidden, -torch.inf).amax((1, 2, 3), keepdim=True)
    fine = high - low > 1e-3
    return torch.where(fine, low, 0.0), torch.where(fine, high, 1.0)


def border_step(
    step: Float[Tensor, "faces 3 h w"], skin: Bool[Tensor, "faces h w"], hole: Bool[Tensor, "faces h w"], reach_px: float
) -> Float[Tensor, "faces 3 h w"]:
    """The step between photo and drawing at the hole's border, carried into the hole and fading over `reach_px`.

    Steps that no light explains (more than about 0.2: leftovers of what hid the face) pull little.
    """
    trust = skin * torch.exp(-((step.abs().amax(1) / 0.2) ** 4))
    source, held = hold(step, trust, hole)
    return membrane(source, held + hole[:, None] / reach_px**2, hole, _CYCLES)


def surrounded(
    image: Float[Tensor, "faces 3 h w"],
    known: Bool[Tensor, "faces h w"],
    hole: Bool[Tensor, "faces h w"],
    drawn: Float[Tensor, "faces 3 h w"],
    shown: Bool[Tensor, "faces h w"],
) -> Float[Tensor, "faces 3 h w"]:
    """The face in the hole, with a soft silhouette, and the photo's surroundings continued where the hole lies beside it."""
    alpha = blur(shown[:, None].to(image.dtype), _SILHOUETTE_PX)
    inner = shown[:, None].to(image.dtype)
    face = torch.where(shown[:, None], drawn, blur_within(drawn, inner, 2 * _SILHOUETTE_PX))
    around, domain = known & ~shown, hole & (alpha[:, 0] < 0.999)
    tone = quantile(image, known & shown, 0.5)
    beside = fill_beside(image, around, shown, domain, tone, _NECK, _CYCLES)
    return torch.where(hole[:, None], alpha * face + (1 - alpha) * beside, image)
