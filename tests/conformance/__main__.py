"""Our networks against the official ones: `python -m tests.conformance DIR…`

Each DIR is a fixture folder (spec.json, expected.npz) or a folder of such folders. Prints, per output, the largest absolute
difference and the relative L2 difference. Exit code 0: all within 1e-4 (refinement by gradient descent 1e-3, 8-bit pictures one
level, mask pictures two); 1: some are not, or an official output is one that this project does not compute.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.conformance.fixture import FIXTURES, Comparison
from tests.conformance.runner import check, folders_in


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.conformance", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="*", type=Path, metavar="DIR", help="default: the fixtures that come with the tests")
    folders = [found for given in (parser.parse_args(arguments).folders or [FIXTURES]) for found in folders_in(given)]
    failed = missing = 0
    for folder in folders:
        print(f"{folder.name}", flush=True)
        results = check(folder)
        for result in results:
            failed += not result.passed
            missing += bool(result.missing)
            print(f"  {line(result)}", flush=True)
        print(f"  {len(results)} outputs", flush=True)
    beside = f", {missing} not compared" if missing else ""
    print(f"{failed} of the outputs are off{beside}" if failed else f"all outputs agree{beside}")
    return 1 if failed else 0


def line(result: Comparison) -> str:
    """One output in one line."""
    shape = "x".join(map(str, result.shape))
    if result.missing:
        return f"-    {result.name:34} {shape:18} {result.missing}"
    verdict = "ok  " if result.passed else "FAIL"
    return f"{verdict} {result.name:34} {shape:18} max {result.max_abs:9.2e}  rel {result.relative:9.2e}  {result.note}"


if __name__ == "__main__":
    sys.exit(main())
