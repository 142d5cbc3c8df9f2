"""A batch as an Arrow table and back, and the manifest of a run as one.

Between stages   `to_table` / `from_table`: every row column as a plain column, every face column as a list per row whose
                 values are the batch's own memory; a face's fixed shape and dtype stand in the field's metadata. No
                 pickle; decoded frames stay behind.
For people       `to_manifest`: one row per image with a list of faces, in the documented, versioned `manifest_schema`.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from operators.batch import Batch, blank
from operators.codec import DecodeLimits
from operators.columns import ARTIFACTS, BYTES, FACE_COLUMNS, RECONSTRUCT, ROW_COLUMNS, STRING, Column

SCHEMA_VERSION = "2"
_FACE_COUNT = "n_faces"
_OBJECTS = {STRING: pa.string(), BYTES: pa.large_binary(), ARTIFACTS: pa.map_(pa.string(), pa.large_binary())}
ARTIFACT_TYPE = pa.struct([("name", pa.string()), ("path", pa.string()), ("sha256", pa.string()), ("bytes", pa.int64())])


# between stages ---------------------------------------------------------------------------------------------------------
def to_table(batch: Batch) -> pa.Table:
    """Batch -> table of as many rows. Numbers are not copied."""
    fields: list[pa.Field] = [pa.field(_FACE_COUNT, pa.int32())]
    offsets = batch.face_offsets
    arrays: list[pa.Array] = [pa.array(np.diff(offsets).astype(np.int32))]
    for name, values in batch.rows.items():
        shape = np.shape(values)[1:]
        inner = _plain(ROW_COLUMNS[name], np.reshape(values, -1) if shape else values)
        arrays.append(_fixed(inner, math.prod(shape), len(values)) if shape else inner)
        fields.append(pa.field(name, arrays[-1].type, metadata={"shape": json.dumps(shape)} if shape else None))
    for name, values in batch.faces.items():
        column = FACE_COLUMNS[name]
        shape = values.shape[1:]
        inner = _plain(column, values.reshape(-1) if values.dtype != object else values)
        if shape:
            inner = _fixed(inner, math.prod(shape), len(values))
        arrays.append(pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), inner))
        fields.append(pa.field(name, arrays[-1].type, metadata={"shape": json.dumps(shape), "level": "face"}))
    limits = json.dumps(asdict(batch.limits))
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields, metadata={"unmask.limits": limits}))


def from_table(table: pa.Table) -> Batch:
    """Table made by `to_table`, or a slice or concatenation of such -> batch. Numeric arrays are read-only views.

    A face column that is null for a row (it came from a batch without it) is blank for the faces of that row.
    """
    counts = _one(table[_FACE_COUNT]).to_numpy(zero_copy_only=False)
    face_row = np.repeat(np.arange(len(counts)), counts)
    rows: dict[str, Any] = {}
    faces: dict[str, np.ndarray] = {}
    for field in table.schema:
        if field.name == _FACE_COUNT:
            continue
        array = _one(table[field.name])
        metadata = field.metadata or {}
        if metadata.get(b"level") != b"face":
            shape = tuple(json.loads(metadata.get(b"shape", b"[]")))
            values = _unplain(ROW_COLUMNS[field.name], array.flatten() if shape else array, to_list=True)
            rows[field.name] = values.reshape(-1, *shape) if shape else values
            continue
        column, shape = FACE_COLUMNS[field.name], tuple(json.loads(metadata[b"shape"]))
        inner = array.flatten()
        if shape:
            inner = inner.flatten()
        values = _unplain(column, inner, to_list=False)
        values = values.reshape(-1, *shape) if shape and math.prod(shape) else values
        if shape and not math.prod(shape):
            values = np.zeros((len(face_row), *shape), np.dtype(column.dtype))
        if array.null_count:
            known = np.asarray(array.is_valid())[face_row]
            full = blank(column, shape, len(face_row))
            full[known] = values
            values = full
        faces[field.name] = values
    batch = Batch(rows, faces, face_row)
    limits = (table.schema.metadata or {}).get(b"unmask.limits")
    if limits is not None:
        batch.limits = DecodeLimits(**json.loads(limits))
    return batch


def _one(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _plain(column: Column, values: Any) -> pa.Array:
    """Values of one column, flat, as an Arrow array. Booleans travel as bytes: Arrow's own are packed bits."""
    if column.dtype == ARTIFACTS:
        items = [None if value is None else list(value.items()) for value in values]
        return pa.array(items, type=_OBJECTS[ARTIFACTS])
    if column.dtype in _OBJECTS:
        return pa.array(list(values), type=_OBJECTS[column.dtype])
    array = np.ascontiguousarray(values)
    return pa.array(array.view(np.uint8) if array.dtype == bool else array)


def _unplain(column: Column, array: pa.Array, to_list: bool) -> Any:
    if column.dtype in _OBJECTS:
        items = array.to_pylist()
        if column.dtype == ARTIFACTS:
            items = [None if value is None else dict(value) for value in items]
        if to_list:
            return items
        objects = np.empty(len(items), dtype=object)
        objects[:] = items
        return objects
    values = array.to_numpy(zero_copy_only=True)
    return values.view(bool) if column.dtype == "bool" else values


