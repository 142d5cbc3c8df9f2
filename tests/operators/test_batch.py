import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.batch import Batch
from operators.types import FAILED, LOW_CONFIDENCE


def with_faces(per_row: list[int]) -> Batch:
    batch = Batch.from_images([b"x"] * len(per_row))
    batch.set_faces(np.repeat(np.arange(len(per_row)), per_row))
    batch.put("detection_score", np.arange(batch.n_faces) / 10)
    return batch


@given(st.lists(st.integers(0, 3), min_size=1, max_size=6), st.data())
def test_taking_apart_and_joining_gives_the_same_batch(per_row, data):
    batch = with_faces(per_row)
    cut = data.draw(st.integers(0, len(per_row)))
    joined = Batch.concat([batch.take(range(cut)), batch.take(range(cut, len(per_row)))])
    assert joined.rows["image_id"] == batch.rows["image_id"]
    np.testing.assert_array_equal(joined.face_row, batch.face_row)
    np.testing.assert_array_equal(joined.faces["detection_score"], batch.faces["detection_score"])


def test_face_index_counts_within_each_row():
    assert with_faces([2, 0, 3]).faces["face_index"].tolist() == [0, 1, 0, 1, 2]


def test_live_faces_need_a_live_row_and_a_live_face():
    batch = with_faces([2, 1])
    batch.mark_face(0, LOW_CONFIDENCE, "blurred")
    assert batch.live_faces().tolist() == [1, 2]
    batch.fail_row(1, "Test", ValueError("broken"))
    assert batch.live_faces().tolist() == [1]
    assert batch.rows["status"][1] == FAILED and batch.rows["error_message"][1] == "broken"


def test_put_with_an_index_leaves_the_others_blank_and_the_old_array_alone():
    batch = with_faces([3])
    before = batch.faces["detection_score"]
    batch.put("detection_score", np.array([9.0]), np.array([1]))
    np.testing.assert_allclose(batch.faces["detection_score"], [0, 9, 0.2])
    np.testing.assert_allclose(before, [0, 0.1, 0.2])
    batch.put("fit_rmse_px", np.array([1.0]), np.array([2]))
    np.testing.assert_array_equal(np.isnan(batch.faces["fit_rmse_px"]), [True, True, False])


def test_a_copy_can_change_without_the_original():
    batch = with_faces([1, 1])
    other = batch.copy()
    other.fail_row(0, "Test", ValueError("x"))
    other.mark_face(1, FAILED, "y")
    assert batch.live_faces().tolist() == [0, 1]


@pytest.mark.parametrize("values", [np.zeros((3, 3)), np.zeros(3), np.zeros((2, 4))])
def test_put_refuses_the_wrong_shape(values):
    with pytest.raises(ValueError, match="box_xyxy_px"):
        with_faces([3]).put("box_xyxy_px", values)


def test_concat_fills_columns_that_one_side_lacks():
    left, right = with_faces([1]), with_faces([2])
    left.put("crop", np.ones((1, 8, 8, 3), np.uint8))
    joined = Batch.concat([right, left])
    assert joined.faces["crop"].shape == (3, 8, 8, 3)
    assert joined.faces["crop"].sum(axis=(1, 2, 3)).tolist() == [0, 0, 192]
