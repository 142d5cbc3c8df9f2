"""Weights and face bases by name: resolve, verify, convert. Nothing here touches the network; `jobs.assets` fetches.

Both are described in `configs/assets.lock.yaml`. What has been fetched and converted lies in a cache folder
(`UNMASK_CACHE`, else `$XDG_CACHE_HOME/unmask`, else `~/.cache/unmask`): networks as safetensors, bases as `bases/NAME.npz`.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

# Written into every converted file: a new converter means a new file.
CONVERTER_VERSION = "1"


class AssetError(RuntimeError):
    """An asset is missing, unknown, or not what the lock file says."""


def config_folder() -> Path:
    """`configs/` of a checkout, or of the installed package."""
    here = Path(__file__).resolve().parent
    for folder in (here / "configs", here.parent / "configs"):
        if (folder / "assets.lock.yaml").is_file():
            return folder
    raise AssetError(f"no configs/assets.lock.yaml beside {here}: the installation is incomplete")


def cache_folder() -> Path:
    """Where converted assets lie on this node."""
    if "UNMASK_CACHE" in os.environ:
        return Path(os.environ["UNMASK_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "unmask"


@dataclass(frozen=True)
class AssetEntry:
    """One line of the lock file."""

    name: str
    what: str
    kind: str
    package: str
    member: str
    sha256: str
    bytes: int
    convert: str
    licence: str
    source: str


@dataclass(frozen=True)
class BaseFile:
    """A file that a face base is converted from; `sha256` is empty where none is publicly known."""

    name: str
    source: str
    sha256: str = ""
    optional: bool = False


@dataclass(frozen=True)
class BaseEntry:
    """A face base of the lock file: what it is, on which terms, and how a user gets it."""

    name: str
    what: str
    licence: str
    terms: str
    page: str
    steps: tuple[str, ...]
    files: tuple[BaseFile, ...]
    ships: bool = False

    @property
    def known(self) -> dict[str, str]:
        """sha256 by file name, where known."""
        return {file.name: file.sha256 for file in self.files if file.sha256}


def read_bases(path: Path | None = None) -> dict[str, BaseEntry]:
    """All face bases of the lock file by name."""
    text = (path or config_folder() / "assets.lock.yaml").read_text(encoding="utf-8")
    out = {}
    for name, fields in yaml.safe_load(text)["bases"].items():
        files = tuple(BaseFile(**file) for file in fields.pop("files", ()))
        out[name] = BaseEntry(name=name, steps=tuple(fields.pop("steps", ())), files=files, **fields)
    return out


def read_lock(path: Path | None = None) -> dict[str, AssetEntry]:
    """All assets of the lock file by name."""
    text = (path or config_folder() / "assets.lock.yaml").read_text(encoding="utf-8")
    return {name: AssetEntry(name=name, **fields) for name, fields in yaml.safe_load(text)["assets"].items()}


def sha256_of(data: bytes) -> str:
    """Hex digest."""
    return hashlib.sha256(data).hexdigest()


class AssetStore:
    """Assets of one node. `path` and `network` raise `AssetError` that says what to run when something is missing."""

    def __init__(self, root: Path | None = None, lock: dict[str, AssetEntry] | None = None):
        self.root = root or cache_folder()
        self.lock = read_lock() if lock is None else lock

    def entry(self, name: str) -> AssetEntry:
        """The lock entry of that name."""
        if name not in self.lock:
            raise AssetError(f"unknown asset {name!r}: expected one of {', '.join(sorted(self.lock))}")
        return self.lock[name]

    def path(self, name: str) -> Path:
        """Where the converted file lies, whether it is there or not."""
        entry = self.entry(name)
        return self.root / f"{name}-{entry.sha256[:12]}-c{CONVERTER_VERSION}.safetensors"

    def has(self, name: str) -> bool:
        """Whether the asset has been fetched and converted."""
        return self.path(name).is_file()

    def network(self, name: str) -> tuple[Any, dict[str, Tensor]]:
        """Program and weights of a converted network.

        Errors: AssetError when it was never fetched, or the file is damaged.
        """
        path = self.path(name)
        if not path.is_file():
            raise AssetError(f"asset {name} is not in {self.root}: run `python -m jobs.assets fetch {name}` once")
        try:
            weights = load_file(path)
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
        except (SafetensorError, OSError) as error:
            raise AssetError(
                f"asset {name} in {path.name} cannot be read ({error}): delete it and run `python -m jobs.assets fetch {name}`"
            ) from error
        if metadata.get("source_sha256") != self.entry(name).sha256:
            raise AssetError(f"asset {name} in {path.name} was made from another file: run `python -m jobs.assets fetch {name}`")
        return json.loads(metadata["program"]), weights

    def install(self, name: str, data: bytes) -> Path:
        """Verify the source bytes against the lock, convert them, and put the result in place in one step.

        Errors: AssetError when the bytes are not those of the lock file.
        """
        entry = self.entry(name)
        if sha256_of(data) != entry.sha256:
            raise AssetError(f"{name}: expected sha256 {entry.sha256}, got {sha256_of(data)} ({len(data)} bytes): not used")
        if entry.convert != "tflite":
            raise AssetError(f"{name}: no converter {entry.convert!r}")
        from operators.faces.tflite_network import read_network

        program, weights = read_network(data)
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        metadata = {
            "program": json.dumps(program),
            "source_sha256": entry.sha256,
            "licence": entry.licence,
            "source": entry.source,
        }
        save_file({key: torch.tensor(value) for key, value in weights.items()}, temporary, metadata)
        temporary.replace(path)
        return path
