"""Refinement: its pyramid, the pixels that it trusts, and what optimisation is for."""

import pytest
import torch

from operators.inpaint.lama_refinement import Refinement, halved, pyramid, refined, scales, sure
from operators.networks.lama_fused import fused
from tests.official import lama as official


def scene(height: int = 64, width: int = 56) -> tuple[torch.Tensor, torch.Tensor]:
    image = torch.rand((1, 3, height, width), generator=torch.Generator().manual_seed(3))
    hole = torch.zeros(1, 1, height, width)
    hole[..., height // 4 : height * 3 // 4, width // 4 : width * 3 // 4] = 1
    return image, hole


@pytest.mark.parametrize(
    ("options", "sizes"),
    [
        ({"min_side": 512}, [(64, 56)]),
        ({"min_side": 28}, [(32, 28), (64, 56)]),
        ({"min_side": 39}, [(32, 28), (64, 56)]),  # log2(56 / 39) rounds up
        ({"min_side": 40}, [(64, 56)]),
        ({"min_side": 4}, [(16, 14), (32, 28), (64, 56)]),  # no more than three
        ({"min_side": 28, "px_budget": 32 * 28}, [(32, 28)]),
    ],
)
def test_sizes_of_the_pyramid(options, sizes):
    assert [tuple(image.shape[-2:]) for image, _ in pyramid(*scene(), Refinement(**options))] == sizes


def test_a_flat_picture_stays_flat_and_holes_grow():
    assert torch.allclose(halved(torch.full((1, 3, 20, 18), 0.3)), torch.tensor(0.3))
    (_, small), (_, full) = pyramid(*scene(), Refinement(min_side=28))
    assert set(small.unique().tolist()) == {0.0, 1.0}
    assert small.sum() > full.sum() / 4


def test_only_pixels_well_inside_the_hole_are_trusted():
    hole = torch.zeros(1, 1, 80, 80)
    hole[..., 10:70, 10:70] = 1
    inside = sure(hole)
    assert inside.shape == (1, 1, 40, 40) and inside[0, 0, 20, 20] == 1
    rows = torch.nonzero(inside[0, 0].any(1))[:, 0]
    assert (int(rows.min()), int(rows.max())) == (5 + 7, 34 - 7)
    assert float(sure(torch.ones(1, 1, 30, 30)).min()) == 1  # the picture's border is no known pixel


def test_the_finer_scale_comes_nearer_to_the_coarser_one():
    network, (image, hole) = fused(official.network()), scene(96, 96)
    hole = torch.ones_like(hole)  # nothing known that would pull the other way
    found = {}
    for n_iters in (1, 16):
        (coarse, _), (fine, _) = scales(network, image, hole, Refinement(n_iters, 0.02, min_side=48))
        inside = sure(hole).bool().expand_as(coarse)
        found[n_iters] = float((halved(fine) - coarse)[inside].abs().mean())
    assert found[16] < 0.95 * found[1]


def test_a_picture_over_the_budget_comes_back_at_its_own_size():
    image, hole = scene()
    assert refined(fused(official.network()), image, hole, Refinement(px_budget=1000)).shape == image.shape


@pytest.mark.parametrize("everywhere", [0.0, 1.0], ids=["no hole", "all hole"])
def test_a_hole_of_nothing_or_everything_gives_numbers(everywhere):
    image, hole = scene()
    out = refined(fused(official.network()), image, torch.full_like(hole, everywhere), Refinement(n_iters=3, min_side=28))
    assert bool(torch.isfinite(out).all())


def test_a_scale_of_a_few_pixels_is_possible():
    image, hole = scene(32, 24)
    assert bool(torch.isfinite(refined(fused(official.network()), image, hole, Refinement(n_iters=2, min_side=6))).all())


def test_weights_stay_what_they_are():
    network = fused(official.network())
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with torch.inference_mode():
        refined(network, *scene(), Refinement(n_iters=3, min_side=28))
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
