"""Which pictures are shown, and the sheet that shows them."""

import numpy as np
import pytest

from jobs.evaluation.catalogue import METRICS
from jobs.evaluation.rows import join, read_evaluated
from jobs.evaluation.sheets import CELL_PX, choose, compose, picture, sheet_bytes
from jobs.storage import LocalStorage
from operators.codec import decode_rgb
from tests.jobs.evaluation import made_up

PSNR, L1 = METRICS["psnr_hole_db"], METRICS["l1_hole"]


def chosen(count, metric, most=2):
    rows = made_up.rows(count)
    for row in rows:
        rank = int(row["key"][-3:])
        row["psnr_hole_db"], row["l1_hole"] = 10.0 + rank, 0.1 + 0.01 * rank
    found = choose(join([made_up.table(rows)]), "prior", metric, most)
    return {role: [e.key[-3:] for e in found if e.role == role] for role in ("best", "median", "worst")}


def test_best_median_and_worst_by_the_metrics_own_direction():
    assert chosen(9, PSNR) == {"best": ["008", "007"], "median": ["005", "004"], "worst": ["001", "000"]}
    assert chosen(9, L1) == {"best": ["000", "001"], "median": ["003", "004"], "worst": ["007", "008"]}


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_no_picture_is_shown_twice(count):
    found = [key for keys in chosen(count, PSNR, most=3).values() for key in keys]
    assert len(found) == len(set(found)) and found


def test_only_pictures_that_all_methods_have_are_chosen():
    rows = made_up.rows(9)
    rows = [row for row in rows if (row["method"], row["key"]) != ("telea", "photo004")]
    evaluated = join([made_up.table(rows)])
    assert "photo004" not in {e.key for e in choose(evaluated, "prior", PSNR, 3)}


def test_a_sheet_has_a_cell_for_masked_truth_and_every_method(tmp_path):
    storage = LocalStorage(str(tmp_path))
    made_up.write(storage, made_up.rows(9), pictures=True)
    evaluated = read_evaluated(storage)
    examples = choose(evaluated, "prior", PSNR, 1)
    data = sheet_bytes(storage, evaluated, examples, PSNR, ["telea", "prior"])
    sheet = decode_rgb(data)
    assert sheet.shape[1] > 4 * CELL_PX and sheet.shape[0] > 3 * CELL_PX and len(data) < 100_000
    side = sheet.shape[1] - 4 * (CELL_PX + 4)
    centres = [sheet[20 + CELL_PX // 2, side + k * (CELL_PX + 4) + CELL_PX // 2].astype(int) for k in range(4)]
    wanted = [picture(storage, f"artifacts/{m}/images-000000/photo000/{n}.jpg") for m, n in (
        ("truth", "masked"), ("truth", "truth"), ("telea", "result"), ("prior", "result"))]  # fmt: skip
    for got, want in zip(centres, wanted, strict=True):
        assert want is not None and np.abs(got - want[12, 10]).max() < 12
    assert sheet_bytes(storage, evaluated, examples, PSNR, ["telea", "prior"]) == data


def test_missing_and_broken_pictures_leave_an_empty_field(tmp_path):
    storage = LocalStorage(str(tmp_path))
    storage.write("broken.jpg", b"no picture")
    assert picture(storage, "broken.jpg") is None and picture(storage, "nowhere.jpg") is None and picture(storage, "") is None
    sheet = compose([("role\nname", [None, np.zeros((8, 8, 3), np.uint8)], ["", "1.0"])], ["a", "b"])
    assert sheet.shape[2] == 3 and sheet.min() == 0


def test_without_any_picture_there_is_no_sheet(tmp_path):
    storage = LocalStorage(str(tmp_path))
    evaluated = join([made_up.table(made_up.rows(9))])
    assert sheet_bytes(storage, evaluated, choose(evaluated, "prior", PSNR, 1), PSNR, ["prior"]) == b""
