"""No network mixes devices: every one runs on tensors that lie on a GPU, which needs none."""

import pytest
import torch

from jobs.benchmarks.networks import CONFIGS, scene
from jobs.plan import OPERATORS
from operators.checkpoints.registry import system_of
from operators.inpaint import edgeconnect, lama, mat, seeds, tfill
from tests.fake_gpu import DEVICE, fake_gpu, move, move_fields, moved

DRAWN = "facefill3d"  # rasterizes, which takes numbers: tests/gpu


def test_a_mixture_is_seen():
    layer = torch.nn.Linear(2, 2)
    beside = torch.ones(2)
    with fake_gpu():
        move(layer)
        assert layer(moved(beside[None])).device.type == DEVICE
        with pytest.raises(RuntimeError, match="two different devices"):
            layer(moved(beside[None])) + beside


@pytest.mark.parametrize("config", [config for config in CONFIGS if config.system != DRAWN], ids=lambda config: config.system)
def test_everything_lies_where_the_network_is(config, monkeypatch):
    system = system_of(config.system)
    usual = torch.nn.Module.to

    def to(module, *where, **how):
        return module if DEVICE in map(str, where) else usual(module, *where, **how)

    with monkeypatch.context() as there_is_none:
        there_is_none.setattr(torch.nn.Module, "to", to)
        operator = OPERATORS[type(config)](config, device=DEVICE, network=system.build(system.untrained()))
    # What is made on the CPU from numbers, as it comes from there.
    for module in (seeds, edgeconnect, lama, mat, tfill):
        for name in ("normal", "uniform"):
            monkeypatch.setattr(module, name, lambda own, shape, stream=0: torch.zeros(len(own), *shape), raising=False)
    blank = lambda images, *_: torch.zeros(len(images), *images.shape[-2:], device=images.device) > 0  # noqa: E731
    monkeypatch.setattr(edgeconnect, "canny_skimage", blank)
    given = scene(2, 256)
    with fake_gpu():
        move(operator.network)
        painted = operator.paint(move_fields(given, "seeds"))
        assert painted.device.type == DEVICE and tuple(painted.shape) == (2, 3, 256, 256)
