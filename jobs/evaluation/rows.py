"""The manifests of an evaluation as one table: a row per method and picture, with everything measured or derived.

`metrics.parquet` is that table; it holds no features and no embeddings, they stay in the manifests.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jobs.evaluation.catalogue import PER_IMAGE, TRUTH
from jobs.evaluation.fits import try_fit_errors
from jobs.evaluation.told import Told, read_told
from jobs.storage import Storage
from operators.metrics.landmarks import landmark_nme

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
    array) is empty when it was read from `metrics.parquet`. `notes` say what could not be measured.
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
    notes: tuple[str, ...] = ()

    @property
    def subjects(self) -> list[str] | None:
        """Whom each picture shows: a picture of nobody known is somebody of its own; None when all are, or show one person."""
        names = [str(name) for name in self.facts["subject"]]
        if len({name for name in names if name}) < 2:
            return None
        return [name or f"\0{key}" for name, key in zip(names, self.keys, strict=True)]


def read_evaluated(storage: Storage, runs: Mapping[str, Storage] | None = None) -> Evaluated:
    """Join the manifests of an evaluation's output; `runs` are the outputs of the runs among its methods, for their 3D faces.

    Errors: `RowsError` when there are no rows, a method has two rows of one picture, or methods differ in a picture's truth
    or hole; `StorageError`.
    """
    return join([_read(storage.read(item.key)) for item in _manifests(storage)], runs)


def join(manifests: Sequence[pa.Table], runs: Mapping[str, Storage] | None = None) -> Evaluated:
    """Manifest tables -> one table, with what is derived from pairs of rows (identity, landmarks) and from runs (mesh, pose).

    Errors: `RowsError`; `StorageError` when a run cannot be read.
    """
    rows, heavy = _plain_rows(manifests)
    if not rows:
        raise RowsError("the evaluation has no rows: nothing was measured")
    _name_apart(rows)
    _derive(rows, heavy)
    notes = [note for method, run in (runs or {}).items() if (note := _derive_fits(method, run, rows, heavy))]
    rows.sort(key=lambda row: (row["method"], row["key"]))
    table = pa.Table.from_pylist([{name: row.get(name) for name in SCHEMA.names} for row in rows], schema=SCHEMA)
    features: dict[str, tuple[list[str], np.ndarray]] = {}
    for method in sorted({row["method"] for row in rows}):
        have = [row for row in rows if row["method"] == method and heavy[row["at"]].get("inception_features") is not None]
        if have:
            found = np.stack([heavy[row["at"]]["inception_features"] for row in have])
            features[method] = ([row["key"] for row in have], found)
    return from_table(table, features, notes)


def from_table(
    table: pa.Table, features: Mapping[str, tuple[list[str], np.ndarray]] | None = None, notes: Sequence[str] = ()
) -> Evaluated:
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
    return Evaluated(methods, keys, status, values, about, facts, results, table, features or {}, tuple(notes))


def rows_bytes(table: pa.Table) -> bytes:
    """`metrics.parquet`: the same table gives the same bytes."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def _manifests(storage: Storage) -> list[Any]:
    return sorted((item for item in storage.list("manifest/") if item.key.endswith(".parquet")), key=lambda item: item.key)


_SIZE = ("width_px", "height_px")


def _read(data: bytes) -> pa.Table:
    """The columns that are used: a manifest's faces are most of it."""
    file = pq.ParquetFile(pa.BufferReader(data))
    wanted = {*SCHEMA.names, *_HEAVY, *_SIZE, "meta_json", "artifacts"}
    return file.read(columns=[name for name in file.schema_arrow.names if name in wanted])


def _plain_rows(manifests: Sequence[pa.Table]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of `SCHEMA`, each with `at`, its place in the second list, which holds arrays and the true face."""
    rows: list[dict[str, Any]] = []
    heavy: list[dict[str, Any]] = []
    told: dict[str, Told] = {}  # every method has the same samples
    for table in manifests:
        names = set(table.schema.names)
        if "method" not in names:
            raise RowsError("the manifest has no column `method`: this is no output of evaluate")
        light = table.select([name for name in table.schema.names if name in SCHEMA.names])
        found = {name: _arrays(table[name]) for name in _HEAVY if name in names}
        texts = table["meta_json"].to_pylist() if "meta_json" in names else [""] * len(table)
        files = table["artifacts"].to_pylist() if "artifacts" in names else [None] * len(table)
        sizes = _sizes(table)
        for i, row in enumerate(light.to_pylist()):
            text = texts[i] or ""
            if text not in told:
                told[text] = read_told(text)
            known = told[text].facts | _files(files[i] or ())
            row |= {name: value for name, value in known.items() if row.get(name) in (None, "")}
            row["at"] = len(heavy)
            heavy.append({name: values[i] for name, values in found.items()} | {"face": told[text].face, "size": sizes[i]})
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


def _files(artifacts: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    out: dict[str, str] = {}
    for item in sorted(artifacts, key=lambda item: item["name"]):
        for name in PICTURES:
            if item["name"].partition(".")[0].removeprefix("thumb_") == name:
                out.setdefault(f"{name}_file", item["path"])
                out.setdefault(f"{name}_sha256", item["sha256"])
    return {name: text for name, text in out.items() if name in SCHEMA.names}


def _derive(rows: list[dict[str, Any]], heavy: list[dict[str, Any]]) -> None:
    """Identity similarity and landmark errors against the truth's row of that key."""
    truths = {row["key"]: heavy[row["at"]] for row in rows if row["method"] == TRUTH}
    for row in rows:
        mine = heavy[row["at"]]
        truth = truths.get(row["key"], {})
        ours, theirs = mine.get("identity_embedding"), truth.get("identity_embedding")
        if ours is not None and theirs is not None and len(ours) == len(theirs):
            row["identity_similarity"] = _cosine(ours, theirs)
        points, true = mine.get("result_landmarks68_px"), truth.get("result_landmarks68_px")
        if points is not None and true is not None:
            scale = np.divide(truth["size"], mine["size"])  # a result may be kept at another size than its truth
            row |= _landmark_errors(points.reshape(68, 2) * scale, true.reshape(68, 2), truth.get("landmarks68_in_hole"))


def _sizes(table: pa.Table) -> np.ndarray:
    """Width and height of each row's picture; 1 where it is not known."""
    if not set(_SIZE) <= set(table.schema.names):
        return np.ones((len(table), 2))
    sides = [table[name].to_pylist() for name in _SIZE]
    return np.array([[side or 1 for side in row] for row in zip(*sides, strict=True)], np.float64).reshape(-1, 2)


def _derive_fits(method: str, run: Storage, rows: list[dict[str, Any]], heavy: list[dict[str, Any]]) -> str:
    """Mesh and pose errors of one run's faces; returns what to say when its meshes cannot be made."""
    mine = {row["key"]: row for row in rows if row["method"] == method and heavy[row["at"]]["face"] is not None}
    names = {key: ((row.get("image_id") or key).removeprefix(f"{method}/"), key) for key, row in mine.items()}
    found, note = try_fit_errors(run, {key: heavy[row["at"]]["face"] for key, row in mine.items()}, names)
    for key, errors in found.items():
        mine[key] |= errors
    return f"{method}: no mesh errors: {note}" if note else ""


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
