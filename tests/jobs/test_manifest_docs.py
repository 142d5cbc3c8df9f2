"""The documented schema is the schema, and its examples run."""

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.manifest_docs import insert, main, schema_tables
from operators.arrow import manifest_bytes, manifest_schema, to_manifest
from operators.batch import Batch
from operators.columns import FACE_COLUMNS, ROW_COLUMNS
from operators.types import STATUSES

PAGE = Path(__file__).parents[2] / "docs" / "manifest.md"


def test_the_page_is_up_to_date():
    text = PAGE.read_text(encoding="utf-8")
    assert insert(text) == text, "run: python -m jobs.manifest_docs docs/manifest.md"


def test_every_field_is_there_with_type_and_meaning():
    tables = schema_tables()
    wanted = [c for c in (*ROW_COLUMNS.values(), *FACE_COLUMNS.values()) if c.manifest]
    for column in wanted:
        assert re.search(rf"^\| `{column.name}` \| [^|]+ \| [^|]* \| {re.escape(column.doc)} \|$", tables, re.MULTILINE)
    assert tables.count("| `") == len(wanted) + 4, "faces, artifacts, config_fingerprint, versions come on top"
    assert "image_bytes" not in tables and "list of list of float" in tables


def test_every_status_is_explained():
    text = PAGE.read_text(encoding="utf-8")
    assert all(f"| `{status}` |" in text for status in STATUSES)


def test_a_page_without_marks_is_refused(tmp_path):
    (tmp_path / "page.md").write_text("nothing here")
    with pytest.raises(ValueError, match="schema: begin"):
        main([str(tmp_path / "page.md")])


def test_the_pyarrow_example_runs(tmp_path, monkeypatch):
    folder = tmp_path / "restored" / "manifest" / "a"
    folder.mkdir(parents=True)
    (folder / "00000.parquet").write_bytes(manifest_bytes(to_manifest(Batch.from_images([b"x", b"y"]))))
    monkeypatch.chdir(tmp_path)
    example = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    scope: dict = {}
    exec(example[1], scope)  # our own documented example, from this repository
    assert scope["table"].num_rows == 2
    field = pq.read_schema(pa.BufferReader((folder / "00000.parquet").read_bytes())).field("image_sha256")
    assert field.metadata[b"doc"] == manifest_schema().field("image_sha256").metadata[b"doc"]
