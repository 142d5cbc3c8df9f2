"""The last step of an evaluation: from its manifests to everything that people read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jobs.evaluation.rows import ROWS, read_evaluated, rows_bytes
from jobs.evaluation.summary import DEFAULTS, SUMMARY, SummaryOptions, summarise, summary_bytes
from jobs.evaluation.table import markdown_table, terminal_table
from jobs.storage import Storage

TABLE, REPORT = "summary.md", "report.html"


@dataclass(frozen=True)
class Outcome:
    """What was written: the summary, its table for a terminal, and the keys of all files."""

    summary: dict[str, Any]
    text: str
    files: tuple[str, ...]


def write_outcome(
    storage: Storage, options: SummaryOptions = DEFAULTS, title: str = "Evaluation", embed: bool | None = None
) -> Outcome:
    """Read the manifests below `manifest/` and write metrics.parquet, summary.json, summary.md, plots, sheets and report.html.

    `embed` puts pictures into the page instead of linking them; None = where the output is no folder. The same manifests give the
    same bytes. Errors: `RowsError`, `StorageError`.
    """
    evaluated = read_evaluated(storage)
    summary = summarise(evaluated, options)
    storage.write(ROWS, rows_bytes(evaluated.table))
    storage.write(SUMMARY, summary_bytes(summary))
    storage.write(TABLE, markdown_table(summary).encode())
    files = [ROWS, SUMMARY, TABLE]
    return Outcome(summary, terminal_table(summary), tuple(files))
