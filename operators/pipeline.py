"""Run a list of operators over a batch: the plain loop that every plan of the job is equal to."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from operators.batch import Batch
from operators.types import Operator


def apply(operator: Operator, batch: Batch) -> Batch:
    """One operator; an exception is narrowed by bisection to the rows that cause it, and written into them.

    The other rows come out as if those had never been there.
    """
    if not len(batch):
        return batch
    try:
        result = operator(batch.copy())
    except Exception as error:  # the boundary where a row's trouble becomes a row's status
        if len(batch) == 1:
            failed = batch.copy()
            failed.fail_row(0, operator.info.name, error)
            return failed
        middle = len(batch) // 2
        halves = [apply(operator, batch.take(range(middle))), apply(operator, batch.take(range(middle, len(batch))))]
        return Batch.concat(halves)
    if result.rows["image_id"] != batch.rows["image_id"]:
        raise RuntimeError(f"{operator.info.name} changed the rows: an operator returns the rows it was given, in order")
    return result


def run(operators: Sequence[Operator], batch: Batch, after: Callable[[Operator], None] | None = None) -> Batch:
    """All operators in order; `after` is called after each (progress, timing)."""
    for operator in operators:
        batch = apply(operator, batch)
        if after is not None:
            after(operator)
    return batch
