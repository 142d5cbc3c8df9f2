"""Puts masks on fitted faces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from operators.morphable.bases import load_basis
from operators.morphable.basis import FaceBasis
from operators.synthesize.base import MASK_TYPES, Layer, Outfit
from operators.synthesize.worn.assembly import assemble
from operators.synthesize.worn.cuts import CUTS
from operators.synthesize.worn.drawing import Canvas, draw
from operators.synthesize.worn.fitted import FittedFace
from operators.synthesize.worn.head import Head, HeadMaker
from operators.synthesize.worn.shell import Shell, lay_shell
from operators.synthesize.worn.straps import accessories
from operators.synthesize.worn.style import WearStyle, covering, cut_of, placed_by
from operators.synthesize.worn.view import View, covered_share, hull

_SMALL_PX = 160
_AS_MEANT = WearStyle()


@dataclass(frozen=True)
class Worn:
    """A mask on a face: the layer to `lay` on the photo, and the share of the projected face (convex hull of the 468 landmarks)
    that it covers; `height` is that of its upper edge (see `WearStyle`)."""

    layer: Layer
    coverage: float
    height: float


class MaskWearer:
    """Puts masks of every type on fitted faces of one base; the same seed gives the same pixels."""

    def __init__(self, basis: FaceBasis | str = "open_face"):
        self.basis = load_basis(basis) if isinstance(basis, str) else basis
        self.maker = HeadMaker(self.basis)

    def __call__(
        self,
        image: UInt8[np.ndarray, "h w 3"],
        face: FittedFace,
        outfit: Outfit,
        seed: int,
        coverage: float | None = None,
        style: WearStyle = _AS_MEANT,
    ) -> Worn:
        """The mask as a layer of the whole picture.

        `coverage` is a target share of the face, reached by moving the upper edge and, beyond that, by size;
        `Worn.coverage` says what was reached. A face that was not fitted (NaN) or lies outside the picture gets an empty layer.
        Errors: ValueError for an outfit whose type is no mask, or a texture that is neither a print nor a picture file.
        """
        if outfit.type not in MASK_TYPES:
            raise ValueError(f"outfit type {outfit.type!r} is no mask: choose one of {', '.join(MASK_TYPES)}")
        canvas = Canvas.blank(image)
        if not face.complete:
            return Worn(canvas.layer, 0.0, 0.0)
        rng = np.random.default_rng([seed, 0])
        head = self.maker(np.concatenate((face.identity, face.expression)))
        view = View.of(head, face, self.maker.unit_mm)
        cut = cut_of(outfit.type, rng)
        placement, wrinkles = placed_by(style, cut, rng)
        if coverage is not None:
            placement = covering(lambda p: _share(face, head, view, lay_shell(head, CUTS[cut], p)), placement, coverage)
        shell = lay_shell(head, CUTS[cut], placement)
        parts = accessories(head, shell, outfit.type, cut, style.straps, rng)
        mesh = assemble(head, view, shell, parts)
        draw(canvas, face, view, head, shell, mesh, cut, outfit, seed, wrinkles, style.shadow)
        return Worn(canvas.layer, covered_share(canvas.layer.alpha, face.points_px), placement.height)


def _share(face: FittedFace, head: Head, view: View, shell: Shell) -> float:
    """Share of the face that the shell covers, from a small picture."""
    low, high = np.nanmin(face.points_px, 0), np.nanmax(face.points_px, 0)
    scale = _SMALL_PX / max(float((high - low).max()), 1e-3)
    width, height = (max(int(value), 1) for value in np.ceil((high - low) * scale))
    index, _ = assemble(head, view, shell, []).rasterize((float(low[0]), float(low[1])), scale, height, width)
    inside = hull((face.points_px - low) * scale, height, width)
    return float((index[inside] >= len(head.triangles)).mean()) if inside.any() else 0.0
