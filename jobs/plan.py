"""Config -> the ordered list of operators, with what each reads, what may be forgotten after it, and where it runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from operators.batch import Batch
from operators.columns import FACE_COLUMNS, ROW_COLUMNS
from operators.types import Operator, OperatorConfig

_WRITTEN = ("restored_bytes", "artifact_bytes")
_GIVEN = ("image_bytes", "given_mask_bytes")


@dataclass(frozen=True)
class Stage:
    """One operator of the plan; `drops` are the columns that nothing after it reads."""

    section: str
    operator: type[Any]
    config: OperatorConfig
    drops: tuple[str, ...] = field(default=())

    def build(self, assets: Any, device: str) -> Operator:
        """The operator, loaded; called in the process that runs it."""
        return self.operator(self.config, assets, device if self.operator.info.wants_gpu else "cpu")

    @property
    def version(self) -> str:
        """name@version, part of the fingerprint."""
        return f"{self.operator.info.name}@{self.operator.info.version}"


def with_drops(stages: Sequence[Stage]) -> tuple[Stage, ...]:
    """The stages, each told which columns are dead after it: no later operator reads them and no output holds them.

    Errors: ValueError when an operator reads a column that nothing before it writes.
    """
    alive = set(_GIVEN)
    planned = []
    for i, stage in enumerate(stages):
        info = stage.operator.info
        for name in info.reads + info.writes:
            if name not in ROW_COLUMNS and name not in FACE_COLUMNS:
                raise ValueError(f"{info.name} names column {name!r}: declare it in operators/columns.py")
        alive |= set(info.writes)
        wanted = {name for later in stages[i + 1 :] for name in later.operator.info.reads}
        dead = sorted(name for name in alive if _is_bulk(name) and name not in wanted)
        alive -= set(dead)
        planned.append(Stage(stage.section, stage.operator, stage.config, tuple(dead)))
    return tuple(planned)


def prune(batch: Batch, stage: Stage) -> Batch:
    """The batch without the columns that are dead after this stage, whether or not it crosses to another process."""
    if not stage.drops:
        return batch
    if "image_bytes" in stage.drops:  # decoded frames would outlive their bytes inside one process only
        batch = Batch(batch.rows, batch.faces, batch.face_row)
    batch.drop(stage.drops)
    return batch


def _is_bulk(name: str) -> bool:
    column = ROW_COLUMNS.get(name) or FACE_COLUMNS[name]
    return not column.manifest and name not in _WRITTEN
