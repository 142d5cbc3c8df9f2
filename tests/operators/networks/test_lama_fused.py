"""Layers for inference against the layers of the paper."""

from dataclasses import replace

import pytest
import torch

from operators.networks.lama import empty, generator
from operators.networks.lama_config import FfcSettings, GlobalSettings, Ratios
from operators.networks.lama_fused import Fused, fused
from tests.formula_weights import formula_weights
from tests.official.lama import FOURIER, REGULAR


def made(settings: FfcSettings | GlobalSettings):
    return generator(settings, formula_weights(empty(settings).state_dict()))


def seen(height: int = 48, width: int = 64) -> torch.Tensor:
    return torch.rand((2, 4, height, width), generator=torch.Generator().manual_seed(2))


def off(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((ours - theirs).norm() / theirs.norm())


LOCAL = replace(FOURIER, resnet_conv_kwargs=Ratios(0.0, 0.0, False))


@pytest.mark.parametrize(
    "settings",
    [
        FOURIER,
        LOCAL,
        replace(FOURIER, padding_type="zeros"),
        REGULAR,
        replace(REGULAR, padding_type="zero", ngf=4, n_downsampling=0, add_out_act=False),
    ],
    ids=["fourier", "no global part", "zeros", "regular", "regular, tiny"],
)
def test_outputs_are_those_of_the_network(settings):
    network = made(settings)
    before = network(seen())
    ours = fused(network)
    assert isinstance(ours, Fused) and not any("bn" in name for name, _ in ours.named_parameters())
    assert off(ours(seen()), before) < 1e-5
    assert torch.equal(network(seen()), before)  # the network itself stays what it is


@pytest.mark.parametrize("settings", [FOURIER, REGULAR], ids=["fourier", "regular"])
def test_it_is_cut_at_the_same_place(settings):
    network = made(settings)
    ours = fused(network)
    theirs = network.model[: network.first_block](seen())
    parts = torch.cat(theirs, 1) if isinstance(theirs, tuple) else theirs
    assert off(ours.model[: ours.first_block](seen()), parts) < 1e-5


@pytest.mark.parametrize(
    "settings",
    [
        replace(FOURIER, resnet_conv_kwargs=Ratios(0.75, 0.75, True)),
        replace(FOURIER, resnet_conv_kwargs=Ratios(0.75, 0.75, False, gated=True)),
        replace(
            FOURIER,
            init_conv_kwargs=Ratios(0.0, 0.5, False),
            downsample_conv_kwargs=Ratios(0.5, 0.5, False),
            resnet_conv_kwargs=Ratios(0.5, 0.5, False),
        ),
    ],
    ids=["local Fourier units", "gates", "global part from the start"],
)
def test_unusual_settings_run_as_they_are(settings):
    network = made(settings)
    assert fused(network) is network
    out = network(seen(64, 64))
    assert out.shape == (2, 3, 64, 64) and float(out.std()) > 0


def test_gradients_reach_the_features():
    ours = fused(made(FOURIER))
    features = ours.model[: ours.first_block](seen()).clone().requires_grad_()
    ours.model[ours.first_block :](features).sum().backward()
    assert features.grad is not None and float(features.grad.abs().min(dim=1).values.max()) > 0
