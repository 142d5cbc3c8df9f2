"""EdgeConnect: four networks on formula inputs, and the path of its test.py on a stored picture."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from operators.checkpoints.system import Official
from operators.edges import canny_skimage, grey
from operators.networks.edgeconnect import Discriminator, EdgeConnect, build, discriminator, generator_weights
from tests.conformance.fixture import Fixture
from tests.conformance.formula import binary, rect_mask, sym, unit

INPUTS = ("img_u8", "mask_u8")
_MAKERS = {"unit": lambda name, shape, _: unit(name, shape), "sym": lambda name, shape, _: sym(name, shape), "binary": binary}


def network(fixture: Fixture) -> EdgeConnect:
    """Both generators of a spec, by the way that official files go."""
    weights, settings = {}, {}
    for name in fixture.spec["networks"]:
        if name.endswith("_generator"):
            role, shape, plain = generator_weights(fixture.state(name), name)
            weights |= {f"{role}.{key}": value for key, value in plain.items()}
            settings[role] = shape
    return build(Official(weights, settings))


def judge(fixture: Fixture, name: str) -> Discriminator:
    """One discriminator of a spec; its constructor says whether it ends in a sigmoid."""
    described = fixture.spec["networks"][name]
    return discriminator(fixture.state(name), name, not re.search(r"use_sigmoid\s*=\s*False", described.get("ctor", "")))


def given(fixture: Fixture, name: str) -> Tensor:
    """One formula input: `["unit", its name, shape]` or `["binary p=0.08", its name, shape]`."""
    kind, seed, shape = fixture.spec["inputs"][name]
    chance = re.search(r"p\s*=\s*([\d.]+)", kind)
    return _MAKERS[kind.split()[0]](seed, shape, float(chance[1]) if chance else 0.5)


def feature_maps(name: str, verdict: Tensor, maps: list[Tensor]) -> Iterator[tuple[str, np.ndarray]]:
    """A discriminator's outputs by the names that the fixture gives them."""
    yield f"{name}_out", verdict.numpy()
    for i, features in enumerate(maps):
        yield f"{name}_feat{i}", features.numpy()


@torch.inference_mode()
def outputs(fixture: Fixture) -> Iterator[tuple[str, np.ndarray]]:
    """Every official output's name and ours; names that a fixture has not are left out."""
    for name, array in computed(fixture):
        if name in fixture.expected or f"{name}__stats" in fixture.expected:
            yield name, array


def computed(fixture: Fixture) -> Iterator[tuple[str, np.ndarray]]:
    """All that can be computed for a spec."""
    both, spec = network(fixture), fixture.spec
    inputs = {name: given(fixture, name) for name, value in spec["inputs"].items() if isinstance(value, list) and len(value) == 3}
    shape = inputs["gray"].shape
    hole = rect_mask(tuple(shape), spec["inputs"]["mask_rect"])
    if both.edge is not None:
        yield "edge_out", both.edges(inputs["gray"], inputs["edge"], hole).numpy()
    if both.inpaint is not None:
        yield "inpaint_out", both.picture(inputs["rgb"], inputs["edge"], hole).numpy()
    seen = {"edge_disc": torch.cat((inputs["gray"], inputs["edge"]), 1), "inpaint_disc": inputs["rgb"]}
    for name, x in seen.items():
        described = f"{name}riminator"
        if described in spec["networks"]:
            yield from feature_maps(name, *judge(fixture, described)(x))
    if "img_u8" in fixture.expected:
        said = re.search(r"sigma\s*=?\s*([\d.]+\d|\d)", str(spec.get("outputs", "")))
        sigma = float(said[1]) if said else 2.0
        yield from pipeline(both, sigma, fixture.expected["img_u8"], fixture.expected["mask_u8"])


def pipeline(both: EdgeConnect, sigma: float, picture: np.ndarray, mask: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """test.py on one picture without resizing: its Canny map, and what `--model` 1 to 4 save."""
    image = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
    hole = torch.from_numpy(mask > 0)[None]
    edges = canny_skimage(image, sigma, ~hole)
    yield "pipe_gray", grey(image)[0, 0].numpy()
    yield "pipe_canny", edges[0].numpy().astype(np.uint8)
    known, m = edges[:, None].float(), hole[:, None].float()
    cases = {
        "model1": ("edge", False),
        "model2": ("inpaint", False),
        "model3": ("edge_inpaint", False),
        "model4": ("joint", False),
        "model3_merged_edges": ("edge_inpaint", True),
    }
    for name, (mode, merged) in cases.items():
        made = both(image, known, m, mode, merged)
        whole = made * m + (known if mode == "edge" else image) * (1 - m)
        yield f"pipe_{name}_float", whole.numpy()
        yield f"pipe_{name}_u8", (whole * 255).to(torch.int32).to(torch.uint8)[0].permute(1, 2, 0).numpy()
