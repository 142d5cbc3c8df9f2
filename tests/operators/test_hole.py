import cv2
import numpy as np
import pytest

from operators import masks
from operators.edges import canny
from operators.hole import HolePlanner, HolePlannerConfig, plan_hole
from operators.segment.regions import OVAL, polygons
from operators.types import NOTHING_TO_FILL, OK
from tests.operators.segment.drawn_faces import SIZE, batch_of, draw, landmarks

UNIT = 90.0


def planned(count=1, occluder=None, rows=None, **faces):
    points = [landmarks() for _ in range(count)]
    drawn = [draw(p, mask=(120, 190, 225)) for p in points]
    batch = batch_of([picture for picture, _ in drawn], points, rows)
    batch.put("occluder", np.stack([truth for _, truth in drawn]) if occluder is None else occluder)
    for name, values in faces.items():
        batch.put(name, values)
    return HolePlanner()(batch)


def test_the_hole_holds_the_occluder_with_its_margin_and_no_eye():
    batch = planned()
    occluder, hole = batch.faces["occluder"], batch.faces["hole"]
    assert not np.any(masks.dilate(occluder, 0.04 * UNIT) & ~hole)
    assert not np.any(hole & ~masks.dilate(occluder, 0.09 * UNIT))
    eyes = [33, 159, 145, 133, 263, 386, 374, 362]
    at = landmarks()[eyes].astype(int)
    assert not hole[0, at[:, 1], at[:, 0]].any()
    assert batch.rows["status"] == [OK]


def test_the_occluder_beyond_the_face_goes_too_but_straps_and_strangers_stay():
    occluder = np.zeros((1, SIZE, SIZE), np.uint8)
    cv2.circle(occluder[0], (128, 165), 50, 1, -1)
    bulge = occluder.astype(bool).copy()
    cv2.line(occluder[0], (160, 150), (250, 120), 1, 3)
    cv2.circle(occluder[0], (30, 230), 12, 1, -1)
    hole = planned(occluder=occluder > 0).faces["hole"][0]
    assert hole[bulge[0]].all()
    assert not hole[115:130, 225:250].any() and not hole[215:245, 15:45].any()


def test_reach_limits_how_far_outside_the_face_the_hole_goes():
    occluder = np.zeros((1, SIZE, SIZE), bool)
    occluder[0, 120:250, 90:170] = True
    face = polygons(landmarks()[None, OVAL], SIZE)
    none, unit = np.zeros_like(face), np.array([UNIT])
    near, far = (plan_hole(occluder, face, none, unit, HolePlannerConfig(reach=reach)) for reach in (0.1, 2.0))
    assert not near[0, 245].any() and far[0, 245].any() and not np.any(near & ~far)


def test_coverage_is_the_covered_share_of_the_projected_face():
    face, occluder = np.zeros((1, SIZE, SIZE), bool), np.zeros((1, SIZE, SIZE), bool)
    face[0, 50:150, 80:180], occluder[0, 120:170, 80:180] = True, True
    batch = planned(occluder=occluder, render_mask=face, render=np.zeros((1, SIZE, SIZE, 3), np.uint8))
    assert batch.faces["mask_coverage"][0] == pytest.approx(0.3)


def test_nothing_to_fill_marks_the_face_and_the_row_only_when_no_face_is_left():
    truth = draw(landmarks(), mask=(120, 190, 225))[1]
    empty = np.zeros_like(truth)
    batch = planned(3, occluder=np.stack([truth, empty, empty]), rows=[0, 0, 1])
    assert batch.faces["face_status"].tolist() == [OK, NOTHING_TO_FILL, NOTHING_TO_FILL]
    assert "nothing to fill" in batch.faces["face_message"][1]
    assert batch.rows["status"] == [OK, NOTHING_TO_FILL] and batch.rows["error_operator"][1] == "HolePlanner"
    assert batch.faces["hole"][0].any() and not batch.faces["hole"][1:].any()


def test_a_dead_face_does_not_keep_its_row_alive():
    truth = draw(landmarks(), mask=(120, 190, 225))[1]
    points = [landmarks(), landmarks()]
    batch = batch_of([draw(p)[0] for p in points], points, rows=[0, 0])
    batch.put("occluder", np.stack([np.zeros_like(truth), truth]))
    batch.mark_face(1, "low_confidence", "blurred")
    batch = HolePlanner()(batch)
    assert batch.rows["status"] == [NOTHING_TO_FILL] and batch.faces["face_status"][1] == "low_confidence"


def test_pixels_outside_the_photo_are_never_filled():
    valid = np.ones((1, SIZE, SIZE), bool)
    valid[0, 160:] = False
    assert not planned(crop_valid=valid).faces["hole"][0, 160:].any()


def test_edges_come_from_the_render_inside_and_from_the_photo_outside_without_a_seam():
    render = np.full((1, SIZE, SIZE, 3), 90, np.uint8)
    render[0, 150:165, 110:146] = 220
    batch = planned(render=render, render_mask=np.ones((1, SIZE, SIZE), bool))
    hole, edges = batch.faces["hole"], batch.faces["edge_map"]
    assert np.array_equal(edges & hole, canny(render, 2.0) & hole) and (edges & hole).any()
    assert np.array_equal(edges & ~masks.dilate(hole, 3), canny(batch.faces["crop"], 2.0) & ~masks.dilate(hole, 3))
    assert not np.any(edges & masks.dilate(hole, 2.9) & ~hole)


def test_without_a_render_the_hole_has_no_edges():
    batch = planned()
    assert not np.any(batch.faces["edge_map"] & batch.faces["hole"]) and batch.faces["edge_map"].any()


def test_edges_that_views_agree_on_take_the_place_of_one_views_but_for_its_outline():
    face = np.zeros((1, SIZE, SIZE), bool)
    face[0, 60:200, 70:190] = True
    render = np.where(face[..., None], np.uint8(90), np.uint8(0)).repeat(3, -1)
    render[0, 150:165, 110:146] = 220
    votes = np.zeros((1, SIZE, SIZE), np.uint8)
    votes[0, 175:178, 110:150], votes[0, 140:143, 110:150] = 200, 60
    batch = planned(render=render, render_mask=face, edge_votes=votes)
    edges = batch.faces["edge_map"] & batch.faces["hole"]
    assert edges[0, 176, 114:146].all()
    assert not edges[0, 140:170, 100:160].any()  # that of this view alone, and that of too few
    outline = canny(render, 2.0) & batch.faces["hole"] & ~masks.erode(face, 4)
    assert outline.any() and np.all(edges[outline])


def test_a_batch_equals_its_faces_alone():
    occluders = np.stack([draw(landmarks(), mask=(1, 1, 1))[1], masks.dilate(draw(landmarks(), mask=(1, 1, 1))[1][None], 6)[0]])
    together = planned(2, occluder=occluders).faces
    for i in range(2):
        alone = planned(1, occluder=occluders[i : i + 1]).faces
        for name in HolePlanner.info.writes:
            assert np.array_equal(alone[name][0], together[name][i])


def test_a_given_mask_keeps_its_outline():
    occluder, face = np.zeros((2, 64, 64), bool), np.zeros((2, 64, 64), bool)
    face[:, 8:56, 12:52] = True
    occluder[:, 30:50, 16:30] = occluder[:, 30:50, 34:48] = True  # a notch of 4 pixels between two halves
    none, unit = np.zeros_like(face), np.full(2, 40.0)
    grown, kept = plan_hole(occluder, face, none, unit, HolePlannerConfig(), np.array([False, True]))
    assert (kept == occluder[1]).all()
    assert grown[40, 31:33].all() and grown.sum() > kept.sum()
