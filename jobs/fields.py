"""The fields of a config type, flattened: what the command line, the documented YAML and error messages are made from."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml
from pydantic import BaseModel


@dataclass(frozen=True)
class Leaf:
    """One settable field. `variant` is the `kind` that has it, empty when the section has only one."""

    path: str
    annotation: Any
    default: Any
    help: str
    variant: str = ""

    @property
    def choices(self) -> tuple[Any, ...]:
        """The allowed values of a Literal, else nothing."""
        return tuple(value for option in _options(self.annotation) if get_origin(option) is Literal for value in get_args(option))

    @property
    def type_name(self) -> str:
        """The type for people: `int`, `float or none`, `a|b`, `float,float,…`."""
        return " or ".join(_type_name(option) for option in _options(self.annotation))


def leaves(owner: type, prefix: str = "", variant: str = "") -> Iterator[Leaf]:
    """Every field of a pydantic model or dataclass, depth first, in order of declaration."""
    for name, annotation, default, help in _members(owner):
        path = f"{prefix}{name}"
        sections = [option for option in _options(annotation) if _is_section(option)]
        if not sections:
            yield Leaf(path, annotation, default, help, variant)
        elif len(sections) == 1:
            yield from leaves(sections[0], f"{path}.")
        else:
            yield from _union(path, sections, default)


def _union(path: str, sections: list[type], default: Any) -> Iterator[Leaf]:
    kinds: list[Any] = []
    for section in sections:
        kinds += get_args(get_type_hints(section)["kind"])
    yield Leaf(f"{path}.kind", Literal[tuple(kinds)], default.kind if default is not None else None, "which system to use")
    merged: dict[tuple[Any, ...], Leaf] = {}
    for section in sections:
        own = "|".join(get_args(get_type_hints(section)["kind"]))
        for leaf in leaves(section, f"{path}.", own):
            if leaf.path != f"{path}.kind":
                same = (leaf.path, str(leaf.annotation), str(leaf.default), leaf.help)
                before = merged.get(same)
                merged[same] = leaf if before is None else replace(leaf, variant=f"{before.variant}|{own}")
    for leaf in merged.values():
        yield replace(leaf, variant="") if leaf.variant.split("|") == list(map(str, kinds)) else leaf


def parse(leaf: Leaf, text: str) -> Any:
    """The value that a command-line word means for this field; pydantic has the last word on it."""
    options = _options(leaf.annotation)
    if type(None) in options and text.lower() in ("none", "null", ""):
        return None
    if any(get_origin(option) is tuple for option in options) and not text.startswith("["):
        return [yaml.safe_load(part) for part in text.split(",") if part.strip()]
    if str in options or (leaf.choices and all(isinstance(choice, str) for choice in leaf.choices)):
        return text
    return yaml.safe_load(text)


def _members(owner: type) -> Iterator[tuple[str, Any, Any, str]]:
    if issubclass(owner, BaseModel):
        for name, info in owner.model_fields.items():
            yield name, info.annotation, info.default, info.description or ""
        return
    hints = get_type_hints(owner, include_extras=True)
    for member in dataclasses.fields(owner):
        yield member.name, hints[member.name], member.default, member.metadata.get("help", "")


def _options(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) is Annotated:
        return _options(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return tuple(option for part in get_args(annotation) for option in _options(part))
    return (annotation,)


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and (dataclasses.is_dataclass(annotation) or issubclass(annotation, BaseModel))


def _type_name(annotation: Any) -> str:
    if annotation is type(None):
        return "none"
    if get_origin(annotation) is Literal:
        return "|".join(map(str, get_args(annotation)))
    if get_origin(annotation) is tuple:
        parts = get_args(annotation)
        inner = ",".join(_type_name(part) for part in parts if part is not Ellipsis)
        return f"{inner},…" if Ellipsis in parts else inner
    return getattr(annotation, "__name__", str(annotation))
