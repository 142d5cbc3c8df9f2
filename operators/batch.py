"""The one data type that flows: rows (images) and, flattened over them, their faces."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from operators.codec import DEFAULT_LIMITS, DecodeLimits, decode_rgb
from operators.columns import ARTIFACTS, BYTES, FACE_COLUMNS, ROW_COLUMNS, STRING, Column, face_column
from operators.types import FAILED, OK

_FRAME_CACHE_BYTES = 256 * 1024 * 1024


def blank(column: Column, shape: tuple[int, ...], count: int) -> np.ndarray:
    """`count` empty values of a column: NaN for floats, False, 0, empty strings or None."""
    if column.dtype in (STRING, BYTES, ARTIFACTS):
        values = np.empty((count,), dtype=object)
        values[:] = "" if column.dtype == STRING else None
        return values
    dtype = np.dtype(column.dtype)
    return np.full((count, *shape), np.nan if dtype.kind == "f" else 0, dtype=dtype)


def blank_row(name: str, shape: tuple[int, ...], count: int) -> Any:
    """`count` empty values of a row column: a list for strings and bytes, an array for numbers."""
    values = blank(ROW_COLUMNS[name], shape, count)
    return values.tolist() if values.dtype == object else values


class Batch:
    """Rows in order, and their faces flattened in row order.

    `rows[name]` holds one value per row (list for strings and bytes, array for numbers). `faces[name]` is an array whose
    leading dimension is `faces`; `face_row` (faces,) says which row each belongs to and never decreases.
    Operators add or replace whole columns; they never write into an array that is already in a batch.
    """

    def __init__(self, rows: dict[str, Any], faces: dict[str, np.ndarray] | None = None, face_row: np.ndarray | None = None):
        self.rows = rows
        self.faces = faces or {}
        self.face_row = np.zeros(0, np.int64) if face_row is None else np.asarray(face_row, np.int64)
        self.limits: DecodeLimits = DEFAULT_LIMITS
        self._frames: dict[int, np.ndarray] = {}
        for name, values in rows.items():
            if name not in ROW_COLUMNS:
                raise KeyError(f"unknown row column {name!r}: declare it in operators/columns.py")
            if len(values) != len(self):
                raise ValueError(f"column {name!r} has {len(values)} values, expected {len(self)}")
        for name, values in self.faces.items():
            face_column(name)
            if len(values) != self.n_faces:
                raise ValueError(f"face column {name!r} has {len(values)} values, expected {self.n_faces}")
        if self.n_faces and (np.any(np.diff(self.face_row) < 0) or self.face_row[-1] >= len(self)):
            raise ValueError("face_row must not decrease and must name existing rows")

    @classmethod
    def from_images(
        cls, images: Iterable[bytes], keys: Sequence[str] | None = None, shard: str = "memory", **columns: Any
    ) -> Batch:
        """A batch of encoded images, all other columns but those of one job blank. `columns` overrides any row column."""
        data = [bytes(image) for image in images]
        n = len(data)
        keys = list(keys) if keys is not None else [f"{i:06d}" for i in range(n)]
        rows: dict[str, Any] = {}
        for name, column in ROW_COLUMNS.items():
            if column.job:
                continue
            rows[name] = blank_row(name, (), n)
        rows.update(
            image_id=[f"{shard}/{key}" for key in keys],
            shard=[shard] * n,
            key=keys,
            row=np.arange(n, dtype=np.int32),
            image_bytes=data,
            image_sha256=[hashlib.sha256(image).hexdigest() for image in data],
            status=[OK] * n,
        )
        rows.update(columns)
        return cls(rows)

    def __len__(self) -> int:
        return len(self.rows["image_id"])

    @property
    def n_faces(self) -> int:
        return len(self.face_row)

    @property
    def face_offsets(self) -> np.ndarray:
        """(rows + 1,) start of each row's faces."""
        return np.searchsorted(self.face_row, np.arange(len(self) + 1)).astype(np.int64)

    def copy(self) -> Batch:
        """A copy whose columns can be replaced, and statuses changed, without touching this batch."""
        rows = {name: list(v) if isinstance(v, list) else v.copy() for name, v in self.rows.items()}
        faces = {name: v.copy() if v.dtype == object else v for name, v in self.faces.items()}
        other = Batch(rows, faces, self.face_row)
        other.limits, other._frames = self.limits, self._frames
        return other

    # status -------------------------------------------------------------------------------------------------------
    def live_rows(self) -> np.ndarray:
        """Indices of rows whose status is still ok."""
        return np.array([i for i, status in enumerate(self.rows["status"]) if status == OK], dtype=np.int64)

    def live_faces(self) -> np.ndarray:
        """Indices of faces that are ok and whose row is ok."""
        if not self.n_faces:
            return np.zeros(0, np.int64)
        row_ok = np.array([status == OK for status in self.rows["status"]])
        return np.flatnonzero(row_ok[self.face_row] & (self.faces["face_status"] == OK))

    def mark_row(self, i: int | np.integer, status: str, operator: str = "", kind: str = "", message: str = "") -> None:
        """Set a row's status with operator, reason class and message."""
        self.rows["status"][i] = status
        self.rows["error_operator"][i] = operator
        self.rows["error_type"][i] = kind
        self.rows["error_message"][i] = message

    def fail_row(self, i: int | np.integer, operator: str, error: BaseException) -> None:
        """Record an exception as the row's failure."""
        self.mark_row(i, FAILED, operator, type(error).__name__, str(error))

    def mark_face(self, j: int | np.integer, status: str, message: str) -> None:
        """Set one face's status and why; the row keeps its own."""
        self.faces["face_status"][j] = status
        self.faces["face_message"][j] = message

    # faces --------------------------------------------------------------------------------------------------------
    def set_faces(self, face_row: np.ndarray) -> None:
        """Start over with these faces: face_index, face_status and face_message are filled, all else is dropped."""
        self.face_row = np.asarray(face_row, np.int64)
        n = self.n_faces
        index = np.arange(n) - self.face_offsets[:-1][self.face_row] if n else np.zeros(0)
        status, message = np.empty(n, object), np.empty(n, object)
        status[:], message[:] = OK, ""
        self.faces = {"face_index": index.astype(np.int32), "face_status": status, "face_message": message}

    def put(self, name: str, values: Any, index: np.ndarray | None = None) -> None:
        """Write a face column; with `index`, only those faces, the others keep what they had or stay blank."""
        column = face_column(name)
        if column.dtype in (STRING, BYTES, ARTIFACTS):
            array = np.empty(len(values), dtype=object)
            array[:] = list(values)
        else:
            array = np.asarray(values).astype(column.dtype, copy=False)
            fits = array.ndim == 1 + len(column.shape) and all(
                isinstance(want, str) or want == got for want, got in zip(column.shape, array.shape[1:], strict=True)
            )
            if not fits:
                raise ValueError(f"{name}: expected faces {' '.join(map(str, column.shape))}, got shape {array.shape}")
        if index is None:
            if len(array) != self.n_faces:
                raise ValueError(f"{name}: expected {self.n_faces} faces, got {len(array)}")
            self.faces[name] = array
            return
        old = self.faces.get(name)
        fits = old is not None and old.shape[1:] == array.shape[1:]
        full = old.copy() if old is not None and fits else blank(column, array.shape[1:], self.n_faces)
        full[index] = array
        self.faces[name] = full

    def put_row(self, name: str, values: Any, index: np.ndarray | None = None) -> None:
        """Write a row column of numbers; with `index`, only those rows, the others stay as they were or blank.

        Errors: KeyError for a column that is not declared; ValueError when the count or the shape does not fit.
        """
        if name not in ROW_COLUMNS:
            raise KeyError(f"unknown row column {name!r}: declare it in operators/columns.py")
        column = ROW_COLUMNS[name]
        array = np.asarray(values).astype(column.dtype, copy=False)
        count = len(self) if index is None else len(index)
        if array.ndim != 1 + len(column.shape) or len(array) != count:
            raise ValueError(f"{name}: expected {count} rows {' '.join(map(str, column.shape))}, got shape {array.shape}")
        if index is not None:
            old = self.rows.get(name)
            full = blank_row(name, array.shape[1:], len(self)) if old is None else np.array(old)
            full[index] = array
            array = full
        self.rows[name] = array

    def replace_images(self, images: Sequence[bytes | None]) -> None:
        """Other encoded pictures in place of `image_bytes`; frames decoded from the old ones are forgotten."""
        self.rows["image_bytes"] = list(images)
        self._frames = {}

    # frames -------------------------------------------------------------------------------------------------------
    def frame(self, i: int | np.integer) -> np.ndarray:
        """Row i decoded within `limits`: RGB uint8 HWC, EXIF applied, read-only.

        Frames are kept while they fit the cache, and the latest one always; none crosses a stage.
        Errors: `operators.images.ImageError` when the bytes cannot be decoded.
        """
        i = int(i)
        if i not in self._frames:
            image = decode_rgb(self.rows["image_bytes"][i], self.limits)
            image.setflags(write=False)
            if sum(frame.nbytes for frame in self._frames.values()) + image.nbytes > _FRAME_CACHE_BYTES and self._frames:
                self._frames.popitem()
            self._frames[i] = image
        return self._frames[i]

    # structure ----------------------------------------------------------------------------------------------------
    def take(self, rows: Sequence[int] | np.ndarray) -> Batch:
        """These rows (strictly increasing) with their faces."""
        rows = np.asarray(rows, np.int64)
        where = np.full(len(self), -1, np.int64)
        where[rows] = np.arange(len(rows))
        kept = np.flatnonzero(where[self.face_row] >= 0) if self.n_faces else np.zeros(0, np.int64)
        row_columns = {n: [v[i] for i in rows] if isinstance(v, list) else v[rows] for n, v in self.rows.items()}
        batch = Batch(row_columns, {n: v[kept] for n, v in self.faces.items()}, where[self.face_row[kept]])
        batch.limits = self.limits
        batch._frames = {int(where[i]): frame for i, frame in self._frames.items() if where[i] >= 0}
        return batch

    @staticmethod
    def concat(batches: Sequence[Batch]) -> Batch:
        """Batches one after the other. A face column that only some of them have is blank for the others."""
        rows: dict[str, Any] = {}
        for name in dict.fromkeys(name for batch in batches for name in batch.rows):
            shape = next((np.shape(b.rows[name])[1:] for b in batches if name in b.rows), ())
            parts = [b.rows[name] if name in b.rows else blank_row(name, shape, len(b)) for b in batches]
            rows[name] = [v for part in parts for v in part] if isinstance(parts[0], list) else np.concatenate(parts)
        starts = np.cumsum([0, *(len(batch) for batch in batches)])
        face_row = np.concatenate([batch.face_row + start for batch, start in zip(batches, starts, strict=False)])
        faces: dict[str, np.ndarray] = {}
        for name in dict.fromkeys(name for batch in batches for name in batch.faces):
            like = next(batch.faces[name] for batch in batches if name in batch.faces)
            shape = next((b.faces[name].shape[1:] for b in batches if name in b.faces and b.n_faces), like.shape[1:])
            faces[name] = np.concatenate(
                [b.faces[name] if name in b.faces and b.n_faces else blank(FACE_COLUMNS[name], shape, b.n_faces) for b in batches]
            )
        joined = Batch(rows, faces, face_row)
        joined.limits = batches[0].limits
        return joined

    def drop(self, columns: Iterable[str]) -> None:
        """Forget columns that nothing later reads; row columns become blank, face columns go."""
        for name in columns:
            if name in self.faces:
                del self.faces[name]
            elif name in self.rows:
                self.rows[name] = blank_row(name, np.shape(self.rows[name])[1:], len(self))
