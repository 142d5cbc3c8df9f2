"""JobConfig: the one description of a run. Its resolved form and its fingerprint are stored with the output.

What every job's config can do, and how one is read from YAML and command line; the jobs' own are in `jobs.job_configs`.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from jobs.fields import Leaf, leaves, parse

if TYPE_CHECKING:
    from jobs.execution import ExecutionConfig
    from jobs.sources import Shard, SourceConfig
    from jobs.storage import Storage, StorageConfig

# Where results come from and go to, and how work is spread: none of it may change an output byte.
NOT_FINGERPRINTED = ("input", "output", "results", "storage", "execution", "accept_licences")


POOLS = "execution.pools."

Model = TypeVar("Model", bound=BaseModel)


class ConfigError(ValueError):
    """A config that cannot be used: one line per wrong field."""


class JobConfig(BaseModel):
    """Base of every job's config: sections in the order in which their operators run.

    Each job declares `input`, `output`, `source`, its operators, `storage` and `execution`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    job: ClassVar[str]
    about: ClassVar[str]
    writes: ClassVar[str] = "images/ artifacts/"
    if TYPE_CHECKING:
        input: str
        output: str
        source: SourceConfig
        storage: StorageConfig
        execution: ExecutionConfig

    def uses(self, section: str) -> bool:
        """Whether the operator of this section takes part in a run with this config."""
        return True

    @property
    def packed(self) -> bool:
        """Whether the samples of a unit go into one tar."""
        return False

    @property
    def accepted(self) -> tuple[str, ...]:
        """Licences of non-commercial models whose terms the user accepts."""
        return ()

    def expand(self, shards: list[Shard]) -> list[Shard]:
        """The shards of the input as this job works on them."""
        return shards

    def finish(self, storage: Storage) -> str | None:
        """What follows the last unit: the report. Returns where it is, None when there is none."""
        if not self.execution.report_images:
            return None
        from jobs.report import write_report

        return storage.locate(write_report(storage, most=self.execution.report_images, embed=self.output.startswith("s3://")))

    def resolved(self) -> dict[str, Any]:
        """Every field with the value that is used, as plain JSON types."""
        return self.model_dump(mode="json")

    def fingerprint(self, operators: Mapping[str, str], assets: Mapping[str, str]) -> str:
        """SHA-256 over what decides the output: config, operator versions and asset hashes, each by name."""
        return fingerprint_of(self.fingerprinted(operators, assets))

    def fingerprinted(self, operators: Mapping[str, str], assets: Mapping[str, str]) -> dict[str, Any]:
        """What the fingerprint is taken of."""
        config = {name: value for name, value in self.resolved().items() if name not in NOT_FINGERPRINTED}
        return {"config": config, "operators": dict(operators), "assets": dict(assets)}


