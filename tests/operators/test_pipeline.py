from typing import ClassVar

import pytest

from operators.batch import Batch
from operators.pipeline import apply, run
from operators.types import OperatorInfo


class Upper:
    info: ClassVar = OperatorInfo("Upper", "1", ("image_bytes",), ("source",))

    def __init__(self, poison: set[bytes] = frozenset()):
        self.poison = poison
        self.sizes: list[int] = []

    def __call__(self, batch: Batch) -> Batch:
        self.sizes.append(len(batch))
        for i in batch.live_rows():
            if batch.rows["image_bytes"][i] in self.poison:
                batch.rows["source"][0] = "half-written"
                raise ArithmeticError("bad pixel")
            batch.rows["source"][i] = batch.rows["image_bytes"][i].decode().upper()
        return batch


class Dropper(Upper):
    def __call__(self, batch: Batch) -> Batch:
        return batch.take(range(len(batch) - 1))


def test_a_poison_row_costs_only_itself():
    data = [b"a", b"b", b"poison", b"d", b"e"]
    result = apply(Upper({b"poison"}), Batch.from_images(data))
    assert result.rows["source"] == ["A", "B", "", "D", "E"]
    assert result.rows["status"] == ["ok", "ok", "failed", "ok", "ok"]
    assert result.rows["error_type"][2] == "ArithmeticError"
    assert result.rows["error_operator"][2] == "Upper"


def test_the_input_batch_is_untouched():
    batch = Batch.from_images([b"a", b"poison"])
    apply(Upper({b"poison"}), batch)
    assert batch.rows["source"] == ["", ""] and batch.rows["status"] == ["ok", "ok"]


def test_losing_rows_is_refused():
    with pytest.raises(RuntimeError, match="changed the rows"):
        apply(Dropper(), Batch.from_images([b"a", b"b"]))


def test_run_reports_each_operator_in_order():
    seen = []
    first, second = Upper(), Upper()
    run([first, second], Batch.from_images([b"a"]), after=seen.append)
    assert seen == [first, second] and second.sizes == [1]
