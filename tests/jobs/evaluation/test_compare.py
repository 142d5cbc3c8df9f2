"""Two evaluations: signs of differences, what is refused, and what is written."""

import json
import re

import pytest

from jobs.evaluation.catalogue import METRICS
from jobs.evaluation.compare import CompareError, Side, compare, main, most_different
from jobs.evaluation.compare_page import markdown_text, title_of
from jobs.evaluation.rows import join, read_evaluated, rows_bytes
from jobs.storage import LocalStorage, open_storage
from tests.jobs.evaluation import made_up

PSNR = METRICS["psnr_hole_db"]


def side(rows, label="a", method="prior"):
    return Side(label, method, join([made_up.table(rows)]), LocalStorage("nowhere"))


def compared(first, second, **options):
    return compare(side(first), side(second, "b"), resamples=300, **options)


def test_a_second_that_is_better_by_one_decibel():
    rows = made_up.rows(40)
    found = compared(rows, made_up.rows(40, shift=1.0)).record["metrics"]
    psnr, l1 = found["psnr_hole_db"], found["l1_hole"]
    assert (psnr["difference"], psnr["low"], psnr["high"]) == pytest.approx((1, 1, 1))
    assert psnr["better"] == 1 and psnr["verdict"] == "better" and psnr["second"] == pytest.approx(psnr["first"] + 1, rel=1e-4)
    assert l1["difference"] < 0 and l1["better"] == 1 and l1["verdict"] == "better", "lower is better there"
    back = compared(made_up.rows(40, shift=1.0), rows).record["metrics"]
    assert back["psnr_hole_db"]["difference"] == pytest.approx(-1) and back["l1_hole"]["verdict"] == "worse"
    assert "lpips_hole" not in found


def test_chance_is_not_called_a_difference():
    first = made_up.rows(40)
    second = made_up.rows(40)
    for i, row in enumerate(second):
        row["psnr_hole_db"] += 0.5 if i % 2 else -0.5
    found = compared(first, second).record["metrics"]
    assert found["psnr_hole_db"]["verdict"] == "undecided" and found["psnr_hole_db"]["better"] == 0.5
    assert found["ssim_hole"]["verdict"] == "equal" and found["ssim_hole"]["ties"] == 40


def test_two_runs_that_are_equal_are_told_in_one_line():
    found = compared(made_up.rows(12), made_up.rows(12))
    assert found.equal and markdown_text(found) == "## prior: a → b\n\nAll numbers of the 12 pictures that both have are equal.\n"
    assert not compared(made_up.rows(12), made_up.rows(12, shift=0.1)).equal


def test_two_methods_of_one_evaluation():
    rows = made_up.rows(40)
    found = compare(side(rows, method="telea"), side(rows), resamples=300)
    assert found.record["metrics"]["psnr_hole_db"]["difference"] > 3 and title_of(found) == "telea → prior"


def test_only_pictures_that_both_have_count():
    first = [row for row in made_up.rows(20) if row["key"] != "photo003"]
    second = [row for row in made_up.rows(20, shift=1) if row["key"] not in ("photo004", "photo005")]
    found = compared(first, second)
    assert found.record["pictures"] == 17 and (found.record["only_first"], found.record["only_second"]) == (2, 1)
    assert found.record["metrics"]["psnr_hole_db"]["n"] == 17 and "photo003" not in found.keys
    text = markdown_text(found)
    assert "2 pictures are only in a" in text and "1 pictures are only in b" in text


@pytest.mark.parametrize(("name", "what"), [("truth_sha256", "truth"), ("mask_sha256", "hole")])
def test_another_truth_or_hole_is_refused(name, what):
    second = made_up.rows(20)
    for row in second:
        if row["key"] in ("photo001", "photo002"):
            row[name] = "f" * 64
    with pytest.raises(CompareError, match=rf"2 of 20 pictures.*\n  photo001: another {what}\n.*photo002[^$]*--skip-different"):
        compared(made_up.rows(20), second)
    found = compared(made_up.rows(20), second, skip_different=True)
    assert found.record["pictures"] == 18 and found.record["different"] == ["photo001", "photo002"]


