"""Weights as a formula of key and shape: two networks that agree on them agree on the architecture, with no file to ship."""

import zlib
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torchvision.models import alexnet


def formula(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Uniform numbers of mean 0 and variance 1 from the legacy Mersenne Twister, seeded by the name's CRC-32."""
    uniform = np.random.RandomState(zlib.crc32(name.encode())).random_sample(shape)
    return (2 * uniform - 1) * np.sqrt(3)


def formula_weights(like: Mapping[str, Tensor], gain: float = 1.4) -> dict[str, Tensor]:
    """A state_dict of the same keys and shapes: kernels scaled by their fan-in, norms near identity, small biases."""
    out = {}
    for name, tensor in like.items():
        last, shape = name.rsplit(".", 1)[-1], tuple(tensor.shape)
        if last == "num_batches_tracked":
            out[name] = torch.zeros_like(tensor)
            continue
        value = formula(name, shape)
        if last in ("running_mean", "bias"):
            value = 0.1 * value
        elif last == "running_var" or len(shape) < 2:
            value = 1 + 0.1 * value
        else:
            value = value * gain / np.sqrt(np.prod(shape[1:]))
        out[name] = torch.from_numpy(np.asarray(value, np.float32))
    return out


def alexnet_weights() -> dict[str, Tensor]:
    """torchvision's AlexNet without its classifier: what LPIPS takes of the official file."""
    with torch.device("meta"):  # shapes are enough
        like = alexnet().state_dict()
    return formula_weights({name: value for name, value in like.items() if name.startswith("features")})
