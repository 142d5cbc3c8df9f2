"""The short table in Markdown and for terminals."""

import pytest

from jobs.evaluation.rows import join
from jobs.evaluation.summary import SummaryOptions, summarise
from jobs.evaluation.table import markdown_table, terminal_table
from tests.jobs.evaluation import made_up


def summary(rows, **options):
    return summarise(join([made_up.table(rows)]), SummaryOptions(resamples=200, **options))


def cells(text):
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    heads, _, *rows = ([cell.strip() for cell in line.strip("|").split(" | ")] for line in lines)
    return {row[0]: dict(zip(heads, row, strict=True)) for row in rows}


def test_markdown_has_a_row_per_method_with_intervals():
    found = summary(made_up.rows(30), order=("telea", "prior"), seconds={"prior": 0.3127})
    table = cells(markdown_table(found))
    assert list(table) == ["telea", "prior"]
    record = found["methods"]["prior"]["metrics"]["psnr_hole_db"]
    assert table["prior"]["PSNR hole, dB ↑"] == f"{record['mean']:.2f} [{record['low']:.2f}, {record['high']:.2f}]"
    assert table["prior"]["n"] == "30" and table["prior"]["s / picture"] == "0.313" and table["telea"]["s / picture"] == "–"


@pytest.mark.parametrize("name", ["LPIPS hole ↓", "identity ↑", "KID, ×10⁻³ ↓", "FID ↓"])
def test_absent_weights_stand_in_the_cells(name):
    assert cells(markdown_table(summary(made_up.rows(5))))["prior"][name] == "weights not available"


def test_what_nobody_measured_has_no_column():
    table = cells(markdown_table(summary(made_up.rows(5))))
    assert "NME ↓" not in table["prior"] and "s / picture" not in table["prior"]


def test_names_cannot_break_the_table():
    rows = made_up.rows(4)
    for row in rows:
        row["method"] = row["method"].replace("prior", "a | b\nc")
    assert r"| a \| b c | 4 |" in markdown_table(summary(rows))


def test_notes_say_on_what_the_numbers_rest():
    text = markdown_table(summary([row for row in made_up.rows(30) if (row["method"], row["key"]) != ("telea", "photo001")]))
    assert "29 of 30 pictures of 12 people" in text and "200 bootstrap resamples of people" in text


def test_everything_identical_is_infinite():
    rows = made_up.rows(6)
    for row in rows:
        if row["method"] == "prior":
            row["psnr_rim_db"] = float("inf")
    text = markdown_table(summary(rows))
    assert cells(text)["prior"]["PSNR rim, dB ↑"] == "∞" and "prior, PSNR rim: 6 identical to the truth" in text


def test_the_terminals_table_fits_its_width():
    rows = made_up.rows(12, methods=("prior", "telea", "mean_face"))
    text = terminal_table(summary(rows), width=50)
    table = text.split("\n\n")
    assert max(len(line) for block in table[:-1] for line in block.splitlines()) <= 50 and len(table) == 3
    assert "weights" not in "".join(table[:-1]) and "LPIPS hole" in table[-1]
    assert "±" in table[0] and all(name in text for name in ("prior", "telea", "mean_face"))