def test_what_has_no_hash_is_compared_and_said():
    second = made_up.rows(5)
    for row in second:
        row["truth_sha256"] = ""
    assert "5 pictures could not be checked" in markdown_text(compared(made_up.rows(5), second))


def test_what_cannot_be_compared():
    rows = made_up.rows(5)
    with pytest.raises(CompareError, match="no method 'nobody'; it has prior, telea"):
        compare(side(rows), side(rows, method="nobody"))
    strangers = [{**row, "key": "x" + row["key"]} for row in rows]
    with pytest.raises(CompareError, match="no picture in common"):
        compared(rows, strangers)


def test_pictures_that_differ_most():
    second = made_up.rows(9)
    changes = {"photo002": 3.0, "photo005": 1.0, "photo001": -2.0, "photo008": -0.5}
    for row in second:
        row["psnr_hole_db"] += changes.get(row["key"], 0.0)
    found = compared(made_up.rows(9), second)
    assert most_different(found, PSNR, 6) == {"gained": ["photo002", "photo005"], "lost": ["photo001", "photo008"]}
    assert most_different(found, PSNR, 1) == {"gained": ["photo002"], "lost": ["photo001"]}


def test_intervals_are_of_people():
    first, second = made_up.rows(60, people=3), made_up.rows(60, people=3)
    for row in second:
        row["psnr_hole_db"] += {"person00": 2.0, "person01": 0.0, "person02": -1.0}[row["subject"]]
    people = compared(first, second)
    for row in first + second:
        row["subject"] = ""
    pictures = compared(first, second)
    wide, narrow = (c.record["metrics"]["psnr_hole_db"] for c in (people, pictures))
    assert wide["high"] - wide["low"] > 2 * (narrow["high"] - narrow["low"]) and wide["difference"] == narrow["difference"]


def test_the_command_writes_tables_and_a_page_with_pictures(tmp_path, capsys):
    for name, shift in (("a", 0.0), ("b", 1.0)):
        storage = LocalStorage(str(tmp_path / name))
        made_up.write(storage, made_up.only_psnr(made_up.rows(9, shift=shift)), pictures=True)
        storage.write("metrics.parquet", rows_bytes(read_evaluated(storage).table))
    code = main([str(tmp_path / "a"), str(tmp_path / "b"), "--output", str(tmp_path / "c"), "--examples", "2"])
    text = capsys.readouterr().out
    assert code == 0 and "prior: a → b" in text and "telea: a → b" in text and "better" in text
    output = LocalStorage(str(tmp_path / "c"))
    record = json.loads(output.read("comparison.json"))["comparisons"]
    assert [item["first"]["method"] for item in record] == ["prior", "telea"]
    assert "+1.00 [+1.00, +1.00]" in output.read("comparison.md").decode()
    page = output.read("comparison.html").decode()
    images = re.findall(r'<img[^>]*src="([^"]*)"', page)
    assert len(images) == 2 * 2 * 4 and all(image.startswith("data:image/jpeg") for image in images)
    assert output.exists("sheets/comparison_0.jpg") and "must not be used to identify anyone" in page


def test_the_command_says_why_it_cannot(tmp_path, capsys):
    storage = LocalStorage(str(tmp_path / "a"))
    made_up.write(storage, made_up.rows(3))
    assert main([str(tmp_path / "a"), str(tmp_path / "none"), "--output", str(tmp_path / "c")]) == 2
    assert "no rows" in capsys.readouterr().err
    assert main([str(tmp_path / "a"), str(tmp_path / "a"), "--first", "lama", "--output", str(tmp_path / "c")]) == 2
    assert "no method 'lama'; it has prior, telea" in capsys.readouterr().err


def test_on_s3(bucket, s3_config, s3_endpoint, capsys):
    for name in ("a", "b"):
        made_up.write(
            open_storage(f"s3://{bucket}/{name}", s3_config), made_up.only_psnr(made_up.rows(4, shift=float(name == "b")))
        )
    places = [f"s3://{bucket}/{name}" for name in ("a", "b", "c")]
    assert main([*places[:2], "--first", "prior", "--output", places[2], "--endpoint", s3_endpoint]) == 0
    assert open_storage(places[2], s3_config).exists("comparison.html") and "prior: a → b" in capsys.readouterr().out
