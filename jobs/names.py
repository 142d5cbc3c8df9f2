"""Names from outside become safe, unique keys: the root of every output name.

The rule of `safe_key`: a name made only of letters, digits, marks and `-_.+=@,() ` in path components that are not hidden,
not `.` or `..`, not reserved on Windows and not too long, and which does not end like a picture that belongs to another
(`x.mask`), stays as it is. Any other name is cleaned, and `~` with 12 hex digits of the SHA-256 of the original name is
appended. `~` itself is never allowed in, so two names never meet in one key.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata

from jobs.sidecars import split_role

_EXTRA = frozenset("-_.+=@,() ")
_COMPONENT_BYTES, _TOTAL_BYTES = 120, 480
_RESERVED = re.compile(r"^(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$)(\.|$)", re.IGNORECASE)
# A folder that is named like a file could stand where another key's output has to go.
_FILE_LIKE = re.compile(r"\.(png|jpe?g|webp|json|parquet|obj|mtl|html|txt)$", re.IGNORECASE)


def printable(name: str) -> str:
    """The name as valid UTF-8 text, undecodable bytes and lone surrogates as backslash escapes."""
    return name.encode("utf-8", "backslashreplace").decode()


def safe_key(name: str) -> str:
    """A relative path for an arbitrary name: never empty, never outside its root, different for different names."""
    raw = name.encode("utf-8", "surrogatepass")
    found = [part for part in re.split(r"[/\\]", unicodedata.normalize("NFC", name)) if part not in ("", ".", "..")]
    parts = [_component(part) for part in found[-_TOTAL_BYTES // 2 :]]
    if parts and split_role(parts[-1])[1]:  # KEY.mask.png has to be the mask of KEY
        parts[-1] += "_"
    folders = [part + "_" if _FILE_LIKE.search(part) else part for part in parts[:-1]]
    kept, size = parts[-1:], len("".join(parts[-1:]).encode())
    for folder in reversed(folders):
        size += 1 + len(folder.encode())
        if size > _TOTAL_BYTES:
            break
        kept.append(folder)
    key = "/".join(reversed(kept)) or "unnamed"
    if key == name:
        return key
    return f"{key}~{hashlib.sha256(raw).hexdigest()[:12]}"


def _component(part: str) -> str:
    text = "".join(c if c in _EXTRA or unicodedata.category(c)[0] in "LMN" else "_" for c in part)
    text = text.encode()[:_COMPONENT_BYTES].decode(errors="ignore")
    if text[:1] in (".", " "):
        text = "_" + text[1:]
    if text[-1:] in (".", " "):
        text = text[:-1] + "_"
    return "_" + text if _RESERVED.match(text) else text


class NameTable:
    """Hands out each key once: repeated names get ~2, ~3, …; names that differ only in case count as repeated."""

    def __init__(self) -> None:
        self._given: dict[str, int] = {}

    def key(self, name: str) -> str:
        """The next free key for this name, in the order of the calls."""
        key = safe_key(name)
        folded = unicodedata.normalize("NFC", key.casefold())
        self._given[folded] = count = self._given.get(folded, 0) + 1
        return key if count == 1 else f"{key}~{count}"
