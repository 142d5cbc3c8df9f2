"""LaMa's refinement: every scale of one picture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

import numpy as np
import torch

from operators.checkpoints.system import Official
from operators.inpaint.lama_refinement import Refinement, scales
from operators.networks.lama import BIG_LAMA, SYSTEM, empty, generator_weights
from operators.networks.lama_config import settings_of
from operators.networks.lama_fused import fused
from tests.conformance.fixture import Fixture
from tests.conformance.formula import keys_of, rect_mask, state_of

INPUTS = ("img_u8", "mask_u8")
LIMITS = {"*": {"limit": 1e-3}}
"""Adam's steps are of the sign of a gradient, whatever its size: noise of float32 grows (WEIGHTS.md: suggested 1e-3)."""


def outputs(fixture: Fixture) -> Iterator[tuple[str, np.ndarray]]:
    """Every output of a folder."""
    ((name, described),) = fixture.spec["networks"].items()
    settings = settings_of(described["ctor"], name) if "ctor" in described else BIG_LAMA
    keys = keys_of(described)
    if not keys:  # such a spec says big-lama and leaves its keys to the other folder
        with torch.device("meta"):
            network = empty(settings)
        keys = [(key, tuple(value.shape), str(value.dtype)) for key, value in network.state_dict().items()]
    weights = generator_weights({f"generator.{key}": value for key, value in state_of(keys, described["weights"]).items()})
    network = SYSTEM.build(Official(weights, {"generator": settings.as_json()}))
    given = fixture.spec["inputs"]
    image = torch.from_numpy(fixture.expected["img_u8"]).permute(2, 0, 1)[None].float() / 255
    if "mask_u8" in fixture.expected:
        hole = torch.from_numpy(fixture.expected["mask_u8"] > 0)[None, None].float()
    else:
        hole = rect_mask((1, 1, *image.shape[2:]), given["mask_rect"])
    options = Refinement(**{field.name: given[field.name] for field in fields(Refinement) if field.name in given})
    for i, (filled, mask) in enumerate(scales(fused(network), image, hole, options)):  # type: ignore[arg-type]
        yield f"scale{i}", filled.numpy()
        yield f"scale{i}_mask_sum", np.array([float(mask.sum())])
