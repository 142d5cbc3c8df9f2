from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from operators.assets import AssetStore
from operators.checkpoints.errors import CheckpointError
from operators.checkpoints.system import Official
from operators.inpaint.base import FillInput
from operators.inpaint.mat import MatInpainter, MatInpainterConfig
from operators.networks.mat import SYSTEM, Generator
from operators.networks.mat_checkpoint import without_constants
from tests.official import mat as official
from tests.operators.inpaint.faces import batch_of, drawn, given


def network() -> Generator:
    built = SYSTEM.build(Official(without_constants(official.generator_state(), "test")))
    assert isinstance(built, Generator)
    for name, value in built.named_parameters():
        if name.endswith("toRGB.bias"):
            value.zero_()
        if name.endswith("toRGB.conv.weight"):  # formula weights paint far outside of the range otherwise
            value.mul_(0.01)
    return built


def inpainter(**options: Any) -> MatInpainter:
    return MatInpainter(MatInpainterConfig(**options), network=network())


def test_known_pixels_stay_and_holes_are_painted():
    face = drawn(128)
    result = inpainter()(batch_of(face)).faces["inpainted"][0]
    assert np.array_equal(result[~face["hole"]], face["crop"][~face["hole"]])
    assert len(np.unique(result[face["hole"]], axis=0)) > 100


def test_a_face_is_the_same_in_any_company_and_with_its_seed_only():
    faces = given(*[drawn(128, seed) for seed in range(3)])
    painter = inpainter()
    together = painter.fill(faces)
    assert torch.equal(painter.fill(faces.take(slice(1, 2))), together[1:2])
    assert torch.equal(painter.fill(faces), together)
    assert not torch.equal(painter.fill(replace(faces, seeds=faces.seeds + 9)), together)


def test_what_each_choice_changes():
    faces = given(drawn(128))
    usual = inpainter().fill(faces)
    for options in ({"noise": "random"}, {"noise": "none"}, {"dropout": "half"}, {"truncation_psi": 0.5}):
        other = inpainter(**options)
        assert not torch.equal(other.fill(faces), usual), options
        assert torch.equal(other.fill(faces), other.fill(faces)), options


def test_without_dropout_and_style_nothing_depends_on_the_seed():
    faces = given(drawn(128))
    painter = inpainter(dropout="half", truncation_psi=0.0)
    assert torch.equal(painter.fill(faces), painter.fill(replace(faces, seeds=faces.seeds + 1)))


def test_polarity_and_range():
    """A network that returns what it was given: known pixels in [-1, 1] with 1 where the photo is known."""
    seen: list[torch.Tensor] = []

    class Spy(Generator):
        def forward(self, image, known, z, psi=1.0, drop=None, noise=None):  # type: ignore[override]
            seen.extend([image, known])
            return torch.full_like(image, 3.0), image

    spy = Spy(official.SMALL)
    face = drawn(128)
    filled = MatInpainter(MatInpainterConfig(), network=spy).fill(given(face))
    image, known = seen
    assert np.array_equal(known[0, 0].numpy() == 1, ~face["hole"])
    photo = torch.from_numpy(face["crop"][~face["hole"]]) / 127.5 - 1
    assert torch.allclose(image[0].permute(1, 2, 0)[~face["hole"]], photo, atol=1e-5)
    assert bool((filled[0][:, torch.from_numpy(face["hole"])] == 1).all())


@pytest.mark.parametrize("size", [100, 192, 384])
def test_other_sizes_are_resized_with_the_outline_of_the_hole_kept(size):
    face = drawn(size)
    result = inpainter()(batch_of(face)).faces["inpainted"][0]
    assert np.array_equal(result[~face["hole"]], face["crop"][~face["hole"]])
    assert len(np.unique(result[face["hole"]], axis=0)) > 100


def test_crops_that_are_not_square():
    faces = given(drawn(128))
    wide = FillInput(faces.image[:, :, :96], faces.hole[:, :96], faces.seeds)
    filled = inpainter().fill(wide)
    assert filled.shape == (1, 3, 96, 128) and bool(filled.isfinite().all())
    assert torch.equal(filled.movedim(1, -1)[~wide.hole], wide.image.movedim(1, -1)[~wide.hole])


def test_multiples_of_the_models_size_as_they_are():
    faces = given(drawn(256))
    native, resized = inpainter(larger="native").fill(faces), inpainter().fill(faces)
    assert native.shape == resized.shape and not torch.equal(native, resized)
    assert torch.equal(native, inpainter(larger="native", noise="random").fill(faces))


def test_opens_the_official_file_once_and_refuses_others(tmp_path: Path):
    store = AssetStore(tmp_path)
    config = MatInpainterConfig(checkpoint=official.write(tmp_path))
    first = MatInpainter(config, store)
    Path(config.checkpoint).unlink()
    converted = next((tmp_path / "networks").glob("mat-*.safetensors"))
    again = MatInpainter(replace(config, checkpoint=str(converted)), store)
    faces = given(drawn(128))
    assert torch.equal(first.fill(faces), again.fill(faces))
    with pytest.raises(CheckpointError, match="a checkpoint of MAT"):
        MatInpainter(MatInpainterConfig(), store)


def test_half_precision_stays_near(tmp_path: Path):
    faces = given(drawn(128))
    exact, rough = inpainter(dropout="half").fill(faces), inpainter(dropout="half", precision="bfloat16").fill(faces)
    assert rough.dtype == torch.float32 and 0 < float((rough - exact).abs().mean()) < 0.05
