"""Numbers of summary.json: n, what is missing and why, pairs, groups, weights that are not there."""

import json
from importlib.util import find_spec

import numpy as np
import pytest

from jobs.evaluation.catalogue import NOT_AVAILABLE
from jobs.evaluation.rows import join
from jobs.evaluation.summary import SummaryOptions, summarise, summary_bytes
from tests.jobs.evaluation import made_up


def summary(rows, **options):
    return summarise(join([made_up.table(rows)]), SummaryOptions(resamples=300, **options))


def values(rows, method, name="psnr_hole_db"):
    return np.array([row[name] for row in rows if row["method"] == method])


def test_mean_median_and_interval_of_each_method():
    rows = made_up.rows(60)
    found = summary(rows)["methods"]["prior"]["metrics"]["psnr_hole_db"]
    own = values(rows, "prior")
    assert found["n"] == 60 and found["people"] == 12
    assert found["mean"] == pytest.approx(own.mean(), rel=1e-5) and found["median"] == pytest.approx(np.median(own), rel=1e-5)
    assert found["low"] < found["mean"] < found["high"] and found["high"] - found["low"] < 4
    worst = [f"photo{i:03d}" for i in np.argsort(own)[:5]]
    assert found["worst"] == worst
    assert summary(rows)["methods"]["prior"]["metrics"]["l1_hole"]["worst"] == worst, "lower is better there"


def test_intervals_are_of_people_where_they_are_known():
    rows = made_up.rows(60, people=3)
    nameless = [{**row, "subject": ""} for row in rows]
    people, pictures = (summary(r)["methods"]["prior"]["metrics"]["psnr_hole_db"] for r in (rows, nameless))
    assert people["high"] - people["low"] > 1.5 * (pictures["high"] - pictures["low"])
    assert summary(rows)["bootstrap"]["drawn"] == "people"
    assert "nobody is named" in " ".join(summary(nameless)["warnings"])
    assert any("3 people are rough" in line for line in summary(rows)["warnings"])
    assert not summary(made_up.rows(60))["warnings"]


def test_missing_rows_are_counted_by_their_reason_and_left_out_everywhere():
    rows = made_up.rows(20)
    for row in rows:
        if row["method"] == "prior" and row["key"] in ("photo003", "photo004"):
            row |= {"status": "failed", **{name: None for name in row if name.startswith(("psnr", "ssim", "l1"))}}
        if row["method"] == "prior" and row["key"] == "photo005":
            row["ssim_hole"] = float("nan")
    rows = [row for row in rows if (row["method"], row["key"]) != ("telea", "photo007")]
    found = summary(rows)
    prior, telea = (found["methods"][name]["metrics"] for name in ("prior", "telea"))
    assert prior["psnr_hole_db"]["missing"] == {"failed": 2} and telea["psnr_hole_db"]["missing"] == {"absent": 1}
    assert prior["ssim_hole"]["missing"] == {"failed": 2, "not measured": 1}
    assert prior["psnr_hole_db"]["n"] == telea["psnr_hole_db"]["n"] == 17 and prior["ssim_hole"]["n"] == 16
    assert prior["psnr_hole_db"]["all"]["n"] == 18 and prior["psnr_hole_db"]["left_out"] == 1
    assert found["paired"]["pictures"] == 17 and found["pictures"] == 20
    assert found["methods"]["prior"]["statuses"] == {"failed": 2, "ok": 18}
    kept = [row["psnr_hole_db"] for row in rows if row["method"] == "telea" and row["key"] not in ("photo003", "photo004")]
    assert telea["psnr_hole_db"]["mean"] == pytest.approx(np.mean(kept), rel=1e-5)


def test_a_method_without_any_number_does_not_take_the_others_along():
    rows = made_up.rows(10)
    for row in rows:
        if row["method"] == "telea":
            row |= {"status": "rejected", "error_message": "sizes differ", "psnr_hole_db": None}
            row |= {name: None for name in row if name.startswith(("psnr", "ssim", "l1"))}
    found = summary(rows)
    assert found["methods"]["prior"]["metrics"]["psnr_hole_db"]["n"] == 10
    assert "psnr_hole_db" not in found["methods"]["telea"]["metrics"]
    assert "telea has no numbers: 10 rejected (sizes differ)" in found["warnings"]


def test_absent_weights_are_said_instead_of_a_number():
    found = summary(made_up.rows(6))["methods"]["prior"]["metrics"]
    for name in ("lpips_hole", "identity_similarity", "fid", "kid"):
        assert found[name] == {"unavailable": NOT_AVAILABLE}
    told = summary(made_up.rows(6), unavailable={"lpips": "weights not available: lpips_alex"})
    assert told["methods"]["telea"]["metrics"]["lpips_rim"] == {"unavailable": "weights not available: lpips_alex"}


