"""The tables of docs/manifest.md, written from the schema itself.

python -m jobs.manifest_docs docs/manifest.md
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from operators.arrow import SCHEMA_VERSION, manifest_schema
from operators.columns import EVALUATE, FACE_COLUMNS, ROW_COLUMNS, SYNTHESIZE

_BEGIN, _END = "<!-- schema: begin -->", "<!-- schema: end -->"


def schema_tables() -> str:
    """Markdown tables of every manifest field: name, Arrow type, shape, meaning."""
    schema = manifest_schema()
    faces = schema.field("faces").type.value_type
    return "\n".join(
        [
            f"Schema version **{SCHEMA_VERSION}**.",
            "",
            "### One row per image",
            "",
            *_table([schema.field(i) for i in range(len(schema))]),
            "",
            "### Each element of `faces`",
            "",
            *_table([faces.field(i) for i in range(faces.num_fields)]),
            "",
            "### Each element of `artifacts`",
            "",
            "`name` (string): file name, e.g. `restored.png` or `face0_mesh.obj`; `path` (string): below the output; `sha256`",
            "(string) and `bytes` (int64): of the file's content.",
            *_of_one_job(SYNTHESIZE),
            *_of_one_job(EVALUATE),
        ]
    )


def _of_one_job(job: str) -> list[str]:
    """Tables of the fields that only this job's manifests have."""
    schema, common = manifest_schema(job=job), manifest_schema()
    faces, known = (s.field("faces").type.value_type for s in (schema, common))
    rows = [schema.field(i) for i in range(len(schema)) if schema.names[i] not in common.names]
    inner = [faces.field(i) for i in range(faces.num_fields) if known.get_field_index(faces.field(i).name) < 0]
    lines = ["", f"### Only in manifests of `unmask {job}`", "", *_table(rows)]
    return lines + (["", "In each element of `faces`:", "", *_table(inner)] if inner else [])


def insert(text: str) -> str:
    """The page with its generated part made anew. Errors: ValueError when the page lacks the two marks."""
    before, mark, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not (mark and end):
        raise ValueError(f"expected the lines {_BEGIN} and {_END} in the page")
    return f"{before}{_BEGIN}\n{schema_tables()}\n{_END}{after}"


def _table(fields: Sequence[pa.Field]) -> list[str]:
    lines = ["| field | type | shape | meaning |", "|---|---|---|---|"]
    for field in fields:
        column = ROW_COLUMNS.get(field.name) or FACE_COLUMNS.get(field.name)
        shape = " × ".join(map(str, column.shape)) if column else ""
        lines.append(f"| `{field.name}` | {_type(field.type)} | {shape} | {(field.metadata or {})[b'doc'].decode()} |")
    return lines


def _type(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        inner = kind.value_type
        return "list of struct" if pa.types.is_struct(inner) else f"list of {_type(inner)}"
    if pa.types.is_map(kind):
        return f"map {kind.key_type} → {kind.item_type}"
    return str(kind)


def main(arguments: Sequence[str] | None = None) -> int:
    """Rewrite the generated part of a page."""
    (page,) = map(Path, sys.argv[1:] if arguments is None else arguments)
    page.write_text(insert(page.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
