"""The last step of an evaluation: from its manifests to everything that people read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from jobs.evaluation.catalogue import METRICS
from jobs.evaluation.page import render_page
from jobs.evaluation.plots import draw_plots, for_file
from jobs.evaluation.rows import ROWS, Evaluated, read_evaluated, rows_bytes
from jobs.evaluation.sheets import choose, sheet_bytes
from jobs.evaluation.summary import DEFAULTS, SUMMARY, SummaryOptions, summarise, summary_bytes
from jobs.evaluation.table import markdown_table, terminal_table
from jobs.names import safe_key
from jobs.storage import LocalStorage, Storage

TABLE, REPORT = "summary.md", "report.html"
RANKED_BY = METRICS["psnr_hole_db"]


@dataclass(frozen=True)
class Outcome:
    """What was written: the summary, its table for a terminal, and the keys of all files."""

    summary: dict[str, Any]
    text: str
    files: tuple[str, ...]


def write_outcome(
    storage: Storage, options: SummaryOptions = DEFAULTS, title: str = "Evaluation", embed: bool | None = None,
    examples: int = 3, runs: Mapping[str, Storage] | None = None,
) -> Outcome:  # fmt: skip
    """Read the manifests below `manifest/` and write metrics.parquet, summary.json, summary.md, plots, sheets and report.html.

    `embed` puts pictures into the page instead of linking them; None = where the output is no folder. `examples` is how many
    best, median and worst pictures of each method are shown. `runs` are the outputs of reconstruct runs among the methods: their
    3D faces are measured where samples say what the face is without the mask. The same manifests give the same bytes.
    Errors: `RowsError`, `StorageError`.
    """
    evaluated = read_evaluated(storage, runs)
    summary = summarise(evaluated, options)
    files = {ROWS: rows_bytes(evaluated.table), SUMMARY: summary_bytes(summary), TABLE: markdown_table(summary).encode()}
    plots = draw_plots(evaluated, summary)
    files |= {f"plots/{metric}_{what}.svg": for_file(svg).encode() for (metric, what), svg in plots.items()}
    files |= _sheets(storage, evaluated, list(summary["methods"]), examples)
    chosen = [e for name in summary["methods"] for e in choose(evaluated, name, RANKED_BY, examples)]
    inside = embed if embed is not None else not isinstance(storage, LocalStorage)
    files[REPORT] = render_page(storage, evaluated, summary, plots, chosen, RANKED_BY, title, inside).encode()
    for name, data in files.items():
        storage.write(name, data)
    return Outcome(summary, terminal_table(summary), tuple(files))


def _sheets(storage: Storage, evaluated: Evaluated, methods: list[str], count: int) -> dict[str, bytes]:
    """A sheet per method that has a number; none where no picture was kept."""
    out = {}
    for name in methods:
        if np.isnan(evaluated.values[RANKED_BY.name][evaluated.methods.index(name)]).all():
            continue
        data = sheet_bytes(storage, evaluated, choose(evaluated, name, RANKED_BY, count), RANKED_BY, methods)
        if data:
            out[f"sheets/{safe_key(name).replace('/', '_')}.jpg"] = data
    return out
