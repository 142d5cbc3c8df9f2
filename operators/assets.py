"""Weights and face bases by name: resolve, verify, convert. Nothing here touches the network; `jobs.assets` fetches.

All are described in `configs/assets.lock.yaml`: networks that `jobs.assets` fetches, and networks and bases that a user
obtains. What has been converted lies in a cache folder (`UNMASK_CACHE`, else `$XDG_CACHE_HOME/unmask`, else
`~/.cache/unmask`): networks as safetensors, those obtained as `networks/NAME.safetensors`, bases as `bases/NAME.npz`.
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

from operators.checkpoints.errors import AssetError

# Written into every converted file: a new converter means a new file.
CONVERTER_VERSION = "1"


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
    """A network that is fetched. `manifest` is a second member that the first cannot be read without.

    `optional` ones are fetched only when they are named.
    """

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
    manifest: str = ""
    manifest_sha256: str = ""
    optional: bool = False


@dataclass(frozen=True)
class BaseFile:
    """A file to convert. `sha256` is empty where none is publicly known; it may be its first digits only."""

    name: str
    source: str
    sha256: str = ""
    optional: bool = False


@dataclass(frozen=True)
class BaseEntry:
    """A face base or network of the lock file: what it is, on which terms, and how a user gets it.

    `system` is the published system (`operators.checkpoints`) that a network's files are read as.
    """

    name: str
    what: str
    licence: str
    terms: str
    page: str
    steps: tuple[str, ...]
    files: tuple[BaseFile, ...]
    ships: bool = False
    system: str = ""

    @property
    def known(self) -> dict[str, str]:
        """sha256 by file name, where known."""
        return {file.name: file.sha256 for file in self.files if file.sha256}


def read_bases(path: Path | None = None) -> dict[str, BaseEntry]:
    """All face bases of the lock file by name."""
    return _entries("bases", path)


def read_networks(path: Path | None = None) -> dict[str, BaseEntry]:
    """All networks of the lock file whose weights a user obtains, by name."""
    return _entries("networks", path)


def _entries(section: str, path: Path | None) -> dict[str, BaseEntry]:
    text = (path or config_folder() / "assets.lock.yaml").read_text(encoding="utf-8")
    out = {}
    for name, fields in yaml.safe_load(text)[section].items():
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
    """Assets of one node. What is missing raises `AssetError` that says what to run."""

    def __init__(
        self, root: Path | None = None, lock: dict[str, AssetEntry] | None = None, networks: dict[str, BaseEntry] | None = None
    ):
        self.root = root or cache_folder()
        self.lock = read_lock() if lock is None else lock
        self.networks = read_networks() if networks is None else networks

    def entry(self, name: str) -> AssetEntry:
        """The lock entry of that name."""
        if name not in self.lock:
            raise AssetError(f"unknown asset {name!r}: expected one of {', '.join(sorted(self.lock))}")
        return self.lock[name]

    def path(self, name: str) -> Path:
        """Where the converted file lies, whether it is there or not."""
        if name in self.networks:
            return self.root / "networks" / f"{name}.safetensors"
        entry = self.entry(name)
        return self.root / f"{name}-{entry.sha256[:12]}-c{CONVERTER_VERSION}.safetensors"

    def has(self, name: str) -> bool:
        """Whether the asset has been converted here."""
        return self.path(name).is_file()

    def how(self, name: str) -> str:
        """The command that brings a missing asset here."""
        return f"python -m jobs.assets {'explain' if name in self.networks else 'fetch'} {name}"

    def source_sha256(self, name: str) -> str:
        """sha256 of the file that the weights here were made from; empty when they are not here. Errors: AssetError."""
        return self._read(name)[0].get("source_sha256", "") if self.has(name) else ""

    def weights(self, name: str) -> dict[str, Tensor]:
        """Weights of a converted network.

        Errors: AssetError when it is not here, the file is damaged, or it was made from another file than the lock says.
        """
        if not self.has(name):
            raise AssetError(f"asset {name} is not in {self.root}: run `{self.how(name)}` once")
        metadata, weights = self._read(name)
        if name in self.lock and metadata.get("source_sha256") != self.lock[name].sha256:
            raise AssetError(f"asset {name} in {self.path(name).name} was made from another file: run `{self.how(name)}`")
        return weights

    def network(self, name: str) -> tuple[Any, dict[str, Tensor]]:
        """Program and weights of a converted network.

        Errors: AssetError when it was never fetched, or the file is damaged.
        """
        weights = self.weights(name)
        return json.loads(self._read(name)[0]["program"]), weights

    def install(self, name: str, data: bytes, manifest: bytes = b"") -> Path:
        """Verify the source bytes against the lock, convert them, and put the result in place in one step.

        Errors: AssetError when the bytes are not those of the lock file.
        """
        entry = self.entry(name)
        for bytes_, expected in ((data, entry.sha256), (manifest, entry.manifest_sha256)):
            if expected and sha256_of(bytes_) != expected:
                raise AssetError(f"{name}: expected sha256 {expected}, got {sha256_of(bytes_)} ({len(bytes_)} bytes): not used")
        if entry.convert == "tflite":
            from operators.faces.tflite_network import read_network

            program, arrays = read_network(data)
            weights = {key: torch.tensor(value) for key, value in arrays.items()}
        elif entry.convert == "dlib_resnet":
            from operators.networks.dlib_resnet import from_tfjs, read_tfjs

            program, weights = [], from_tfjs(read_tfjs(manifest, data))
        else:
            raise AssetError(f"{name}: no converter {entry.convert!r}")
        about = {"program": json.dumps(program), "licence": entry.licence, "source": entry.source}
        return self._write(name, weights, {**about, "source_sha256": entry.sha256})

    def install_obtained(self, name: str, file: Path, any_bytes: bool = False) -> str:
        """Verify and convert the official weights that a user obtained; returns the file's sha256.

        Errors: AssetError when the file is not the known one (`any_bytes` takes it all the same), cannot be read without
        running code, or does not hold this network.
        """
        from operators.networks.obtained import official_weights

        entry = self.networks[name]
        digest = sha256_of(file.read_bytes())
        known = [known.sha256 for known in entry.files if known.sha256]
        if known and not any_bytes and not any(digest.startswith(start) for start in known):
            expected = " or ".join(start if len(start) == 64 else f"{start}…" for start in known)
            raise AssetError(
                f"{file.name}: expected sha256 {expected}, got {digest}: not used; --any-bytes takes it all the same"
            )
        weights = official_weights(name, file)
        self._write(name, weights, {"licence": entry.licence, "source": entry.page, "source_sha256": digest})
        return digest

    def _read(self, name: str) -> tuple[dict[str, str], dict[str, Tensor]]:
        path = self.path(name)
        try:
            weights = load_file(path)
            with safe_open(path, framework="pt") as file:
                return file.metadata() or {}, weights
        except (SafetensorError, OSError) as error:
            raise AssetError(
                f"asset {name} in {path.name} cannot be read ({error}): delete it and run `{self.how(name)}`"
            ) from error

    def _write(self, name: str, weights: dict[str, Tensor], metadata: dict[str, str]) -> Path:
        return self.write(self.path(name), weights, metadata)

    def write(self, path: Path, weights: dict[str, Tensor], metadata: dict[str, str]) -> Path:
        """A converted file, in place in one step whoever else writes it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        save_file(
            {key: value.detach().clone(memory_format=torch.contiguous_format) for key, value in weights.items()},
            temporary,
            metadata,
        )
        temporary.replace(path)
        return path
