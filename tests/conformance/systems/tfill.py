"""TFill's fixtures: each network, and both stages together."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from operators.checkpoints.system import Official
from operators.networks.packed import packed
from operators.networks.tfill import TFill, build, discriminator
from operators.networks.tfill_discriminator import Blur
from tests.conformance.fixture import Fixture
from tests.conformance.formula import latent, rect_mask, sym

INPUTS = ("img_u8",)
_GENERATORS = ("E", "T", "G", "G_Ref")


def outputs(fixture: Fixture) -> Iterator[tuple[str, np.ndarray]]:
    """Every official output."""
    with torch.inference_mode():
        for name, value in _outputs(fixture):
            yield name, value.numpy()


def _outputs(fixture: Fixture) -> Iterator[tuple[str, Tensor]]:
    spec, wanted = fixture.spec["inputs"], {name.removesuffix("__stats") for name in fixture.expected}
    network = tfill(fixture)
    image = sym(spec["img"][1], spec["img"][2])
    mask = rect_mask((len(image), 1, *image.shape[2:]), spec["hole_rect"], inside=0.0, outside=1.0)
    features, known = network.E(image * mask, mask)
    yield from (("E_feat", features), ("E_mask", known))
    tokens = network.T(features, known)
    yield "T_out", tokens
    painted = network.G(tokens, mask)
    yield "G_out", painted
    if "G_out_noise" in wanted:
        yield "G_out_noise", _noisy(fixture, tokens, mask)
    if network.G_Ref is not None:
        yield "G_Ref_out", network.G_Ref(image * mask + painted.mean() * (1 - mask), mask)
    if "pipe_coarse" in wanted:
        told = " ".join(str(value) for name, value in spec.items() if name.startswith("pipe"))
        rect = re.search(r"\[(\d+(?:, *\d+){3})\]", told)
        photo = torch.from_numpy(fixture.expected["img_u8"]).permute(2, 0, 1)[None].float() / 255 * 2 - 1
        assert rect is not None
        whole = rect_mask((1, 1, *photo.shape[2:]), map(int, rect[1].split(",")), inside=0.0, outside=1.0)
        stages = packed(network)(photo, whole)  # as the inpainter runs it
        yield from (("pipe_coarse", stages.coarse), ("pipe_refined", stages.refined))
    for name in ("D", "D_Ref"):
        if f"net{name}_out" in wanted:
            blur = {key: Blur(1).kernel for key, _, _ in fixture.spec["networks"][f"net{name}"]["keys"] if key.endswith("kernel")}
            disc = spec.get(f"disc{name.removeprefix('D').lower()}", spec["disc"])
            yield f"net{name}_out", discriminator(fixture.state(f"net{name}", blur))(sym(disc[1], disc[2]))


def tfill(fixture: Fixture) -> TFill:
    """The network that the loader makes of the official keys."""
    names = [name for name in _GENERATORS if f"net{name}" in fixture.spec["networks"]]
    return build(Official({f"{name}.{key}": value for name in names for key, value in fixture.state(f"net{name}").items()}))


def _noisy(fixture: Fixture, tokens: Tensor, mask: Tensor) -> Tensor:
    """The generator with its noise strengths by the general rule, and the noise that the spec names."""
    described = fixture.spec["networks"]["netG"]
    described["weights"] = {**described["weights"], "overrides": {}}
    generator = tfill(fixture).G
    prefix = re.search(r'latent "([^"]*?)up\.', fixture.spec["inputs"].get("noise", ""))
    sizes = generator.noise_sizes(tokens.shape[2], tokens.shape[3])
    noise = {
        name: latent(f"{prefix[1] if prefix else 'tfill/noise/'}{name}", (len(tokens), 1, *size)) for name, size in sizes.items()
    }
    return generator(tokens, mask, noise)
