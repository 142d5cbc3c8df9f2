"""LaMa: three generators as networks and through the inpainter as `bin/predict.py` runs them, and the discriminator."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from operators.checkpoints.loading import fill
from operators.checkpoints.system import Official
from operators.inpaint.base import FillInput
from operators.inpaint.lama import LamaInpainter, LamaInpainterConfig
from operators.networks.lama import SYSTEM, Generator, generator_weights
from operators.networks.lama_config import settings_of
from operators.networks.lama_discriminator import NLayerDiscriminator
from operators.networks.lama_fused import fused
from tests.conformance.fixture import Fixture
from tests.conformance.formula import rect_mask, unit

INPUTS = ("img_u8", "mask_u8")


def generator_of(fixture: Fixture, name: str) -> Generator:
    """One of the spec's generators, by way of the loader of official files."""
    described = fixture.spec["networks"][name]
    prefix = described.get("ckpt_prefix", "generator.")
    weights = generator_weights({prefix + key: value for key, value in fixture.state(name).items()})
    network = SYSTEM.build(Official(weights, {"generator": settings_of(described["ctor"], name).as_json()}))
    assert not isinstance(network, torch.Tensor)
    return network  # type: ignore[return-value]


def scene(fixture: Fixture) -> tuple[Tensor, Tensor]:
    """The spec's picture and hole (1)."""
    rule, name, shape = fixture.spec["inputs"]["img"]
    assert rule == "unit"
    image = unit(name, shape)
    return image, rect_mask((shape[0], 1, *shape[2:]), fixture.spec["inputs"]["mask_rect"])


def predicted_levels(network: Generator, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A whole picture with its hole filled: any grey of the mask is hole, levels are cut off and not rounded."""
    inpainter = LamaInpainter(LamaInpainterConfig(), network=network)
    picture = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    hole = torch.from_numpy(mask)[None] > 0
    given = FillInput(torch.where(hole[:, None], 0.5, picture), hole, seeds=torch.zeros(1, dtype=torch.int64))
    filled = torch.where(hole[:, None], inpainter.fill(given), picture)
    return (filled[0].permute(1, 2, 0) * 255).clamp(0, 255).to(torch.uint8).numpy()


def outputs(fixture: Fixture) -> Iterator[tuple[str, np.ndarray]]:
    """Every output of a folder."""
    image, hole = scene(fixture)
    for name, described in fixture.spec["networks"].items():
        with torch.inference_mode():
            if "kind" in described["ctor"] and described["ctor"]["kind"] == "pix2pixhd_nlayer":
                options = {key: value for key, value in described["ctor"].items() if key != "kind"}
                network = fill(NLayerDiscriminator(**options), fixture.state(name), name, "LaMa's discriminator")
                logits, levels = network(image)
                yield f"{name}_out", logits.numpy()
                yield from ((f"{name}_feat{i}", level.numpy()) for i, level in enumerate(levels))
                continue
            network = generator_of(fixture, name)
            seen = torch.cat([image * (1 - hole), hole], 1)
            yield f"{name}_pred", network(seen).numpy()
            if {f"{name}_inpainted", f"{name}_inpainted__stats"} & {*fixture.expected}:
                painted = fused(network)(seen)  # the layers that run in a job
                yield f"{name}_inpainted", (hole * painted + (1 - hole) * image).numpy()
            if "img_u8" in fixture.expected:
                yield f"pipe_{name}_u8", predicted_levels(network, fixture.expected["img_u8"], fixture.expected["mask_u8"])
