"""Files that belong to an image by their name: `x.mask.png`, `x.truth.png`, `x.alpha.png` and `x.json` beside `x.jpg`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

# Formats that the decoder refuses are listed too: they become rows that say so.
_READ = ("jpg", "jpeg", "jpe", "jfif", "png", "apng", "webp", "gif", "bmp", "tif", "tiff")
IMAGE_SUFFIXES = frozenset((*_READ, "heic", "heif", "avif", "jxl", "jp2", "svg"))
PICTURE_ROLES = {"mask": "given_mask_bytes", "truth": "truth_bytes", "alpha": "given_alpha_bytes"}
"""What a picture beside an image is, by the last part of its name, and the column that holds it."""


@dataclass(frozen=True)
class Group:
    """An image and the files that belong to it: `pictures` by role, and its JSON."""

    image: str
    pictures: Mapping[str, str] = field(default_factory=dict)
    text: str | None = None

    @property
    def files(self) -> list[str]:
        """All of them, the image first."""
        return [self.image, *self.pictures.values(), *([self.text] if self.text else [])]


def group_files(keys: Iterable[str]) -> list[Group]:
    """The images of a folder, sorted, each with its files; a `.mask.` picture without its image is an image itself."""
    keys = sorted(keys)
    images = [key for key in keys if suffix(key) in IMAGE_SUFFIXES]
    stems = {stem(key) for key in images}
    beside: dict[str, dict[str, str]] = {}
    taken: set[str] = set()
    for key in images:
        base, role = split_role(stem(key))
        if role and base in stems:
            beside.setdefault(base, {})[role] = key
            taken.add(key)
    texts = {stem(key): key for key in keys if suffix(key) == "json"}
    return [Group(key, beside.get(stem(key), {}), texts.get(stem(key))) for key in images if key not in taken]


def split_role(base: str) -> tuple[str, str]:
    """`x.mask` -> `x`, `mask`; a name without a role -> itself and an empty role."""
    head, _, last = base.rpartition(".")
    return (head, last) if head and last in PICTURE_ROLES else (base, "")


def stem(name: str) -> str:
    """The name without its last suffix; the folder stays."""
    folder, slash, base = name.rpartition("/")
    return folder + slash + (base.rpartition(".")[0] or base)


def suffix(name: str) -> str:
    """The last suffix in lower case, without its dot."""
    return name.rpartition("/")[2].rpartition(".")[2].lower()


def folder_of(key: str) -> str:
    """The folder part of a key, empty at the top."""
    return key.rpartition("/")[0]
