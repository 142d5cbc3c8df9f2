from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

from operators.checkpoints.errors import CheckpointError
from operators.networks.spectral_norm import plain_weights, transposed_in


def normalised(*layers: nn.Module) -> nn.Sequential:
    """Layers with torch's own spectral norm, after a few steps of training."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        network = nn.Sequential(*(nn.utils.spectral_norm(layer) for layer in layers))
    x = torch.rand(2, 4, 8, 8)
    for _ in range(3):
        network.train()(x)
    return network.eval()


def layers() -> tuple[nn.Module, ...]:
    # the last one has as many inputs as outputs: the length of u does not say which axis it belongs to
    return (
        nn.Conv2d(4, 6, 3, padding=1),
        nn.ConvTranspose2d(6, 5, 4, stride=2, padding=1),
        nn.ConvTranspose2d(5, 5, 3, padding=1, bias=False),
    )


def outputs(state: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    plain = nn.Sequential(*layers())
    plain.load_state_dict(plain_weights(state, "file", transposed_in(plain)))
    return plain(x)


@torch.inference_mode()
def test_plain_weights_compute_what_torch_computes() -> None:
    network, x = normalised(*layers()), torch.rand(1, 4, 9, 7)
    torch.testing.assert_close(outputs(dict(network.state_dict()), x), network(x), rtol=1e-5, atol=1e-6)


@torch.inference_mode()
def test_files_from_before_torch_1_keep_their_stored_weight() -> None:
    network, x = normalised(*layers()), torch.rand(1, 4, 9, 7)
    expected, state = network(x), dict(network.state_dict())
    for i in range(3):
        del state[f"{i}.weight_v"]
        state[f"{i}.weight"] = network[i].weight.clone()
        state[f"{i}.weight_orig"] = state[f"{i}.weight_orig"] * 1.1  # the optimiser moved it after the last forward pass
    torch.testing.assert_close(outputs(state, x), expected, rtol=1e-5, atol=1e-6)


def test_linear_layers_and_everything_without_a_norm() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        network = nn.Sequential(nn.utils.spectral_norm(nn.Linear(3, 4)), nn.BatchNorm1d(4)).eval()
    plain = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).eval()
    plain.load_state_dict(plain_weights(network.state_dict(), "file"))
    x = torch.rand(5, 3)
    torch.testing.assert_close(plain(x), network(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("lost", ["weight_u", "weight_v"])
def test_what_lacks_a_part_is_refused(lost: str) -> None:
    state = dict(normalised(nn.Conv2d(4, 6, 3)).state_dict())
    del state[f"0.{lost}"]
    with pytest.raises(CheckpointError, match=rf"broken\.pth: expected spectral norm .*0\.weight_orig without 0\.{lost}"):
        plain_weights(state, "broken.pth")


def test_vectors_of_another_layer_are_refused() -> None:
    state = dict(normalised(nn.Conv2d(4, 6, 3)).state_dict())
    state["0.weight_v"] = torch.ones(7)
    with pytest.raises(CheckpointError, match=r"\(6, 4, 3, 3\) with u \(6,\) and v \(7,\)"):
        plain_weights(state, "broken.pth")
    state["0.weight_v"] = torch.zeros(36)
    with pytest.raises(CheckpointError, match=r"a norm of 0\.0"):
        plain_weights(state, "broken.pth")
