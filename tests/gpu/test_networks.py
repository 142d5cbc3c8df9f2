"""Inpainting networks on a GPU against the same networks on the CPU."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from jobs.benchmarks.network_throughput import on
from jobs.benchmarks.networks import CONFIGS, scene
from jobs.plan import OPERATORS
from operators.checkpoints.registry import system_of

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device, and this machine has none")


@pytest.fixture(autouse=True)
def _exact():
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.system)
def test_pictures_are_those_of_the_cpu(config):
    system, made = system_of(config.system), OPERATORS[type(config)]
    official, given = system.untrained(), scene(2, 256)
    with torch.inference_mode():
        theirs = made(config, network=system.build(official)).fill(given)
        small = replace(config, batch_size=4)
        operator = made(small, device="cuda", network=system.build(official))
        ours = operator.fill(on(given, "cuda"))
        again = operator.fill(on(given.take(slice(0, 1)), "cuda"))
    assert float((ours.cpu() - theirs).abs().mean()) < 2e-3
    assert torch.equal(again[0], ours[0])  # batches are filled up to one size
    half = made(replace(small, precision="bfloat16"), device="cuda", network=system.build(official))
    with torch.inference_mode():
        assert bool(torch.isfinite(half.fill(on(given, "cuda"))).all())
