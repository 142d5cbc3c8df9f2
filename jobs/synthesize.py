"""Photos of faces in, the same faces with masks and other occluders out, with the exact hole and the truth.

python -m jobs.synthesize --input DIR|s3://… --output DIR|s3://…
"""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m jobs.synthesize`, the same as `unmask synthesize`. Returns the exit code."""
    from jobs.cli import run_job
    from jobs.job_configs import SynthesizeConfig

    return run_job(SynthesizeConfig, list(sys.argv[1:] if arguments is None else arguments))


if __name__ == "__main__":
    sys.exit(main())
