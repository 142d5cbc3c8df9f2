"""Manifests become one table: what is joined by key, and what does not fit."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.evaluation.rows import ABSENT, SCHEMA, RowsError, from_table, join, read_evaluated, rows_bytes
from jobs.storage import LocalStorage
from tests.jobs.evaluation import made_up


def only(rows, method, key="photo000"):
    return next(row for row in rows if row["method"] == method and row["key"] == key)


def test_methods_stand_beside_each_other_and_the_truth_is_none(tmp_path):
    storage = LocalStorage(str(tmp_path))
    rows = made_up.rows(7)
    made_up.write(storage, rows, pictures=True)
    found = read_evaluated(storage)
    assert found.methods == ("prior", "telea") and found.keys == tuple(f"photo{i:03d}" for i in range(7))
    assert found.values["psnr_hole_db"][1, 3] == only(rows, "telea", "photo003")["psnr_hole_db"]
    assert found.results[0, 2] == "artifacts/prior/images-000000/photo002/result.jpg"
    assert found.facts["masked_file"][2] == "artifacts/truth/images-000000/photo002/masked.jpg"
    assert np.isnan(found.values["lpips_hole"]).all()


def test_what_the_samples_json_says():
    rows = made_up.rows(6)
    found = join([made_up.table(rows)])
    face = json.loads(rows[4]["meta_json"])["faces"][0]
    assert found.facts["mask_type"][4] == "n95" and found.facts["group"][4] == "london"
    assert found.about["coverage"][4] == face["coverage"] and found.about["yaw_deg"][4] == face["rotation_deg"][1]


@pytest.mark.parametrize(
    "text", ["", "no json", "[1, 2]", '{"coverage": "much", "faces": [3]}', '{"faces": [{"rotation_deg": [1]}]}']
)
def test_any_other_json_says_nothing(text):
    rows = made_up.rows(2)
    for row in rows:
        row["meta_json"] = text
    found = join([made_up.table(rows)])
    assert np.isnan(found.about["coverage"]).all() and set(found.facts["mask_type"]) == {""}


def test_a_picture_without_a_row_is_absent():
    rows = [row for row in made_up.rows(5) if (row["method"], row["key"]) != ("telea", "photo001")]
    found = join([made_up.table(rows)])
    assert found.status[1, 1] == ABSENT and (found.status != ABSENT).sum() == 9
    assert np.isnan(found.values["psnr_hole_db"][1, 1])


def test_identity_is_the_cosine_to_the_truths_embedding():
    rows = made_up.rows(3)
    for row in rows:
        row["identity_embedding"] = [3.0, 4.0] if row["method"] == "truth" else [4.0, 3.0]
    only(rows, "prior")["identity_embedding"] = [float("nan")] * 2
    found = join([made_up.table(rows)]).values["identity_similarity"]
    assert np.isnan(found[0, 0]) and found[1, 0] == pytest.approx(24 / 25)


def landmarks(shift=0.0):
    points = np.stack([np.arange(68.0), np.full(68, 5.0)], 1)
    points[36], points[45] = (100, 0), (200, 0)  # 100 px between the outer eye corners
    points[:, 0] += shift
    return points


def test_landmark_errors_of_known_shifts():
    rows = made_up.rows(2)
    for row in rows:
        row["result_landmarks68_px"] = landmarks().tolist()
        row["landmarks68_in_hole"] = [i < 17 for i in range(68)]
    moved = landmarks()
    moved[:17, 1] += 8  # the jaw, 8 % of the eye distance
    only(rows, "prior")["result_landmarks68_px"] = moved.tolist()
    only(rows, "telea")["result_landmarks68_px"] = landmarks(3.0).tolist()
    values = join([made_up.table(rows)]).values
    assert [values[f"nme_{part}"][0, 0] for part in ("all", "upper", "hidden")] == pytest.approx([0.08 * 17 / 68, 0, 0.08])
    assert [values[f"nme_{part}"][1, 0] for part in ("all", "upper", "hidden")] == pytest.approx([0.03] * 3)


def test_names_that_two_shards_share_are_told_apart():
    rows = made_up.rows(2)
    again = [{**row, "image_id": f"{row['method']}/b/{row['key']}"} for row in rows]
    found = join([made_up.table(rows), made_up.table(again)])
    assert found.keys == ("b/photo000", "b/photo001", "images-000000/photo000", "images-000000/photo001")


@pytest.mark.parametrize("name", ["truth_sha256", "mask_sha256"])
def test_methods_have_to_share_truth_and_hole(name):
    rows = made_up.rows(3)
    only(rows, "telea")[name] = "another"
    with pytest.raises(RowsError, match=f"'photo000'.*{name}"):
        join([made_up.table(rows)])


def test_an_output_without_rows_or_of_another_job_is_refused(tmp_path):
    with pytest.raises(RowsError, match="no rows"):
        read_evaluated(LocalStorage(str(tmp_path)))
    with pytest.raises(RowsError, match="no output of evaluate"):
        join([pa.table({"key": ["a"]})])
    row = made_up.rows(1)[0]
    with pytest.raises(RowsError, match="two rows"):
        join([made_up.table([row, row])])


def test_the_file_documents_its_columns_holds_no_features_and_comes_back():
    rows = made_up.rows(9)
    for row in rows:
        row["inception_features"] = [float(row["hole_pixels"])] * 5
    found = join([made_up.table(rows)])
    data = rows_bytes(found.table)
    assert rows_bytes(join([made_up.table(rows[::-1])]).table) == data, "the order of manifests does not show"
    read = pq.read_table(pa.BufferReader(data))
    assert read.schema.names == SCHEMA.names and all(field.metadata[b"doc"] for field in read.schema)
    again = from_table(read)
    assert again.methods == found.methods and again.keys == found.keys
    for name, values in found.values.items():
        np.testing.assert_array_equal(again.values[name], values)
    keys, features = found.features["truth"]
    assert keys == list(found.keys) and features.shape == (9, 5) and features[4, 0] == 1004


def test_people_are_known_when_there_are_two():
    rows = made_up.rows(4, people=1)
    assert join([made_up.table(rows)]).subjects is None
    rows[0]["subject"] = rows[4]["subject"] = rows[8]["subject"] = "somebody else"
    rows[1]["subject"] = rows[5]["subject"] = rows[9]["subject"] = ""
    names = join([made_up.table(rows)]).subjects
    assert names is not None and names[0] == "somebody else" and names[2] == names[3] and len(set(names)) == 3
