"""The manifests of an evaluation as one table: a row per method and picture, with everything measured or derived.

`metrics.parquet` is that table; it holds no features and no embeddings, they stay in the manifests.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from jobs.evaluation.catalogue import PER_IMAGE, TRUTH
from jobs.storage import Storage
from operators.metrics.geometry import rotation_error_deg
from operators.metrics.landmarks import landmark_nme
from operators.morphable.camera import rotation_from_deg

ROWS = "metrics.parquet"
SCHEMA_VERSION = "1"
ABSENT = "absent"
"""Status of a picture that a method has no row of."""
PICTURES = ("masked", "truth", "result")
"""Artifacts of a row, by the start of their names, that sheets show."""
_TEXTS = {
    "method": "what made the picture",
    "key": "name of the picture, the same for every method",
    "image_id": "shard/key of the manifest's row",
    "status": "of the manifest's row",
    "error_operator": "operator that recorded the error; empty when none",
    "error_type": "exception or reason class; empty when none",
    "error_message": "what was received and what to do; empty when none",
    "source": "where the picture was read from, for people",
    "subject": "who is shown; empty when the input does not say",
    "group": "group of the picture; empty when the input does not say",
    "mask_type": "what was put on the face; empty when unknown",
    "truth_sha256": "of the picture without the mask",
    "mask_sha256": "of the hole",
    **{f"{name}_file": f"the {name} picture below the output; empty when it was not kept" for name in PICTURES},
}
_NUMBERS = {
    "hole_pixels": "pixels inside the hole",
    "rim_pixels": "pixels in the 16 px around the hole",
    "coverage": "share of the face that the mask covers",
    "yaw_deg": "turn of the head, positive to the viewer's right",
    **{metric.name: metric.doc + (f", {metric.unit}" if metric.unit else "") for metric in PER_IMAGE},
}
SCHEMA = pa.schema(
    [pa.field(name, pa.string(), metadata={"doc": doc}) for name, doc in _TEXTS.items()]
    + [pa.field(name, pa.float64(), metadata={"doc": doc}) for name, doc in _NUMBERS.items()],
    metadata={"unmask.schema_version": SCHEMA_VERSION},
)
_OF_PICTURE = ("subject", "group", "mask_type", "truth_sha256", "mask_sha256", "masked_file", "truth_file")
_ABOUT = ("coverage", "yaw_deg", "hole_pixels", "rim_pixels")


class RowsError(ValueError):
    """The rows do not fit together: the message says which."""


@dataclass(frozen=True)
class Evaluated:
    """All methods on all pictures. Arrays are (methods, pictures); NaN and empty text where there is nothing.

    `methods` leaves the truth out. `about` and `facts` are of the pictures, not of the methods; `features` (method -> keys,
    array) is empty when it was read from `metrics.parquet`.
    """

    methods: tuple[str, ...]
    keys: tuple[str, ...]
    status: np.ndarray
    values: Mapping[str, np.ndarray]
    about: Mapping[str, np.ndarray]
    facts: Mapping[str, np.ndarray]
    results: np.ndarray
    table: pa.Table
    features: Mapping[str, tuple[list[str], np.ndarray]] = field(default_factory=dict)

    @property
    def subjects(self) -> list[str] | None:
        """Whom each picture shows: a picture of nobody known is somebody of its own; None when all are, or show one person."""
        names = [str(name) for name in self.facts["subject"]]
        if len({name for name in names if name}) < 2:
            return None
        return [name or f"\0{key}" for name, key in zip(names, self.keys, strict=True)]


def read_evaluated(storage: Storage) -> Evaluated:
    """Join the manifests of an evaluation's output.

    Errors: `RowsError` when there are no rows, a method has two rows of one picture, or methods differ in a picture's truth
    or hole; `StorageError`.
    """
    return join([pq.read_table(pa.BufferReader(storage.read(item.key))) for item in _manifests(storage)])


def join(manifests: Sequence[pa.Table]) -> Evaluated:
    """Manifest tables -> one table, with what is derived from pairs of rows (identity, landmarks, pose). Errors: `RowsError`."""
    rows, heavy = _plain_rows(manifests)
    if not rows:
        raise RowsError("the evaluation has no rows: nothing was measured")
    _name_apart(rows)
    _derive(rows, heavy)
    rows.sort(key=lambda row: (row["method"], row["key"]))
    table = pa.Table.from_pylist([{name: row.get(name) for name in SCHEMA.names} for row in rows], schema=SCHEMA)
    features: dict[str, tuple[list[str], np.ndarray]] = {}
    for method in sorted({row["method"] for row in rows}):
        have = [row for row in rows if row["method"] == method and heavy[row["at"]].get("inception_features") is not None]
        if have:
            found = np.stack([heavy[row["at"]]["inception_features"] for row in have])
            features[method] = ([row["key"] for row in have], found)
    return from_table(table, features)


def from_table(table: pa.Table, features: Mapping[str, tuple[list[str], np.ndarray]] | None = None) -> Evaluated:
    """`metrics.parquet` -> arrays. Errors: `RowsError`."""
    named, keyed = table["method"].to_pylist(), table["key"].to_pylist()
    methods = tuple(sorted(set(named) - {TRUTH}))
    keys = tuple(sorted(set(keyed)))
    row_of, column_of = ({name: i for i, name in enumerate(names)} for names in (methods, keys))
    status = np.full((len(methods), len(keys)), ABSENT, object)
    results = np.full((len(methods), len(keys)), "", object)
    values = {metric.name: np.full(status.shape, np.nan) for metric in PER_IMAGE}
    about = {name: np.full(len(keys), np.nan) for name in _ABOUT}
    facts = {name: np.full(len(keys), "", object) for name in _OF_PICTURE}
    seen: set[tuple[str, str]] = set()
    for row, method, key in zip(table.to_pylist(), named, keyed, strict=True):
        if (method, key) in seen:
            raise RowsError(f"{method} has two rows of {key!r}: names have to be unique within a method")
        seen.add((method, key))
        j = column_of[key]
        for name in _OF_PICTURE:
            text = row[name] or ""
            if text and facts[name][j] and name.endswith("sha256") and facts[name][j] != text:
                raise RowsError(f"{key!r}: methods were measured against different files ({name}); evaluate them in one run")
            facts[name][j] = facts[name][j] or text
        for name in _ABOUT:
            if np.isnan(about[name][j]) and row[name] is not None:
                about[name][j] = row[name]
        if method == TRUTH:
            continue
        i = row_of[method]
        status[i, j], results[i, j] = row["status"] or "", row["result_file"] or ""
        for name, array in values.items():
            if row[name] is not None:
                array[i, j] = row[name]
    return Evaluated(methods, keys, status, values, about, facts, results, table, features or {})


def rows_bytes(table: pa.Table) -> bytes:
    """`metrics.parquet`: the same table gives the same bytes."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def _manifests(storage: Storage) -> list[Any]:
    return sorted((item for item in storage.list("manifest/") if item.key.endswith(".parquet")), key=lambda item: item.key)


