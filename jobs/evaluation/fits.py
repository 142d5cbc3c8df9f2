"""How far a run's 3D faces lie from those known without the mask: mesh and pose, per picture."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from jobs.evaluation.told import FaceFit
from jobs.storage import Storage
from operators.metrics.geometry import rotation_error_deg, vertex_errors
from operators.morphable.bases import load_basis
from operators.morphable.basis import BasisError
from operators.morphable.camera import rotation_from_deg
from operators.morphable.model import MorphableModel

_AT_ONCE = 64
_OUTER_EYES = (36, 45)


@dataclass(frozen=True)
class RunFits:
    """The fitted faces of a run by picture, under SHARD/KEY and under KEY; `basis` names their face base."""

    basis: str
    faces: Mapping[str, Sequence[FaceFit]]


def read_fits(storage: Storage) -> RunFits:
    """What the manifests of a reconstruct run say of its faces; no faces when it fitted none. Errors: `StorageError`."""
    basis = ""
    if storage.exists("run.json"):
        basis = str(json.loads(storage.read("run.json")).get("config", {}).get("fit", {}).get("basis", ""))
    faces: dict[str, list[FaceFit]] = {}
    for item in sorted(storage.list("manifest/"), key=lambda item: item.key):
        if not item.key.endswith(".parquet"):
            continue
        file = pq.ParquetFile(pa.BufferReader(storage.read(item.key)))
        if not {"faces", "key", "image_id"} <= set(file.schema_arrow.names):
            continue
        for row in _slim(file.read(columns=["key", "image_id", "faces"])).to_pylist():
            found = [FaceFit.of(face) for face in row["faces"] or ()]
            faces.setdefault(row["key"], found)
            faces[row["image_id"]] = found
    return RunFits(basis, faces)


def fit_errors(fits: RunFits, truths: Mapping[str, FaceFit], names: Mapping[str, Sequence[str]]) -> dict[str, dict[str, float]]:
    """Picture -> `vertex_error` and `rotation_error_deg` where both sides know enough.

    `names` are the names under which a run may know a picture. Of several faces the one nearest to the true landmarks counts.
    Coefficients are compared as meshes of the run's base after the best similarity (`vertex_errors`), poses in the picture's
    frame; a truth that names another base, or has other numbers of coefficients, has no mesh to compare.
    Errors: FileNotFoundError, BasisError when the run's base is not on this machine.
    """
    pairs = []
    for key, truth in truths.items():
        found = _nearest(next((fits.faces[name] for name in names[key] if name in fits.faces), ()), truth)
        if found is not None:
            pairs.append((key, found, truth))
    out: dict[str, dict[str, float]] = {key: {} for key, _, _ in pairs}
    for key, found, truth in pairs:
        ours, theirs = _rotation(found), _rotation(truth)
        if ours is not None and theirs is not None and (found.crop_from_image is None) == (truth.crop_from_image is None):
            out[key]["rotation_error_deg"] = float(rotation_error_deg(ours[None], theirs[None])[0])
    meshes = [(key, found, truth) for key, found, truth in pairs if _comparable(found, truth, fits.basis)]
    if meshes:
        model = MorphableModel(load_basis(fits.basis))
        count = model.shape.modes.shape[-1]
        rows = [(key, _coefficients(found), _coefficients(truth)) for key, found, truth in meshes]
        rows = [row for row in rows if row[1].size == count]
        for start in range(0, len(rows), _AT_ONCE):
            part = rows[start : start + _AT_ONCE]
            ours, theirs = (_meshes(model, [row[side] for row in part]) for side in (1, 2))
            left, right = (int(model.basis.landmarks68[k, 0]) for k in _OUTER_EYES)
            for (key, *_), error in zip(part, vertex_errors(ours, theirs, (left, right)).mean, strict=True):
                out[key]["vertex_error"] = float(error)
    return {key: errors for key, errors in out.items() if errors}


def try_fit_errors(
    storage: Storage, truths: Mapping[str, FaceFit], names: Mapping[str, Sequence[str]]
) -> tuple[dict[str, dict[str, float]], str]:  # fmt: skip
    """`fit_errors` of a run's output, and why there are none when its face base cannot be read."""
    try:
        return fit_errors(read_fits(storage), truths, names), ""
    except (FileNotFoundError, BasisError) as error:
        return {}, str(error)


def _slim(table: pa.Table) -> pa.Table:
    """Key, name and of the faces only what `FaceFit` takes: dense landmarks are most of a manifest."""
    faces: Any = pa.concat_arrays(table["faces"].chunks)
    kept = [name for name in FaceFit.__dataclass_fields__ if faces.type.value_type.get_field_index(name) >= 0]
    struct = pa.StructArray.from_arrays([faces.values.field(name) for name in kept], names=kept)
    slim = pa.ListArray.from_arrays(faces.offsets, struct)
    return pa.table({"key": table["key"], "image_id": table["image_id"], "faces": slim})


def _nearest(faces: Sequence[FaceFit], truth: FaceFit) -> FaceFit | None:
    if len(faces) < 2 or truth.landmarks68_px is None:
        return faces[0] if faces else None
    far = [
        np.linalg.norm(face.landmarks68_px - truth.landmarks68_px, axis=1).mean() if face.landmarks68_px is not None else np.inf
        for face in faces
    ]
    return faces[int(np.argmin(far))]


def _comparable(found: FaceFit, truth: FaceFit, basis: str) -> bool:
    if found.identity is None or found.expression is None or truth.identity is None or truth.expression is None:
        return False
    same = found.identity.shape == truth.identity.shape and found.expression.shape == truth.expression.shape
    return same and bool(basis) and truth.basis in ("", basis)


def _meshes(model: MorphableModel, coefficients: Sequence[np.ndarray]) -> np.ndarray:
    return model.shape.at(torch.tensor(np.stack(coefficients), dtype=torch.float32)).numpy()


def _coefficients(face: FaceFit) -> np.ndarray:
    assert face.identity is not None and face.expression is not None
    return np.concatenate((face.identity, face.expression))


def _rotation(face: FaceFit) -> np.ndarray | None:
    """The rotation in the picture's frame: the crop's own turn (clockwise on the screen) taken back."""
    if face.rotation_deg is None:
        return None
    angles = face.rotation_deg.copy()
    if face.crop_from_image is not None:
        angles[2] += np.rad2deg(np.arctan2(face.crop_from_image[1, 0], face.crop_from_image[0, 0]))
    return rotation_from_deg(torch.tensor(angles[None], dtype=torch.float64)).numpy()[0]
