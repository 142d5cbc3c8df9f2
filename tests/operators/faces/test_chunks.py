"""An image's numbers do not depend on how many others travel with it."""

import pytest
import torch

from operators.faces.chunks import run_in_chunks
from operators.faces.tflite_network import TfliteNetwork


def sums(images):
    assert len(images) == 4
    return {"sum": images.flatten(1).sum(1), "first": images[:, 0]}


@pytest.mark.parametrize("count", [1, 3, 4, 5, 9])
def test_every_image_once_and_in_order(count):
    images = torch.arange(count * 12.0).reshape(count, 3, 2, 2)
    out = run_in_chunks(sums, images, 4)
    assert torch.equal(out["sum"], images.flatten(1).sum(1)) and torch.equal(out["first"], images[:, 0])


@pytest.mark.parametrize(("count", "size"), [(0, 4), (2, 0)])
def test_nothing_to_run_is_refused(count, size):
    with pytest.raises(ValueError, match="at least one image and a positive chunk size"):
        run_in_chunks(sums, torch.zeros(count, 3, 2, 2), size)


@pytest.mark.parametrize(("name", "side"), [("blazeface_short_range", 128), ("face_mesh_attention", 192)])
def test_the_same_bits_in_any_company(store, name, side):
    network = TfliteNetwork(*store.network(name)).eval().to(memory_format=torch.channels_last)
    images = torch.rand(7, 3, side, side, generator=torch.Generator().manual_seed(5))
    together = run_in_chunks(network, images, 4)
    alone = [run_in_chunks(network, image[None], 4) for image in images]
    for key, values in together.items():
        assert torch.equal(values, torch.cat([out[key] for out in alone])), key