def fingerprint_of(identity: Mapping[str, Any]) -> str:
    """SHA-256 of an identity's canonical JSON."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def load(model: type[Model], path: str | Path | None = None, overrides: Iterable[tuple[str, str]] = ()) -> Model:
    """The config of a YAML file (or of nothing: all defaults) with `section.field`, `value` overrides applied in order.

    Errors: `ConfigError` with one line per wrong field.
    """
    data: Any = {}
    if path is not None:
        try:
            data = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror or error}") from None
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: no valid YAML: {' '.join(str(error).split())}") from None
        data = {} if data is None else data
        if not isinstance(data, dict):
            raise ConfigError(f"{path}: expected sections with fields, got {type(data).__name__}")
    known = list(leaves(model))
    for name, text in overrides:
        _override(data, name, text, known)
    _fill_kinds(data, known)
    try:
        config = model.model_validate(data)
    except ValidationError as error:
        raise ConfigError("\n".join(dict.fromkeys(_explain(item, known) for item in error.errors()))) from None
    values = {leaf.path: _lookup(config.model_dump(), leaf)[1] for leaf in known}
    endless = [f"{path}: expected a number, got {value}" for path, value in values.items() if _is_endless(value)]
    if endless:
        raise ConfigError("\n".join(endless))
    return config


def own_leaves(model: type[BaseModel]) -> list[Leaf]:
    """The fields of a job's config, without the actor pools of other jobs' operators."""
    pools = {"worker", "read", "write", *model.model_fields}
    return [leaf for leaf in leaves(model) if not leaf.path.startswith(POOLS) or leaf.path.split(".")[2] in pools]


def document(config: BaseModel) -> str:
    """The config as YAML with every field explained; fields of kinds that are not chosen stand as comments."""
    values = config.model_dump(mode="json")
    lines: list[str] = []
    open_sections: list[str] = []
    for leaf in own_leaves(type(config)):
        *sections, name = leaf.path.split(".")
        same = 0
        while same < min(len(sections), len(open_sections)) and sections[same] == open_sections[same]:
            same += 1
        for depth in range(same, len(sections)):
            lines += [""] if depth == 0 else []
            lines.append(f"{'  ' * depth}{sections[depth]}:")
        open_sections = sections
        indent = "  " * len(sections)
        found, value = _lookup(values, leaf)
        kind = values.get(sections[0], {}).get("kind") if sections else None
        active = found and (not leaf.variant or kind in leaf.variant.split("|"))
        shown = yaml.safe_dump(value if active else _plain(leaf.default), default_flow_style=True, width=1000, allow_unicode=True)
        text = f"{name}: {shown.strip().removesuffix('...').strip()}"
        note = leaf.help + (f" ({leaf.type_name})" if leaf.choices else "")
        if active:
            lines.append(f"{indent}{text}  # {note}")
        else:
            lines.append(f"{indent}# {text}  # kind {leaf.variant}: {note}")
    return "\n".join(lines).strip() + "\n"


def _lookup(values: Any, leaf: Leaf) -> tuple[bool, Any]:
    for part in leaf.path.split("."):
        if not isinstance(values, dict) or part not in values:
            return False, None
        values = values[part]
    return True, values


def _is_endless(value: Any) -> bool:
    numbers = value if isinstance(value, list | tuple) else (value,)
    return any(isinstance(number, float) and not math.isfinite(number) for number in numbers)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _override(data: dict[str, Any], name: str, text: str, known: list[Leaf]) -> None:
    matching = [leaf for leaf in known if leaf.path == name]
    if not matching:
        raise ConfigError(unknown(name, known))
    *sections, last = name.split(".")
    place = data
    for section in sections:
        below = place.setdefault(section, {})
        if below is None:
            below = place[section] = {}
        if not isinstance(below, dict):
            raise ConfigError(f"{section}: expected fields, got {below!r}")
        place = below
    kind = place.get("kind", next((leaf.default for leaf in known if leaf.path == ".".join([*sections, "kind"])), ""))
    leaf = next((leaf for leaf in matching if kind in leaf.variant.split("|")), matching[0])
    try:
        value = parse(leaf, text)
    except yaml.YAMLError:
        raise ConfigError(f"{name}: expected {leaf.type_name}, got {text!r}") from None
    if last == "kind" and value != kind:  # another system: fields that only the old one has go
        fits = {item.path.rpartition(".")[2] for item in known if item.path.startswith(f"{sections[0]}.") and _has(item, value)}
        for field in [field for field in place if field not in fits]:
            del place[field]
    place[last] = value


def _has(leaf: Leaf, kind: str) -> bool:
    return not leaf.variant or kind in leaf.variant.split("|")


def _fill_kinds(data: dict[str, Any], known: list[Leaf]) -> None:
    """A section that leaves out its `kind` means the default one."""
    for leaf in known:
        section, _, field = leaf.path.partition(".")
        if field == "kind" and isinstance(data.get(section), dict):
            data[section].setdefault("kind", leaf.default)


def unknown(name: str, known: list[Leaf]) -> str:
    """What to say of a field that does not exist."""
    paths = {leaf.path: leaf for leaf in known}
    section, _, field = name.rpartition(".")
    if not section:
        sections = {path.split(".")[0] for path in paths}
        close = difflib.get_close_matches(name, sections, 1, 0.6)
        return f"{name}: no such section" + (
            f", did you mean {close[0]}?" if close else f", expected {', '.join(sorted(sections))}"
        )
    close = difflib.get_close_matches(name, paths, 1, 0.6)
    if not close and field:
        close = [path for path in paths if path.rpartition(".")[2] == field][:1]
    if not close:
        inside = [path for path in paths if section and path.startswith(f"{section}.")]
        return f"{name}: no such field" + (f"; {section} has {', '.join(p.rpartition('.')[2] for p in inside)}" if inside else "")
    return f"{name}: no such field, did you mean {close[0]}?"


def _explain(item: Any, known: list[Leaf]) -> str:
    """One line for one pydantic error."""
    prefixes = {""}
    for leaf in known:
        parts = leaf.path.split(".")
        prefixes.update(".".join(parts[:n]) for n in range(1, len(parts) + 1))
    extra = item["type"] in ("extra_forbidden", "unexpected_keyword_argument")
    path, kind = "", ""
    for n, part in enumerate(item["loc"]):
        longer = f"{path}.{part}".lstrip(".")
        if longer in prefixes or (extra and n == len(item["loc"]) - 1):
            path = longer
        elif isinstance(part, str):
            kind = part
    section = path.rpartition(".")[0]
    if extra:
        elsewhere = [leaf for leaf in known if leaf.path == path]
        if elsewhere and kind:
            return f"{path}: {section} of kind {kind} has no such field, kind {elsewhere[0].variant} has"
        visible = [leaf for leaf in known if not kind or not leaf.path.startswith(f"{section}.") or _has(leaf, kind)]
        return unknown(path, visible)
    leaf = next((leaf for leaf in known if leaf.path == path), None)
    if item["type"] == "union_tag_invalid":
        choices = next(leaf for leaf in known if leaf.path == f"{path}.kind").choices
        close = difflib.get_close_matches(str(item["ctx"]["tag"]), map(str, choices), 1, 0.5)
        hint = f", did you mean {close[0]}?" if close else ""
        return f"{path}.kind: {item['ctx']['tag']!r} is none of {', '.join(map(str, choices))}{hint}"
    if item["type"] == "literal_error" and leaf is not None:
        close = difflib.get_close_matches(str(item["input"]), map(str, leaf.choices), 1, 0.5)
        hint = f", did you mean {close[0]}?" if close else ""
        return f"{path}: {item['input']!r} is none of {', '.join(map(str, leaf.choices))}{hint}"
    if item["type"] == "value_error":
        return f"{path}: {item['ctx']['error']}" if path else str(item["ctx"]["error"])
    expected = leaf.type_name if leaf is not None else "fields"
    return f"{path}: expected {expected}, got {item['input']!r}"
