"""What is wrong with a file of weights, in one line."""

from __future__ import annotations

from pathlib import Path


class AssetError(RuntimeError):
    """An asset is missing, unknown, or not what the lock file says."""


class CheckpointError(AssetError):
    """A checkpoint that cannot be used: names the file, what was expected, what was found, and what to do."""

    def __init__(self, file: Path | str, expected: str, found: str, do: str):
        name = Path(file).name or str(file)
        super().__init__(f"{name}: expected {expected}, found {found}: {do}")
        self.file, self.expected, self.found, self.do = str(file), expected, found, do
