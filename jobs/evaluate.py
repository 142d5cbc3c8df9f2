"""Results beside the truth: numbers with intervals, tables, plots and sheets.

python -m jobs.evaluate --input SAMPLES --results NAME=RUN,telea --output DIR|s3://…
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from jobs.evaluation.outcome import write_outcome
from jobs.evaluation.summary import SummaryOptions
from jobs.job_configs import EvaluateConfig
from jobs.plan import plan_stages, unavailable
from jobs.results import seconds_per_image
from jobs.storage import Storage, open_storage

_NETWORKS = {"perceptual": "lpips", "features": "inception", "identity": "identity"}
"""What `jobs.evaluation.catalogue` calls the network of a section."""


def conclude(config: EvaluateConfig, storage: Storage) -> str | None:
    """Tables, plots and report of what has been measured; prints the table and returns where the report is."""
    results = config.compared()
    seconds = {result.method: seconds_per_image(result, config.storage) for result in results}
    lacking = {_NETWORKS[section]: what for section, what in unavailable(plan_stages(config)).items()}
    if not config.faces:
        lacking["identity"] = "not measured: faces is false"
    options = SummaryOptions(
        order=tuple(result.method for result in results),
        unavailable=lacking,
        seconds={name: value for name, value in seconds.items() if value is not None} if config.seconds else {},
    )
    runs = {result.method: open_storage(result.uri, config.storage) for result in results if result.kind == "run"}
    outcome = write_outcome(storage, options, runs=runs)
    print(outcome.text)
    pages = [name for name in outcome.files if name.endswith(".html")]
    return storage.locate(pages[0] if pages else outcome.files[0])


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m jobs.evaluate`, the same as `unmask evaluate`. Returns the exit code."""
    from jobs.cli import run_job

    return run_job(EvaluateConfig, list(sys.argv[1:] if arguments is None else arguments))


if __name__ == "__main__":
    sys.exit(main())
