"""LaMa as an inpainter: sizes, company, precision, and refinement by config."""

import numpy as np
import pytest
import torch

from operators.assets import AssetStore
from operators.checkpoints.errors import CheckpointError
from operators.inpaint.base import FillInput
from operators.inpaint.lama import LamaInpainter, LamaInpainterConfig
from operators.networks.lama_fused import Fused
from tests.official import lama as official
from tests.operators.inpaint.faces import batch_of, drawn, given


@pytest.fixture(scope="module")
def inpainter():
    return LamaInpainter(LamaInpainterConfig(), network=official.network())


def picture(height: int, width: int, seed: int = 0) -> FillInput:
    random = torch.Generator().manual_seed(seed)
    hole = torch.zeros(1, height, width, dtype=torch.bool)
    hole[:, height // 3 : height * 2 // 3, width // 4 : width * 3 // 4] = True
    image = torch.rand((1, 3, height, width), generator=random)
    return FillInput(torch.where(hole[:, None], 0.5, image), hole, seeds=torch.zeros(1, dtype=torch.int64))


def test_a_config_and_official_files_are_all_it_takes(tmp_path):
    config = LamaInpainterConfig(checkpoint=official.write(tmp_path))
    operator = LamaInpainter(config, AssetStore(tmp_path / "cache"))
    assert isinstance(operator.network, Fused)
    face = drawn(64)
    result = operator(batch_of(face)).faces["inpainted"][0]
    known = ~face["hole"]
    assert np.array_equal(result[known], face["crop"][known])
    assert not np.array_equal(result[~known], face["crop"][~known])


def test_without_files_the_error_says_what_to_give(tmp_path):
    with pytest.raises(
        CheckpointError, match=r"lama: expected a checkpoint of LaMa, found none: set checkpoint to .*big-lama\.pt"
    ):
        LamaInpainter(LamaInpainterConfig(), AssetStore(tmp_path))


def test_faces_have_the_same_bytes_in_any_company(inpainter):
    faces = [drawn(64, seed) for seed in range(3)]
    together = inpainter(batch_of(*faces)).faces["inpainted"]
    for i in (2, 0):
        assert np.array_equal(inpainter(batch_of(faces[i])).faces["inpainted"][0], together[i])


def test_what_lies_under_the_hole_is_not_looked_at(inpainter):
    face, other = drawn(64), drawn(64)
    other["crop"] = np.where(face["hole"][..., None], 255 - face["crop"], face["crop"])
    fills = [inpainter(batch_of(one)).faces["inpainted"][0] for one in (face, other)]
    assert np.array_equal(fills[0][face["hole"]], fills[1][face["hole"]])


@pytest.mark.parametrize(("height", "width"), [(61, 75), (64, 8), (5, 9), (8, 8), (1, 30)])
def test_any_size_is_padded_and_cut_back(inpainter, height, width):
    scene = picture(height, width)
    result = inpainter.fill(scene)
    assert result.shape == scene.image.shape and bool(torch.isfinite(result).all())
    known = ~scene.hole[:, None].expand_as(result)
    assert torch.equal(result[known], scene.image[known])


def test_padding_is_symmetric_as_in_the_official_code(inpainter):
    scene = picture(61, 75)
    image, hole = (
        np.pad(x[0].numpy(), (*[(0, 0)] * (x.ndim - 3), (0, 3), (0, 5)), mode="symmetric") for x in (scene.image, scene.hole)
    )
    padded = FillInput(torch.from_numpy(image)[None], torch.from_numpy(hole)[None], scene.seeds)
    torch.testing.assert_close(inpainter.fill(scene), inpainter.fill(padded)[..., :61, :75])


def test_half_precision_stays_near(inpainter):
    operator = LamaInpainter(LamaInpainterConfig(precision="bfloat16"), network=official.network())
    scene = picture(64, 64)
    exact, half = inpainter.fill(scene), operator.fill(scene)
    assert half.dtype == torch.float32 and 0 < float((half - exact).abs().max()) < 0.05


def test_refinement_works_under_inference_mode_and_changes_only_the_hole():
    config = LamaInpainterConfig(refine=True, min_side=32, n_iters=3)
    operator, plain = (LamaInpainter(one, network=official.network()) for one in (config, LamaInpainterConfig()))
    faces = [drawn(64, seed) for seed in range(2)]
    together = operator(batch_of(*faces)).faces["inpainted"]
    alone = operator(batch_of(faces[1])).faces["inpainted"][0]
    assert np.array_equal(alone, together[1])
    known = ~faces[1]["hole"]
    assert np.array_equal(alone[known], faces[1]["crop"][known])
    assert not np.array_equal(alone, plain(batch_of(faces[1])).faces["inpainted"][0])


def test_refinement_at_one_scale_is_a_forward_pass(inpainter):
    operator = LamaInpainter(LamaInpainterConfig(refine=True), network=official.network())
    face = given(drawn(64))
    with torch.inference_mode():
        torch.testing.assert_close(operator.fill(face), inpainter.fill(face))
