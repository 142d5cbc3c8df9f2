"""Photos with masks in, training pairs of one size and format out; what has no partner is dropped and listed.

python -m jobs.pairs --input PHOTOS --source.masks MASKS --output DIR|s3://… --pair.size_px 256 --pair.crop centre
"""

from __future__ import annotations

import csv
import io
import sys
from collections import Counter
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.job_configs import PairsConfig
from jobs.readers import images_by_name
from jobs.storage import Storage
from operators.types import OK

DROPPED = "dropped.csv"
_NO_PICTURE = "NoPictureError"


def conclude(config: PairsConfig, storage: Storage) -> str:
    """List what was dropped and why, in `dropped.csv`; prints the counts and returns where the list is."""
    rows = list(_dropped(config, storage))
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerows([("name", "status", "reason", "message"), *rows])
    storage.write(DROPPED, sink.getvalue().encode())
    for reason, count in Counter(row[2] for row in rows).most_common():
        print(f"dropped {count:>7}  {reason}: {next(row[3] for row in rows if row[2] == reason)}")
    return storage.locate(DROPPED)


def _dropped(config: PairsConfig, storage: Storage) -> Iterator[tuple[str, str, str, str]]:
    """(name, status, reason, message) of every picture without a pair, then of every mask without a picture."""
    known: set[str] = set()
    columns = ["image_id", "source", "status", "error_type", "error_message"]
    for item in sorted(storage.list("manifest/"), key=lambda item: item.key):
        for row in pq.read_table(pa.BufferReader(storage.read(item.key)), columns=columns).to_pylist():
            if row["status"] != OK:
                yield row["image_id"], row["status"], row["error_type"], row["error_message"]
    if config.source.masks:
        known |= set(images_by_name(config.input, config.storage))
        for name, path in sorted(images_by_name(config.source.masks, config.storage).items()):
            if name not in known:
                yield path, "rejected", _NO_PICTURE, "a mask without a picture of the same name"


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m jobs.pairs`, the same as `unmask pairs`. Returns the exit code."""
    from jobs.cli import run_job

    return run_job(PairsConfig, list(sys.argv[1:] if arguments is None else arguments))


if __name__ == "__main__":
    sys.exit(main())
