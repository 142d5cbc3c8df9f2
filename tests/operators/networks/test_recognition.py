"""ArcFace's and dlib's networks: layouts, and what their files hold."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from operators.networks.dlib_resnet import DlibResNet, _Residual, from_tfjs, read_tfjs
from operators.networks.iresnet import IResNet
from tests.formula_weights import formula_weights


def test_arcface_has_the_layout_of_its_published_backbones():
    state = IResNet().state_dict()
    assert (
        sum(value.numel() for name, value in state.items() if "running" not in name and "num_batches" not in name) == 43_590_848
    )
    assert state["layer3.13.conv2.weight"].shape == (256, 256, 3, 3)
    assert state["layer2.0.downsample.0.weight"].shape == (128, 64, 1, 1)
    assert state["prelu.weight"].shape == (64,) and state["fc.weight"].shape == (512, 25088)


def test_arcface_embeddings_have_unit_length():
    network = IResNet((1, 1, 1, 1))
    network.load_state_dict(formula_weights(network.state_dict()))
    with torch.inference_mode():
        out = network(torch.linspace(-1, 1, 2 * 3 * 112 * 112).reshape(2, 3, 112, 112))
    assert out.shape == (2, 512)
    torch.testing.assert_close(out.norm(dim=1), torch.ones(2))


def test_dlibs_short_cut_averages_and_fills_new_channels_with_zeros():
    block = _Residual(2, 3, down=True)
    nn.init.zeros_(block.conv2.weights)  # only the short cut is left
    x = torch.arange(2 * 7 * 7, dtype=torch.float32).reshape(1, 2, 7, 7)
    y = block(x)
    assert y.shape == (1, 3, 3, 3) and float(y.detach()[0, 2].abs().max()) == 0
    torch.testing.assert_close(y[0, 0, 0, 0], x[0, 0, :2, :2].mean())


def test_dlibs_network_has_29_convolutions_and_128_outputs():
    network = DlibResNet()
    assert sum(isinstance(layer, nn.Conv2d) for layer in network.modules()) == 29
    with torch.inference_mode():
        assert network(torch.full((1, 3, 150, 150), 128.0)).shape == (1, 128)


def stored(weights: list[tuple[str, np.ndarray, dict | None]]) -> tuple[bytes, bytes]:
    entries, data = [], b""
    for name, value, rules in weights:
        entry = {"name": name, "shape": list(value.shape), "dtype": "float32"}
        entries.append(entry | ({"quantization": rules} if rules else {}))
        data += value.astype(rules["dtype"] if rules else np.float32).tobytes()
    return json.dumps([{"weights": entries, "paths": ["x.bin"]}]).encode(), data


def test_quantised_weights_are_read_and_laid_out_for_torch():
    kernel = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    manifest, data = stored([
        ("conv32_1/conv1/conv/filters", kernel, {"dtype": "uint8", "scale": 0.5, "min": -3.0}),
        ("conv32_1/conv1/scale/weights", np.array([1.5, 2.5]), None),
        ("fc", np.arange(6).reshape(3, 2), None),
    ])  # fmt: skip
    weights = from_tfjs(read_tfjs(manifest, data))
    assert float(weights["conv32_1.conv1.conv.weight"][4, 3, 1, 2]) == kernel[1, 2, 3, 4] * 0.5 - 3
    assert weights["conv32_1.conv1.weights"].tolist() == [1.5, 2.5]
    assert weights["fc.weight"].tolist() == [[0, 2, 4], [1, 3, 5]]


def test_a_file_of_another_manifest_is_refused():
    manifest, data = stored([("fc", np.zeros((3, 2)), None)])
    with pytest.raises(ValueError, match="ends inside fc"):
        read_tfjs(manifest, data[:-1])
    with pytest.raises(ValueError, match="4 bytes are left over"):
        read_tfjs(manifest, data + bytes(4))
