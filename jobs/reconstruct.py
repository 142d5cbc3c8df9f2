"""Masked photos in, reconstructed faces out.

python -m jobs.reconstruct --config configs/reconstruct.yaml --input DIR|s3://… --output DIR|s3://…
"""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m jobs.reconstruct`, the same as `unmask reconstruct`. Returns the exit code."""
    from jobs.cli import run_job
    from jobs.job_configs import ReconstructConfig

    return run_job(ReconstructConfig, list(sys.argv[1:] if arguments is None else arguments))


if __name__ == "__main__":
    sys.exit(main())
