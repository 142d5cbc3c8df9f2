"""The interface that every inpainting system plugs into, and the operator shell around it.

A system is one small file: a config with its own `kind`, an `OperatorInfo`, and `fill`. Whatever the system wants
otherwise (mask polarity, value range, padding, sizes, channel order) it converts inside `fill`, at the edge.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from operators.batch import Batch
from operators.types import OperatorConfig, OperatorInfo, option, row_seed

READS = ("crop", "crop_valid", "hole", "edge_map", "render", "render_mask", "visible_face")


@dataclass(frozen=True)
class FillInput:
    """What a system may look at. All tensors lie on one device; optional ones are None when no earlier stage made them.

    Pixels of `image` inside the hole are grey (0.5), so that no system can peek. `edges` are of the completed face inside
    the hole and of the photo outside. `prior` is a rendering of the completed face, good where `prior_mask`.
    `visible_face` is visible skin, `valid` marks pixels inside the photo (the others are padding).
    `seeds` are the only source of randomness.
    """

    image: Float[Tensor, "faces 3 h w"]
    hole: Bool[Tensor, "faces h w"]
    seeds: Int[Tensor, "faces"]
    edges: Bool[Tensor, "faces h w"] | None = None
    prior: Float[Tensor, "faces 3 h w"] | None = None
    prior_mask: Bool[Tensor, "faces h w"] | None = None
    visible_face: Bool[Tensor, "faces h w"] | None = None
    valid: Bool[Tensor, "faces h w"] | None = None

    def __post_init__(self) -> None:
        if self.image.ndim != 4 or self.image.shape[1] != 3:
            raise ValueError(f"image: expected faces 3 h w, got {tuple(self.image.shape)}: add the leading dimension")
        n, _, h, w = self.image.shape
        for field in fields(self):
            value = getattr(self, field.name)
            expected = {"image": (n, 3, h, w), "prior": (n, 3, h, w), "seeds": (n,)}.get(field.name, (n, h, w))
            if value is not None and tuple(value.shape) != expected:
                raise ValueError(f"{field.name}: expected {expected} to go with the image, got {tuple(value.shape)}")

    def take(self, index: slice) -> FillInput:
        """Some of the faces."""
        values: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        some: dict[str, Any] = {name: None if value is None else value[index] for name, value in values.items()}
        return FillInput(**some)


@dataclass(frozen=True)
class InpainterConfig(OperatorConfig):
    """What every system's config has."""

    batch_size: int = option(16, "faces filled at once")


class Inpainter:
    """Fills the hole of every live face; known pixels of `inpainted` are the crop's, bit for bit.

    Subclasses set `info` (with `reads=READS`, `writes=("inpainted",)`) and implement `fill`.
    """

    info: ClassVar[OperatorInfo]

    def __init__(self, config: InpainterConfig, assets: object | None = None, device: str = "cpu"):
        self.config, self.device = config, device

    def fill(self, given: FillInput) -> Float[Tensor, "faces 3 h w"]:
        """The pictures with their holes filled, in [0, 1]; what it says outside the holes is ignored.

        A face's result must not depend on the other faces of the batch.
        """
        raise NotImplementedError

    @torch.inference_mode()
    def __call__(self, batch: Batch) -> Batch:
        live = batch.live_faces()
        if not len(live):
            return batch
        for name in ("crop", "hole"):
            if name not in batch.faces:
                raise KeyError(f"{self.info.name} needs face column {name!r}: run the operator that writes it before this one")
        filled = [
            self._fill_some(batch, live[i : i + self.config.batch_size]) for i in range(0, len(live), self.config.batch_size)
        ]
        batch.put("inpainted", np.concatenate(filled), live)
        return batch

    def _fill_some(self, batch: Batch, index: np.ndarray) -> np.ndarray:
        def column(name: str) -> Tensor | None:
            return torch.from_numpy(batch.faces[name][index]).to(self.device) if name in batch.faces else None

        def picture(name: str) -> Tensor | None:
            values = column(name)
            return None if values is None else values.permute(0, 3, 1, 2).to(torch.float32).div(255.0)

        hole, image = column("hole"), picture("crop")
        assert hole is not None and image is not None
        ids = [batch.rows["image_id"][batch.face_row[j]] for j in index]
        seeds = [
            row_seed(name, int(batch.faces["face_index"][j]), self.info, self.config) for name, j in zip(ids, index, strict=True)
        ]
        given = FillInput(
            image=torch.where(hole[:, None], 0.5, image),
            hole=hole,
            seeds=torch.tensor(seeds, dtype=torch.int64),
            edges=column("edge_map"),
            prior=picture("render"),
            prior_mask=column("render_mask"),
            visible_face=column("visible_face"),
            valid=column("crop_valid"),
        )
        result = self.fill(given)
        if result.shape != image.shape or not bool(torch.isfinite(result).all()):
            raise ValueError(f"{self.info.name}: expected finite {tuple(image.shape)}, got {tuple(result.shape)}")
        levels = result.clamp(0, 1).mul(255.0).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        return np.where(batch.faces["hole"][index][..., None], levels, batch.faces["crop"][index])
