from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch

from operators.inpaint.base import READS, FillInput, Inpainter, InpainterConfig
from operators.pipeline import apply
from operators.types import FAILED, NOTHING_TO_FILL, OperatorInfo
from tests.operators.inpaint.faces import batch_of, drawn


@dataclass(frozen=True)
class SeedConfig(InpainterConfig):
    batch_size: int = 2


class SeedInpainter(Inpainter):
    """Paints everything, known pixels too, in a shade that depends on the seed."""

    info: ClassVar[OperatorInfo] = OperatorInfo("inpaint_seed", "1", READS, ("inpainted",))
    bad: ClassVar[bool] = False

    def __init__(self, config: SeedConfig = SeedConfig(), assets: object | None = None, device: str = "cpu"):
        super().__init__(config, assets, device)
        self.seen: list[FillInput] = []

    def fill(self, given: FillInput) -> torch.Tensor:
        self.seen.append(given)
        shade = (given.seeds % 97).float() / 97
        return torch.full_like(given.image, float("nan")) if self.bad else shade[:, None, None, None].expand_as(given.image)


def test_known_pixels_are_the_crops_bit_for_bit():
    faces = [drawn(64, seed) for seed in range(3)]
    batch = SeedInpainter()(batch_of(*faces))
    for face, result in zip(faces, batch.faces["inpainted"], strict=True):
        assert np.array_equal(result[~face["hole"]], face["crop"][~face["hole"]])
        assert len(np.unique(result[face["hole"]])) == 1


def test_result_does_not_depend_on_micro_batches():
    faces = [drawn(64, seed) for seed in range(5)]
    together = SeedInpainter(SeedConfig(batch_size=2))(batch_of(*faces)).faces["inpainted"]
    alone = SeedInpainter(SeedConfig(batch_size=2))(batch_of(*faces).take([3])).faces["inpainted"]
    assert np.array_equal(together[3], alone[0])


def test_systems_cannot_see_what_the_hole_hides():
    operator = SeedInpainter()
    operator(batch_of(drawn(64)))
    assert bool((operator.seen[0].image.permute(0, 2, 3, 1)[operator.seen[0].hole] == 0.5).all())


def test_faces_that_stopped_earlier_stay_blank():
    batch = batch_of(drawn(64), drawn(64, 1))
    batch.mark_face(0, NOTHING_TO_FILL, "no mask")
    result = SeedInpainter()(batch).faces["inpainted"]
    assert not result[0].any() and result[1].any()


def test_non_finite_output_fails_the_row(monkeypatch):
    monkeypatch.setattr(SeedInpainter, "bad", True)
    result = apply(SeedInpainter(), batch_of(drawn(64)))
    assert result.rows["status"] == [FAILED] and "finite" in result.rows["error_message"][0]


def test_missing_column_is_named():
    batch = batch_of(drawn(64))
    del batch.faces["hole"]
    with pytest.raises(KeyError, match="hole"):
        SeedInpainter()(batch)


def test_shapes_that_do_not_go_together_are_named():
    with pytest.raises((ValueError, TypeError), match="hole"):
        _input(hole=torch.zeros((1, 4, 8), dtype=torch.bool))
    with pytest.raises((ValueError, TypeError), match="prior_mask"):
        _input(prior_mask=torch.zeros((2, 8, 8), dtype=torch.bool))


def _input(**changes: torch.Tensor) -> FillInput:
    plain = {"image": torch.zeros((1, 3, 8, 8)), "hole": torch.zeros((1, 8, 8), dtype=torch.bool), "seeds": torch.zeros(1).long()}
    return FillInput(**(plain | changes))
