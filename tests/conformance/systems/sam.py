"""Segment Anything: all prompts of a folder in batched predictions, with a checkpoint file of the official layout."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from segment_anything.modeling import Sam

from operators.checkpoints.system import Official
from operators.networks.sam import DECODER_HEADS, SYSTEM
from operators.segment.sam_predict import Embedded, Prediction, Prompt, SamBatch
from tests.conformance.fixture import Fixture
from tests.conformance.formula import uniform

INPUTS = ("img_u8", "prompt_boxes", "prompt_points", "prompt_labels")

_CASE = re.compile(r"(?P<parts>((box|pts|mask)_)+)(?P<prompt>\d+)_((multi|single)_)?(?P<what>iou|low|logits)")
_SPARSE = re.compile(r"sparse_(?P<prompt>\d+)")
_MASK = re.compile(r"float32\((?P<scale>[\d.]+)\*\(U\(\"(?P<name>[^\"]+)\",\((?P<shape>[\d, ]+)\)\)-(?P<middle>[\d.]+)\)\)")


def network_of(fixture: Fixture) -> Sam:
    """The spec's first network, by way of a file as the authors publish them."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sam.pth"
        torch.save(fixture.state(next(iter(fixture.spec["networks"]))), path)
        official = SYSTEM.read(SYSTEM.find(path))
    heads = fixture.spec.get("config", {}).get("dec_heads", DECODER_HEADS)  # no file says it
    return SYSTEM.build(Official(official.weights, {**official.settings, "decoder_heads": heads}))  # type: ignore[return-value]


def outputs(fixture: Fixture) -> Iterator[tuple[str, np.ndarray]]:
    """Embedding, prompt tokens, and IoUs, low-resolution and full-size logits of every case that the folder names."""
    predictor = SamBatch(network_of(fixture))
    embedded = predictor.embed([fixture.expected["img_u8"]])
    yield "embedding", embedded.features.numpy()
    cases: dict[str, list[tuple[str, str]]] = {}
    for name in dict.fromkeys(name.removesuffix("__stats") for name in fixture.expected):
        if sparse := _SPARSE.fullmatch(name):
            tokens = predictor.tokens_of(embedded, [prompt_of(fixture, "box_pts_", int(sparse["prompt"]))])
            with torch.inference_mode():
                yield name, predictor.sam.prompt_encoder(*tokens)[0].numpy()
        if case := _CASE.fullmatch(name):
            cases.setdefault(name.removesuffix(case["what"]), []).append((name, case["what"]))
    for multimask in (True, False):
        some = {case: wanted for case, wanted in cases.items() if is_multimask(fixture, case) == multimask}
        prompts = [prompt_of(fixture, *_of_case(case)) for case in some]
        yield from _predicted(predictor, embedded, prompts, list(some.values()), multimask)


def _predicted(
    predictor: SamBatch, embedded: Embedded, prompts: list[Prompt], wanted: list[list[tuple[str, str]]], multimask: bool
) -> Iterator[tuple[str, np.ndarray]]:
    found = predictor.decode(embedded, prompts, multimask)
    for names, one, full in zip(wanted, found, predictor.full_size(embedded, prompts, found), strict=True):
        for name, what in names:
            yield name, _values(one, full, what)


def _values(found: Prediction, full: torch.Tensor, what: str) -> np.ndarray:
    return {"iou": found.iou, "low": found.low_res, "logits": full}[what].numpy()


def _of_case(case: str) -> tuple[str, int]:
    match = _CASE.fullmatch(f"{case}iou")
    assert match is not None
    return match["parts"], int(match["prompt"])


def is_multimask(fixture: Fixture, case: str) -> bool:
    """How many masks the folder has of a case: three, or one."""
    named = re.search(r"_(multi|single)_$", case)
    return named[1] == "multi" if named else len(fixture.expected[f"{case}iou"]) > 1


def prompt_of(fixture: Fixture, parts: str, number: int) -> Prompt:
    """The parts that are named (`box_pts_mask_`) of one prompt of the folder."""
    points = "pts_" in parts
    return Prompt(
        points_px=fixture.expected["prompt_points"][number] if points else None,
        labels=fixture.expected["prompt_labels"][number] if points else None,
        box_xyxy_px=fixture.expected["prompt_boxes"][number] if "box_" in parts else None,
        mask_logits=mask_of(fixture) if "mask_" in parts else None,
    )


def mask_of(fixture: Fixture) -> np.ndarray:
    """The mask prompt, whose formula stands in the spec."""
    formula = _MASK.fullmatch(fixture.spec["inputs"]["mask_input"])
    assert formula is not None, fixture.spec["inputs"]["mask_input"]
    shape = tuple(int(side) for side in formula["shape"].split(","))
    values = float(formula["scale"]) * (uniform(formula["name"], shape) - float(formula["middle"]))
    return values.astype(np.float32).reshape(shape[-2:])
