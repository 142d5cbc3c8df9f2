"""3DFaceFill's four networks on formula inputs, built the way that official files are."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from operators.checkpoints.system import Official
from operators.networks.facefill3d import PARTS, FaceFill, build
from operators.networks.facefill3d_drawn import drawn_definition
from tests.conformance.fixture import Fixture
from tests.conformance.formula import binary, latent, sym, unit

INPUTS = ("img", "uv", "mask")
_KINDS = {"sym": sym, "unit": unit, "latent": latent}


def network(fixture: Fixture) -> FaceFill:
    """All networks of a spec on a small face that has as many modes as its encoder."""
    weights = {
        f"{part}.{key}": value for part in PARTS if part in fixture.spec["networks"] for key, value in fixture.state(part).items()
    }
    modes = len(weights["modelE.k7_shape.weight"])
    weights |= {f"data.{name}": values for name, values in drawn_definition(9, 11, (modes - 1, 1)).items()}
    return build(Official(weights))


def given(fixture: Fixture, name: str) -> Tensor:
    """One input: stored, or a formula."""
    if name in fixture.expected:
        return torch.from_numpy(fixture.expected[name])
    kind, seed, shape, *more = fixture.spec["inputs"][name]
    return binary(seed, shape, *more) if kind == "binary" else _KINDS[kind](seed, shape)


def visible(fixture: Fixture, uv: Tensor) -> Tensor:
    """The visibility map: 0 in the rectangle (or rectangles) of the spec, or stored, or a formula."""
    inputs = fixture.spec["inputs"]
    if "mask" in fixture.expected or not isinstance(inputs.get("mask", ""), str):
        return given(fixture, "mask")
    mask = torch.ones_like(uv[:, :1])
    rects = inputs["mask_rect"]
    for row0, row1, column0, column1 in [rects] if np.ndim(rects) == 1 else rects:
        mask[..., row0:row1, column0:column1] = 0
    return mask


@torch.inference_mode()
def outputs(fixture: Fixture) -> Iterator[tuple[str, np.ndarray]]:
    """Every official output's name and ours."""
    faces = network(fixture)
    image = given(fixture, "img")
    encoding = faces.encoder(image)
    for name, value in zip(("shape", "tex", "conf", "scale", "pose", "il"), encoding, strict=True):
        yield f"enc_{name}", value.numpy()
    uv = given(fixture, "uv")
    mask = visible(fixture, uv)
    albedo, confidence = faces.inpainter(uv * mask, mask)
    yield "albedo_out", albedo.numpy()
    yield "albedo_conf", confidence.numpy()
    if faces.parser is not None:
        yield "seg_out", faces.parser(image).numpy()
    if faces.discriminator is not None:
        for i, score in enumerate(faces.discriminator(image)):
            yield f"disc_{i}", score.numpy()
