"""The inverse-rendering regressor against its authors' TensorFlow code: parameters, landmarks, and colours without highlights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from operators.checkpoints.system import Official
from operators.morphable.light import sh_basis
from operators.networks.deep3d import fold_norms
from operators.networks.inverse_rendering import SIDE, SYSTEM
from operators.regress.inverse_rendering import irradiance, placed
from tests.conformance import formula
from tests.conformance.fixture import Fixture

INPUTS: tuple[str, ...] = ()
_NAMES = {"Pose": "pose", "Shape": "shape", "Exp": "expression", "Color": "colour", "Illum": "illumination", "Tex": "texture"}
_VERTICES = 60


def outputs(fixture: Fixture) -> Iterator[tuple[str, Any]]:
    """Every output of the folder."""
    network: Any = fold_norms(SYSTEM.build(Official(fixture.state("regressor"))))
    pictures = formula.unit("inverse_rendering/img", (fixture.spec["inputs"]["batch"], 3, SIDE, SIDE))
    with torch.inference_mode():
        yield "normalised", network.normalised(pictures)
        parts = network(pictures)
    official = dict(parts)
    official["Pose"] = torch.cat((parts["Pose"][:, :3], parts["Pose"][:, 3:] * SIDE), 1)
    for name, own in _NAMES.items():
        yield own, official[name]
    points = _grown("shapePC", parts["Shape"]) + _grown("expPC", parts["Exp"]) + _one("shapeMU", 1.0) + _one("expMU", 0.1)
    marks = np.floor(formula.uniform("ir:kpt_ind", (68,)) * _VERTICES).astype(np.int64)
    yield "landmarks", placed(points[:, marks], parts["Pose"]) - 0.5
    albedo = (_grown("texPC", parts["Tex"], 1.0) + 128 + _one("texMU", 40.0)) / 255
    yield "albedo", albedo
    normals = torch.from_numpy(formula.centred("ir:normals", (len(pictures), _VERTICES, 3)))
    normals = torch.nn.functional.normalize(normals, dim=-1).float()
    plain = torch.cat((parts["Color"][:, :3], 0 * parts["Color"][:, 3:]), 1)
    yield "colour_matte", albedo * (sh_basis(normals) @ irradiance(parts["Illum"], plain, albedo.new_ones(3)))


def _grown(name: str, coefficients: Tensor, scale: float = 0.01) -> Tensor:
    columns = 79 if name == "expPC" else 199
    modes = scale * torch.from_numpy(formula.centred(f"ir:{name}", (3 * _VERTICES, columns)).astype(np.float32))
    return (coefficients @ modes[:, : coefficients.shape[1]].T).unflatten(1, (-1, 3))


def _one(name: str, scale: float) -> Tensor:
    return scale * torch.from_numpy(formula.centred(f"ir:{name}", (_VERTICES, 3)).astype(np.float32))
