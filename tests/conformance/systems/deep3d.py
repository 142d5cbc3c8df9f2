"""Deep3D: coefficients, what they draw on a made-up face model, losses, and the alignment by five points."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from operators.checkpoints.system import Official
from operators.networks.deep3d import SIDE, SYSTEM, fold_norms
from operators.regress import alignment, losses
from operators.regress.deep3d import Deep3dModel, split
from tests.conformance import formula
from tests.conformance.fixture import Fixture

INPUTS = ("img_u8", "align_lm3d_5p", "align_lm5_in")
_ORDER = ("id", "exp", "tex", "ang", "gam", "tr")
_COUNTS = (80, 64, 80, 3, 27, 3)


def outputs(fixture: Fixture) -> Iterator[tuple[str, Any]]:
    """Every official output."""
    faces = len(fixture.expected["img_u8"])
    yield "coeff", _coefficients(fixture)
    vector = _vector(fixture, faces)
    model = Deep3dModel.of(_arrays(fixture))
    face = model(vector)
    yield "geo_vertex", face.vertices
    yield "geo_texture", face.texture
    yield "geo_color", face.colour
    yield "geo_landmark", face.landmarks
    yield "geo_rotation", face.rotation.mT
    yield "losses", _losses(fixture, model, vector)
    yield from _aligned(fixture)


def _coefficients(fixture: Fixture) -> Tensor:
    name = next(iter(fixture.spec["networks"]))
    network = fold_norms(SYSTEM.build(Official(fixture.state(name))))
    pictures = torch.from_numpy(fixture.expected["img_u8"]).permute(0, 3, 1, 2).float() / 255
    noise = re.search(r'unit\("([^"]+)"', fixture.spec["inputs"]["img"])
    if noise:
        pictures[0] = 0.5 * pictures[0] + 0.5 * formula.unit(noise[1], (3, SIDE, SIDE))
    with torch.inference_mode():
        return network(pictures)


def _vector(fixture: Fixture, faces: int) -> Tensor:
    described = fixture.spec["inputs"]["geometry"]
    parts = []
    for name, count in zip(_ORDER, _COUNTS, strict=True):
        scale = re.search(rf"([\d.]+)\*{name}\b", described)
        parts.append(formula.latent(f"{_prefix(fixture)}/{name}", (faces, count)) * (float(scale[1]) if scale else 1.0))
    return torch.cat(parts, 1)


def _prefix(fixture: Fixture) -> str:
    found = re.search(r"([\w\-/.]+)/id\b", fixture.spec["inputs"]["geometry"])
    return found[1] if found else "deep3d"


def _arrays(fixture: Fixture) -> dict[str, np.ndarray]:
    """The made-up face model, each array by its formula in the spec."""

    def evaluated(text: str) -> np.ndarray:
        found = re.search(r'([ZU])\("([^"]+)",\s*\(([\d,\s]+)\)\)', text)
        assert found is not None, text
        shape = tuple(int(part) for part in found[3].split(",") if part.strip())
        value = (formula.centred if found[1] == "Z" else formula.uniform)(found[2], shape)
        less = re.search(r"\)\s*<\s*([\d.]+)", text)
        if less:
            return (value < float(less[1])).astype(np.float32)
        times_after = re.search(r"\)\)\*([\d.]+)\)", text)
        if times_after:  # floor(U(...)*count)+1
            return np.floor(value * float(times_after[1])) + 1
        before = re.match(r"\s*(?:([\d.]+)\+)?(?:([\d.]+)\*)?[ZU]\(", text)
        assert before is not None, text
        return (float(before[1] or 0) + float(before[2] or 1) * value).astype(np.float32)

    names = ("tri", "point_buf", "keypoints", "meanshape", "idBase", "exBase", "meantex", "texBase", "skinmask")
    return {name: evaluated(fixture.spec["geometry"][name]) for name in names}


def _losses(fixture: Fixture, model: Deep3dModel, vector: Tensor) -> np.ndarray:
    text, parts, face = fixture.spec["outputs"]["losses"], split(vector), model(vector)
    faces, prefix = len(vector), _prefix(fixture)
    weights = {word: float(value) for word, value in re.findall(r"w_(id|exp|tex) ([\d.]+)", text)}
    noise = re.search(r'latent "([^"]+)"', text)
    side = re.search(r"\(B,3,(\d+),(\d+)\)", text)
    share = re.search(r"p=([\d.]*\d)", text)
    pictures = re.search(r'unit images "([^"]+)",\s*"([^"]+)"', text)
    mask = re.search(r'M binary p=[\d.]+ "([^"]+)"', text)
    h, w = (int(side[1]), int(side[2])) if side else (32, 32)
    a, b = (formula.unit(name, (faces, 3, h, w)) for name in (pictures.groups() if pictures else (f"{prefix}/A", f"{prefix}/B")))
    m = formula.binary(mask[1] if mask else f"{prefix}/M", (faces, 1, h, w), float(share[1]) if share else 0.6)
    truth = face.landmarks + formula.latent(noise[1] if noise else f"{prefix}/lmgt", face.landmarks.shape)
    coefficient = partial(
        losses.coefficient_loss, parts, weights.get("id", 1), weights.get("exp", 0.8), weights.get("tex", 0.017)
    )
    found = (
        coefficient(), losses.light_loss(parts), losses.landmark_loss(face.landmarks, truth), losses.photo_loss(a, b, m),
        losses.reflectance_loss(face.texture, model.skin),
    )  # fmt: skip
    return np.array([float(value) for value in found])


def unavailable(fixture: Fixture) -> tuple[str, tuple[str, ...]]:
    """Why the aligned picture cannot be compared, and the beginning of its outputs' names.

    That it is made in the official order of operations (resize, then cut) is a test of operators/regress/alignment.py.
    """
    if _photo(fixture, *_size(fixture)) is not None:
        return "", ()
    return "not compared: the folder names its input picture and does not hold it", ("align_img",)


def _size(fixture: Fixture) -> tuple[int, int]:
    found = re.search(r"formula image (\S+) (\d+)x(\d+)", fixture.spec["inputs"]["align"])
    assert found is not None, fixture.spec["inputs"]["align"]
    return int(found[2]), int(found[3])


def _photo(fixture: Fixture, height: int, width: int) -> np.ndarray | None:
    held = (value for value in fixture.expected.values() if value.dtype == np.uint8 and value.shape == (height, width, 3))
    return next(held, None)


def _aligned(fixture: Fixture) -> Iterator[tuple[str, Any]]:
    height, width = _size(fixture)
    reference, points = (fixture.expected[name].astype(np.float64) for name in ("align_lm3d_5p", "align_lm5_in"))
    up = np.stack((points[:, 0], height - 1 - points[:, 1]), 1)
    placed = alignment.place_by_five(up, width, height, reference)
    yield "align_trans_params", np.array([width, height, placed.scale, *placed.centre])
    yield "align_lm_out", placed.points(up)
    photo = _photo(fixture, height, width)
    if photo is None:
        return
    picture = alignment.align_by_five(photo, placed).picture
    for name in fixture.expected:
        if step := re.fullmatch(r"align_img_u8_step(\d+)", name):
            yield name, picture[:: int(step[1]), :: int(step[1])]
    values = picture.astype(np.float64)
    yield "align_img_stats", np.array([values.mean(), values.std(), np.linalg.norm(values), values.min(), values.max()])
