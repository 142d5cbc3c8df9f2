"""A list of images: who is shown on each, which group and which split it belongs to.

A CSV with a header. `file` names an image below the input, with or without its suffix; `subject`, `group` and `split` are
optional, other columns are ignored. Lists of this format keep training and test people apart.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass

from jobs.sidecars import IMAGE_SUFFIXES, stem, suffix
from jobs.storage import ObjectError, StorageConfig, StorageError, open_storage

Labels = dict[str, tuple[str, str]]


class ListError(StorageError):
    """The list cannot be used; the message says why."""


@dataclass(frozen=True)
class ListedImage:
    """One line of a list; `name` has no suffix."""

    name: str
    subject: str
    group: str
    split: str


def read_list(uri: str, storage: StorageConfig) -> list[ListedImage]:
    """The lines of a list on disk or S3. Errors: `ListError`, `StorageError`."""
    folder, _, name = uri.rpartition("/")
    try:
        text = open_storage(folder or ("/" if uri.startswith("/") else "."), storage).read(name).decode("utf-8-sig")
    except (UnicodeDecodeError, ObjectError) as error:
        raise ListError(f"{uri}: {error}") from None
    reader = csv.DictReader(io.StringIO(text))
    if "file" not in (reader.fieldnames or ()):
        raise ListError(f"{uri}: expected a CSV whose header names a column `file`, got {', '.join(reader.fieldnames or ())!r}")
    lines = []
    for line in reader:
        file = (line["file"] or "").strip()
        if file:
            name = stem(file) if suffix(file) in IMAGE_SUFFIXES else file
            lines.append(ListedImage(name, *((line.get(column) or "").strip() for column in ("subject", "group", "split"))))
    return lines


def chosen_labels(uri: str, split: str, storage: StorageConfig) -> Labels:
    """Name -> (subject, group) of the images of a split, of all when `split` is empty. Errors: `ListError`, `StorageError`."""
    lines = read_list(uri, storage)
    splits = sorted({line.split for line in lines if line.split})
    wanted = [part.strip() for part in split.split(",") if part.strip()]
    unknown = [part for part in wanted if part not in splits]
    if unknown:
        raise ListError(f"{uri} has no split {unknown[0]!r}, only {', '.join(splits) or 'none'}")
    return {line.name: (line.subject, line.group) for line in lines if not wanted or line.split in wanted}
