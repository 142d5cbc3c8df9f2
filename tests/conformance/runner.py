"""Which system a fixture folder is of, and all its outputs compared."""

from __future__ import annotations

import importlib
from fnmatch import fnmatch
from pathlib import Path

import numpy as np

from tests.conformance.fixture import Comparison, Fixture

# A word of the spec's `source` (and, where one repository has two kinds of folders, of its inputs) -> tests.conformance.systems.
SOURCES = (
    ("refinement.py", "lama_refine"),
    ("lama", "lama"),
    ("edge-connect", "edgeconnect"),
    ("/MAT@", "mat"),
    ("TFill", "tfill"),
    ("3dfacefill", "facefill3d"),
    ("Deep3DFaceRecon", "deep3d"),
    ("FaceFusion", "inverse_rendering"),
    ("segment_anything", "sam"),
    ("MaskTheFace", "maskface"),
    ("pytorch-fid", "metrics"),
)


def folders_in(path: Path) -> list[Path]:
    """The fixture folders that a path means. Errors: FileNotFoundError."""
    found = [path] if (path / "spec.json").is_file() else sorted(item.parent for item in path.glob("*/spec.json"))
    if not found:
        raise FileNotFoundError(f"{path}: no spec.json in it, nor in the folders under it")
    return found


def system_name(fixture: Fixture) -> str:
    """The module of `tests.conformance.systems` that a folder is for. Errors: ValueError."""
    source = fixture.spec.get("source", "")
    for word, name in SOURCES:
        if word.lower() in source.lower():
            return name
    raise ValueError(f"{fixture.folder}: source {source!r} is of no system that this project has")


def check(folder: Path) -> list[Comparison]:
    """Every official output of a folder against ours. One that ours does not compute fails.

    A module of `tests.conformance.systems` has `outputs(fixture)` (pairs of name and array), `INPUTS` (names of expected.npz
    that are no outputs), where the general tolerance is not meant `LIMITS` (pattern of names -> arguments of
    Fixture.compare), and where outputs need files that may not be here `unavailable(fixture)` (reason, beginnings of names).
    """
    fixture = Fixture(folder)
    module = importlib.import_module(f"tests.conformance.systems.{system_name(fixture)}")
    limits = getattr(module, "LIMITS", {})
    found: list[Comparison] = []
    done = {*module.INPUTS}
    for name, ours in module.outputs(fixture):
        done |= {name, f"{name}__stats"}
        found += fixture.compare(
            name, np.asarray(ours), **next((how for pattern, how in limits.items() if fnmatch(name, pattern)), {})
        )
    reason, beginnings = module.unavailable(fixture) if hasattr(module, "unavailable") else ("", ())
    for name in fixture.expected:
        if name.startswith(beginnings or "\0"):
            found += [Comparison(name, fixture.expected[name].shape, 0.0, 0.0, 0.0, missing=reason)] if name not in done else []
        elif name not in done:
            found.append(
                Comparison(name, fixture.expected[name].shape, float("nan"), float("nan"), 0.0, "not computed by this project")
            )
    return found