def _fixed(values: pa.Array, size: int, count: int) -> pa.Array:
    if not size:  # Arrow cannot tell how many empty lists there are
        return pa.array([[]] * count, type=pa.list_(values.type))
    return pa.FixedSizeListArray.from_arrays(values, size)


# the manifest -------------------------------------------------------------------------------------------------------
def manifest_schema(extra: Sequence[pa.Field] = (), job: str = RECONSTRUCT) -> pa.Schema:
    """The manifest's fields in order, each with its meaning in the metadata.

    The row columns marked `manifest` that the job has, `faces` (a struct of the face columns marked so), `artifacts`,
    `config_fingerprint`, `versions`, then `extra`. Multi-dimensional values are nested lists, so the schema is the same for
    every configuration.
    A face value that was not computed is null or NaN. `unmask.schema_version` changes when a field changes or goes.
    """
    fields = [_manifest_field(column) for column in _listed(ROW_COLUMNS, job)]
    faces = pa.struct([_manifest_field(column) for column in _listed(FACE_COLUMNS, job)])
    fields += [
        _documented("faces", pa.list_(faces), "every face of the image, the most confident first"),
        _documented("artifacts", pa.list_(ARTIFACT_TYPE), "files written for the image: name, path below the output, content"),
        _documented("config_fingerprint", pa.string(), "of the resolved configuration of the run"),
        _documented("versions", pa.map_(pa.string(), pa.string()), "operator or package -> version"),
    ]
    return pa.schema([*fields, *extra], metadata={"unmask.schema_version": SCHEMA_VERSION})


def to_manifest(
    batch: Batch,
    *,
    artifacts: Sequence[Sequence[Mapping[str, Any]]] | None = None,
    config_fingerprint: str = "",
    versions: Mapping[str, str] | None = None,
    extra: Mapping[str, pa.Array] | None = None,
    job: str = RECONSTRUCT,
) -> pa.Table:
    """Batch -> manifest rows. `artifacts[i]` holds mappings with name, path, sha256 and bytes for row i.

    Errors: ValueError when `artifacts` or an extra column does not have one value per row.
    """
    extra = dict(extra or {})
    schema = manifest_schema([pa.field(name, array.type) for name, array in extra.items()], job)
    n = len(batch)
    artifacts = artifacts if artifacts is not None else [()] * n
    for name, values in [("artifacts", artifacts), *extra.items()]:
        if len(values) != n:
            raise ValueError(f"{name}: {len(values)} values for {n} images")
    written = [sorted((dict(item) for item in items), key=lambda item: item["name"]) for items in artifacts]
    pinned = sorted((versions or {}).items())
    columns: dict[str, Any] = {
        **{name: _manifest_values(ROW_COLUMNS[name], batch.rows.get(name), n) for name in ROW_COLUMNS},
        "faces": _manifest_faces(batch, job),
        "artifacts": pa.array(written, type=schema.field("artifacts").type),
        "config_fingerprint": pa.array([config_fingerprint] * n, pa.string()),
        "versions": pa.array([pinned] * n, type=schema.field("versions").type),
        **extra,
    }
    return pa.Table.from_arrays([columns[name] for name in schema.names], schema=schema)


def manifest_bytes(table: pa.Table) -> bytes:
    """A manifest as a Parquet file: the same table gives the same bytes."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", row_group_size=4096, write_statistics=True)
    return sink.getvalue()


def _listed(columns: Mapping[str, Column], job: str) -> list[Column]:
    return [column for column in columns.values() if column.manifest and column.job in ("", job)]


def _documented(name: str, kind: pa.DataType, doc: str) -> pa.Field:
    return pa.field(name, kind, metadata={"doc": doc})


def _manifest_field(column: Column) -> pa.Field:
    kind = _OBJECTS[column.dtype] if column.dtype in _OBJECTS else pa.from_numpy_dtype(np.dtype(column.dtype))
    for _ in column.shape:
        kind = pa.list_(kind)
    return _documented(column.name, kind, column.doc)


def _manifest_values(column: Column, values: Any, count: int) -> pa.Array:
    """`count` values as (nested) lists; null where the column was never written."""
    kind = _manifest_field(column).type
    if values is None:
        return pa.nulls(count, kind)
    if column.dtype in _OBJECTS:
        return _plain(column, values)
    array = np.ascontiguousarray(values)
    result = pa.array(array.reshape(-1))
    for axis in range(array.ndim - 1, 0, -1):
        outer, size = math.prod(array.shape[:axis]), array.shape[axis]
        result = pa.ListArray.from_arrays(pa.array((np.arange(outer + 1) * size).astype(np.int32)), result)
    return result


def _manifest_faces(batch: Batch, job: str) -> pa.Array:
    columns = _listed(FACE_COLUMNS, job)
    children = [_manifest_values(column, batch.faces.get(column.name), batch.n_faces) for column in columns]
    struct = pa.StructArray.from_arrays(children, fields=[_manifest_field(column) for column in columns])
    return pa.ListArray.from_arrays(pa.array(batch.face_offsets.astype(np.int32)), struct)
