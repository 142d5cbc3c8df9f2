"""MAT's official outputs, computed by this project's networks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from operators.networks.mat import Drop, Generator
from operators.networks.mat_checkpoint import PUBLISHED
from operators.checkpoints.system import fill
from tests.conformance.fixture import Fixture
from tests.conformance.formula import binary, latent, rect_mask, sym

INPUTS: tuple[str, ...] = ()


@torch.inference_mode()
def outputs(fixture: Fixture) -> Iterator[tuple[str, np.ndarray]]:
    for name, case in fixture.spec["cases"].items():
        res = case["img"][2][-1]
        g = fill(Generator(PUBLISHED[res]), fixture.state(f"generator_{res}"), "x", "mat")
        _, n, s = case["img"]
        image = sym(n, s)
        known = rect_mask((1, 1, *s[2:]), case["hole_rect"], 0.0, 1.0)
        z = latent(case["z"][1], case["z"][2])
        drop = Drop()
        if case["dropout"] == "formula":
            names = list(case["dropout_maps"].values())
            drop = Drop(binary(names[0], (1, 256, 180), 0.5), binary(names[1], (1, 512, 16, 16), 0.5))
        out, stg1 = g(image, known, z, case["truncation_psi"], drop)
        yield name, out.numpy()
        yield f"{name}_stg1", stg1.numpy()
        yield f"{name}_w", g.mapping(z, case["truncation_psi"]).numpy()
