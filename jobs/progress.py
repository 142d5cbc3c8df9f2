"""Progress while a run goes on, and the summary at its end."""

from __future__ import annotations

import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from jobs.ledger import UnitReport
from operators.types import FAILED


@dataclass
class Tally:
    """Sums over the units of a run."""

    rows: Counter[str] = field(default_factory=Counter)
    faces: int = 0
    units: int = 0
    read_bytes: int = 0
    written_bytes: int = 0
    seconds: Counter[str] = field(default_factory=Counter)
    peaks: dict[str, int] = field(default_factory=dict)
    notes: Counter[str] = field(default_factory=Counter)

    @property
    def images(self) -> int:
        """Rows so far."""
        return sum(self.rows.values())

    def add(self, report: UnitReport) -> None:
        """Count one committed unit."""
        self.rows.update(report.rows)
        self.faces += report.faces
        self.units += 1
        self.read_bytes += report.read_bytes
        self.written_bytes += report.written_bytes
        self.seconds.update(report.seconds)
        self.peaks[report.process] = max(self.peaks.get(report.process, 0), report.peak_rss_bytes)
        self.notes.update(report.notes)


class ProgressDisplay:
    """A bar on a terminal, else one line every `every_s` seconds. Use as a context manager; call `update` per unit."""

    def __init__(self, total: int | None, every_s: float = 10.0, stream: Any = None):
        self.total, self.every_s = total, every_s
        self.stream = stream or sys.stderr
        self.started = self._printed = time.monotonic()
        self._images = 0
        self._bar: Progress | None = None
        self._task = None
        if self.stream.isatty():
            columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}"), TimeElapsedColumn())
            self._bar = Progress(*columns, console=Console(file=self.stream), transient=True)

    def __enter__(self) -> ProgressDisplay:
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task("reconstruct", total=self.total, text="starting")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, tally: Tally) -> None:
        """Show the state after one more unit."""
        text = progress_text(tally, self.total, time.monotonic() - self.started)
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=tally.images, text=text)
        elif time.monotonic() - self._printed >= self.every_s:
            self._printed = time.monotonic()
            print(text, file=self.stream, flush=True)


def progress_text(tally: Tally, total: int | None, elapsed_s: float) -> str:
    """`320/1000 images  12.3/s  ETA 0:55  2 failed`."""
    rate = tally.images / elapsed_s if elapsed_s > 0 else 0.0
    parts = [f"{tally.images}/{total} images" if total else f"{tally.images} images", f"{rate:.1f}/s"]
    if total and rate:
        parts.append(f"ETA {clock(max(total - tally.images, 0) / rate)}")
    parts.append(f"{tally.rows[FAILED]} failed")
    return "  ".join(parts)


def clock(seconds: float) -> str:
    """Seconds as h:mm:ss or m:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def summary_text(tally: Tally, elapsed_s: float, where: str, skipped: int, report: str | None) -> str:
    """What is printed at the end of a run."""
    rate = tally.images / elapsed_s if elapsed_s else 0.0
    lines = [f"{tally.images} images, {tally.faces} faces in {clock(elapsed_s)} ({rate:.2f} images/s)"]
    if skipped:
        lines.append(f"{skipped} units were done already and skipped")
    width = max((len(name) for name in tally.rows), default=0)
    lines += [f"  {name:<{width}}  {count}" for name, count in tally.rows.most_common()]
    spent = sum(tally.seconds.values())
    if spent:
        lines.append("seconds by stage, summed over processes:")
        lines += [f"  {name:<10} {value:8.1f}  {value / spent:4.0%}" for name, value in tally.seconds.items()]
    if tally.peaks:
        most = max(tally.peaks.values()) / 2**20
        lines.append(f"peak memory: {most:.0f} MiB in the largest of {len(tally.peaks)} processes")
    lines += [f"note: {note}" for note in tally.notes]
    lines.append(f"results: {where}")
    lines += [f"look at: {report}"] if report else []
    if tally.rows[FAILED]:
        lines.append(f"{tally.rows[FAILED]} images failed: see status and error_* in manifest/")
    return "\n".join(lines)