def test_infinite_psnr_is_counted_and_not_averaged():
    rows = made_up.rows(10)
    for row in rows:
        if row["method"] == "prior" and row["key"] == "photo002":
            row["psnr_hole_db"] = float("inf")
    found = summary(rows)["methods"]["prior"]["metrics"]["psnr_hole_db"]
    own = values(rows, "prior")
    assert found["n"] == 9 and found["infinite"] == 1 and found["mean"] == pytest.approx(own[np.isfinite(own)].mean(), rel=1e-5)
    assert found["pooled"] == pytest.approx(-10 * np.log10(np.mean(10 ** (-own / 10))), rel=1e-5)


def test_groups_by_what_is_known_of_the_pictures():
    rows = made_up.rows(60)
    groups = summary(rows)["groups"]
    assert list(groups) == ["group", "mask_type", "coverage", "yaw"]
    assert list(groups["coverage"]) == ["10–20 %", "20–30 %", "30–40 %", "40–50 %", "50–60 %"]
    assert sum(group["pictures"] for group in groups["coverage"].values()) == 60
    means = [group["methods"]["prior"]["psnr_hole_db"]["mean"] for group in groups["coverage"].values()]
    assert means[0] > means[-1] + 2, "more cover is harder in these numbers"
    london = values(rows, "prior")[::2]
    assert groups["group"]["london"]["methods"]["prior"]["psnr_hole_db"]["mean"] == pytest.approx(london.mean(), rel=1e-5)
    assert list(groups["yaw"])[:2] == ["0–15°", "15–30°"]


def test_edges_of_the_bands_belong_to_the_band_above():
    rows = made_up.rows(4)
    for row, coverage in zip(rows, [0.1, 0.2, 0.3, 1.0] * 3, strict=True):
        row["meta_json"] = json.dumps({"coverage": coverage, "yaw_deg": -15.0 if coverage < 0.25 else 75.0})
    groups = summary(rows)["groups"]
    assert list(groups["coverage"]) == ["10–20 %", "20–30 %", "30–40 %", "90–100 %"]
    assert {label: group["pictures"] for label, group in groups["yaw"].items()} == {"15–30°": 2, "over 60°": 2}


def test_methods_come_in_the_order_that_is_asked_for():
    rows = made_up.rows(4, methods=("prior", "telea", "mean_face"))
    assert list(summary(rows, order=("telea", "nobody"))["methods"]) == ["telea", "mean_face", "prior"]
    assert summary(rows, seconds={"prior": 0.25})["methods"]["prior"]["seconds_per_picture"] == 0.25


def test_the_file_is_strict_json_and_the_same_every_time():
    rows = made_up.rows(12)
    data = summary_bytes(summary(rows))
    assert summary_bytes(summary(rows[::-1])) == data
    json.loads(data, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_sets_are_measured_on_the_pictures_that_all_have_features_of():
    random = np.random.default_rng(0)
    rows = made_up.rows(40)
    for row in rows:
        row["inception_features"] = (random.normal(0, 1, 8) + (2 if row["method"] == "telea" else 0)).tolist()
    next(row for row in rows if row["method"] == "prior")["inception_features"] = [float("nan")] * 8
    found = summary(rows)
    prior, telea = (found["methods"][name]["metrics"] for name in ("prior", "telea"))
    assert prior["fid"]["n"] == telea["fid"]["n"] == prior["kid"]["n"] == 39
    assert telea["fid"]["mean"] > prior["fid"]["mean"] + 10 and telea["kid"]["low"] > prior["kid"]["high"]
    assert telea["fid"]["low"] < telea["fid"]["mean"] < telea["fid"]["high"]
    assert any("2048" in line and "KID" in line for line in found["warnings"]), "small sets are warned of"
    if find_spec("sklearn") is None:
        assert telea["u_ids"] == {"unavailable": "not installed: sklearn"} and "u_ids" in found["unavailable"]
    else:
        assert 0 <= telea["u_ids"]["mean"] < prior["u_ids"]["mean"] <= 100


def test_people_are_counted_only_where_they_are_known():
    rows = made_up.rows(20, people=4)
    for row in rows:
        row["subject"] = "somebody" if row["key"] == "photo000" else ""
    found = summary(rows)
    assert found["paired"]["people"] is None and any("only one person is named" in line for line in found["warnings"])
    for row in rows:
        row["subject"] = "somebody"
    assert summary(rows)["paired"]["people"] == 1
