from functools import cache

import numpy as np
import pytest
import torch

from operators.networks import lpips
from tests.formula_weights import formula_weights
from tests.operators.metrics.published import published


@cache
def made(trunk):
    """The network with formula weights; its linear weights are made positive, as trained ones are."""
    network = lpips.build(trunk)
    weights = formula_weights(network.state_dict())
    kept = {name: value for name, value in network.state_dict().items() if "scaling" in name}
    network.load_state_dict({name: v.abs() if name.startswith("lin") else v for name, v in weights.items()} | kept)
    return network


@pytest.mark.parametrize("trunk", ["alex", "vgg"])
def test_distance_and_map_are_the_packages(trunk):
    network = made(trunk)
    a, b = (torch.from_numpy(published()[name].transpose(2, 0, 1) / np.float32(127.5) - 1)[None] for name in ("a_u8", "b_u8"))
    with torch.inference_mode():
        maps = lpips.layer_maps(network, a, b)
        assert float(lpips.distance(lpips.layer_maps(network, a, a))) == 0
        network.spatial = True
        spatial = network(a, b)[:, 0]
        network.spatial = False
    known = published()[f"lpips_{trunk}"]
    np.testing.assert_allclose([float(lpips.distance(maps)[0]), *(float(m.mean()) for m in maps)], known, rtol=1e-4)
    torch.testing.assert_close(lpips.distance_map(maps, *a.shape[2:]), spatial)


def test_building_leaves_the_random_state_alone():
    before = torch.random.get_rng_state()
    lpips.build("alex")
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("trunk", ["alex", "vgg"])
def test_the_smallest_picture_is_the_smallest_that_works(trunk):
    network = made(trunk)
    side = lpips.SMALLEST[trunk]
    with torch.inference_mode():
        fine = torch.zeros(1, 3, side, side)
        assert float(lpips.distance(lpips.layer_maps(network, fine, fine))) == 0
        tiny = torch.zeros(1, 3, side - 1, side - 1)
        with pytest.raises(RuntimeError):
            network.net(tiny)
