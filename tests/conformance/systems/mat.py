"""MAT: both stages of the generator with given dropout maps, the mapping network, and the discriminator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from operators.checkpoints.system import Official
from operators.networks.mat import SYSTEM, Drop, Generator
from operators.networks.mat_checkpoint import without_constants
from operators.networks.mat_discriminator import discriminator
from tests.conformance import formula
from tests.conformance.fixture import Fixture

INPUTS = ("img_u8",)


@torch.inference_mode()
def outputs(fixture: Fixture) -> Iterator[tuple[str, np.ndarray]]:
    """Every official output, named as in expected.npz."""
    networks: dict[str, Generator] = {}
    for name, case in fixture.spec["cases"].items():
        of = _network_of(fixture, "generator", case)
        if of not in networks:
            networks = {of: generator(fixture, of)}
        image, known, z = inputs_of(case)
        psi = float(case.get("truncation_psi", 1))
        final, coarse = networks[of](image, known, z, psi, drop_of(case, networks[of]))
        yield name, final.numpy()
        yield f"{name}_stg1", coarse.numpy()
        yield f"{name}_w", networks[of].mapping(z, psi).numpy()
    networks.clear()
    for of in fixture.spec["networks"]:
        if of.startswith("discriminator"):
            side = of.removeprefix("discriminator").strip("_")
            image, known, _ = inputs_of(_case_of(fixture, side))
            final, coarse = discriminator(fixture.state(of), "fixture")(image, known, image.flip(-1))
            yield f"disc{side}", final.numpy()
            yield f"disc{side}_stg1", coarse.numpy()


def generator(fixture: Fixture, name: str) -> Generator:
    """A network of the fixture, built as from an official file."""
    network = SYSTEM.build(Official(without_constants(fixture.state(name), name)))
    assert isinstance(network, Generator)
    return network


def inputs_of(case: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
    """Picture, known pixels and latent code of a case."""
    image, z = (_drawn(*case[name]) for name in ("img", "z"))
    shape = (len(image), 1, *image.shape[2:])
    hole, known = float(case.get("hole_value", 0)), float(case.get("mask_known_value", 1))
    return image, formula.rect_mask(shape, case["hole_rect"], hole, known), z


def drop_of(case: dict[str, Any], network: Generator) -> Drop:
    """The dropout maps of a case: one half everywhere, or zeros and ones of a formula."""
    if case.get("dropout", "half") == "half":
        return Drop()
    n, _, h, w = case["img"][2]
    names = list(case["dropout_maps"].values())
    h, w, shape = 16 * h // network.shape.resolution, 16 * w // network.shape.resolution, network.shape
    tokens = formula.binary(names[0], (n, h * w, shape.dim), 0.5)
    return Drop(tokens, formula.binary(names[1], (n, shape.channels[-1], h, w), 0.5))


def _drawn(kind: str, name: str, shape: list[int]) -> Tensor:
    return {"sym": formula.sym, "unit": formula.unit, "latent": formula.latent}[kind](name, shape)


def _network_of(fixture: Fixture, kind: str, case: dict[str, Any]) -> str:
    """The network of the case's size; with one alone, that."""
    names = [name for name in fixture.spec["networks"] if name.startswith(kind)]
    fitting = [name for name in names if name.endswith(f"_{case['img'][2][-1]}")]
    return (fitting or names)[0]


def _case_of(fixture: Fixture, side: str) -> dict[str, Any]:
    cases = list(fixture.spec["cases"].values())
    return next((case for case in cases if str(case["img"][2][-1]) == side), cases[0])
