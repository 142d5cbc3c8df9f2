from __future__ import annotations

from pathlib import Path

import pytest
import torch

from operators.networks.edgeconnect import SYSTEM, EdgeConnect, Generator
from operators.networks.edgeconnect_cpu import FastGenerator
from operators.networks.winograd import available
from tests.conformance.fixture import FIXTURES, Fixture, compared, strided_like
from tests.conformance.formula import rect_mask
from tests.conformance.systems.edgeconnect import given, network
from tests.official import edgeconnect as official

pytestmark = pytest.mark.skipif(not available(), reason="needs a torch with oneDNN")


@torch.inference_mode()
def test_the_official_outputs_come_out_of_the_fast_form_too() -> None:
    fixture = Fixture(FIXTURES / "edgeconnect")
    both = network(fixture)
    assert isinstance(both.edge, Generator) and isinstance(both.inpaint, Generator)
    fast = EdgeConnect(FastGenerator(both.edge), FastGenerator(both.inpaint))
    grey, rgb, edge = (given(fixture, name) for name in ("gray", "rgb", "edge"))
    hole = rect_mask(tuple(grey.shape), fixture.spec["inputs"]["mask_rect"])
    for name, ours in (("edge_out", fast.edges(grey, edge, hole)), ("inpaint_out", fast.picture(rgb, edge, hole))):
        expected = fixture.expected[name]
        result = compared(name, strided_like(ours.numpy(), expected.shape), expected)
        assert result.relative < 5e-5, result


@pytest.mark.parametrize("size", [(12, 12), (20, 44)])
@torch.inference_mode()
def test_any_size_and_number_of_pictures(tmp_path: Path, size: tuple[int, int]) -> None:
    both = SYSTEM.build(SYSTEM.read(SYSTEM.find(Path(official.write(tmp_path)))))
    assert isinstance(both.inpaint, Generator)
    x = torch.rand(3, 4, *size)
    expected = both.inpaint(x)
    fast = FastGenerator(both.inpaint)
    torch.testing.assert_close(fast(x), expected, rtol=1e-3, atol=1e-3 * float(expected.std()))
    assert torch.equal(fast(x)[1:2], fast(x[1:2]))