def _plain_rows(manifests: Sequence[pa.Table]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of `SCHEMA`, each with `at`, its place in the second list, which holds arrays and poses."""
    rows: list[dict[str, Any]] = []
    heavy: list[dict[str, Any]] = []
    for table in manifests:
        names = set(table.schema.names)
        if "method" not in names:
            raise RowsError("the manifest has no column `method`: this is no output of evaluate")
        light = table.select([name for name in table.schema.names if name in SCHEMA.names])
        found = {name: _arrays(table[name]) for name in _HEAVY if name in names}
        metas = table["meta_json"].to_pylist() if "meta_json" in names else [""] * len(table)
        files = table["artifacts"].to_pylist() if "artifacts" in names else [None] * len(table)
        poses = _first_faces(table["faces"], "rotation_deg") if "faces" in names else [None] * len(table)
        for i, row in enumerate(light.to_pylist()):
            meta = _meta(metas[i])
            told = _described(meta) | _files(files[i] or ())
            drawn = told.pop("rotation_deg", None)
            row |= {name: value for name, value in told.items() if row.get(name) in (None, "")}
            row["at"] = len(heavy)
            heavy.append({name: values[i] for name, values in found.items()} | {"drawn_deg": drawn, "found_deg": poses[i]})
            rows.append(row)
    return rows, heavy


def _name_apart(rows: list[dict[str, Any]]) -> None:
    """Where two shards have a picture of one name, all pictures are called by shard and name."""
    if len({(row["method"], row["key"]) for row in rows}) < len(rows):
        for row in rows:
            row["key"] = (row.get("image_id") or row["key"]).removeprefix(f"{row['method']}/")


_HEAVY = ("inception_features", "identity_embedding", "result_landmarks68_px", "landmarks68_in_hole")


def _arrays(column: pa.ChunkedArray) -> list[np.ndarray | None]:
    """Each row's numbers as a flat array; None where there are none or one is not finite."""
    out: list[np.ndarray | None] = []
    for chunk in column.chunks:
        if pa.types.is_null(chunk.type):
            out += [None] * len(chunk)
            continue
        flat: Any = chunk
        offsets = np.arange(len(chunk) + 1)
        while pa.types.is_list(flat.type) or pa.types.is_large_list(flat.type) or pa.types.is_fixed_size_list(flat.type):
            if pa.types.is_fixed_size_list(flat.type):
                flat = flat.cast(pa.list_(flat.type.value_type))
            offsets = (np.asarray(flat.offsets) - flat.offsets[0].as_py())[offsets]
            flat = flat.flatten()
        numbers = flat.to_numpy(zero_copy_only=False)
        for start, end in pairwise(offsets):
            part = numbers[start:end]
            out.append(part if len(part) and np.isfinite(part).all() else None)
    return out


def _first_faces(faces: pa.ChunkedArray, name: str) -> list[Any]:
    """One field of each row's first face; None where there is no face or the field is not finite."""
    out: list[Any] = []
    for chunk in faces.chunks:
        values = chunk.flatten().field(name) if chunk.type.value_type.get_field_index(name) >= 0 else None
        start = 0
        for count in (length or 0 for length in chunk.value_lengths().to_pylist()):
            value = values[start].as_py() if values is not None and count else None
            out.append(value if value is not None and np.isfinite(value).all() else None)
            start += count
    return out


def _meta(text: str | None) -> dict[str, Any]:
    try:
        value = json.loads(text or "{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _described(meta: dict[str, Any]) -> dict[str, Any]:
    """What the picture's own JSON says of it: at its top, or of its first face, or in the JSON that it was made from."""
    faces, before = meta.get("faces"), meta.get("meta")
    first = faces[0] if isinstance(faces, list) and faces and isinstance(faces[0], dict) else {}
    either = {**(before if isinstance(before, dict) else {}), "mask_type": first.get("type"), **first, **meta}
    out: dict[str, Any] = {name: str(either[name]) for name in ("group", "mask_type", "subject") if either.get(name)}
    for name, sources in {"coverage": ("coverage", "mask_coverage"), "yaw_deg": ("yaw_deg",)}.items():
        found = [either[source] for source in sources if isinstance(either.get(source), int | float)]
        if found:
            out[name] = float(found[0])
    pose = _numbers(either.get("rotation_deg"), 3)
    if pose is not None:
        out |= {"rotation_deg": pose, "yaw_deg": out.get("yaw_deg", float(pose[1]))}
    return out


def _numbers(values: Any, count: int) -> np.ndarray | None:
    """That many finite numbers; None for anything else."""
    try:
        found = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        return None
    return found if found.shape == (count,) and np.isfinite(found).all() else None


def _files(artifacts: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    out: dict[str, str] = {}
    for item in sorted(artifacts, key=lambda item: item["name"]):
        for name in PICTURES:
            if item["name"].partition(".")[0].removeprefix("thumb_") == name:
                out.setdefault(f"{name}_file", item["path"])
                out.setdefault(f"{name}_sha256", item["sha256"])
    return {name: text for name, text in out.items() if name in SCHEMA.names}


def _derive(rows: list[dict[str, Any]], heavy: list[dict[str, Any]]) -> None:
    """Identity similarity and landmark errors against the truth's row of that key; pose error against the picture's own JSON."""
    truths = {row["key"]: heavy[row["at"]] for row in rows if row["method"] == TRUTH}
    for row in rows:
        mine = heavy[row["at"]]
        truth = truths.get(row["key"], {})
        ours, theirs = mine.get("identity_embedding"), truth.get("identity_embedding")
        if ours is not None and theirs is not None and len(ours) == len(theirs):
            row["identity_similarity"] = _cosine(ours, theirs)
        points, true = mine.get("result_landmarks68_px"), truth.get("result_landmarks68_px")
        if points is not None and true is not None:
            row |= _landmark_errors(points.reshape(68, 2), true.reshape(68, 2), truth.get("landmarks68_in_hole"))
        drawn, found = mine["drawn_deg"], mine["found_deg"]
        if drawn is not None and found is not None:
            angles = torch.tensor([list(map(float, found)), drawn.tolist()], dtype=torch.float64)
            first, second = rotation_from_deg(angles).numpy()
            row["rotation_error_deg"] = float(rotation_error_deg(first[None], second[None])[0])


def _landmark_errors(points: np.ndarray, true: np.ndarray, in_hole: np.ndarray | None) -> dict[str, float]:
    points, true = points.astype(np.float64), true.astype(np.float64)
    errors = landmark_nme(points, true)
    found = {"nme_all": errors.all.value, "nme_upper": errors.upper.value}
    if in_hole is not None and in_hole.any():
        hidden = np.where(in_hole.astype(bool)[:, None], points, np.nan)  # points that are not finite count nowhere
        found["nme_hidden"] = landmark_nme(hidden, true).all.value
    return found


def _cosine(a: np.ndarray, b: np.ndarray) -> float | None:
    norms = float(np.linalg.norm(a.astype(np.float64)) * np.linalg.norm(b.astype(np.float64)))
    return float(a.astype(np.float64) @ b.astype(np.float64)) / norms if norms else None
