import cv2
import numpy as np
import pytest

from operators import masks
from operators.segment.grabcut import GrabcutSegmenter
from operators.segment.regions import OVAL, polygons
from operators.types import REJECTED
from tests.operators.segment.drawn_faces import SIZE, batch_of, draw, landmarks

COVERED = (
    {"skin": (205, 160, 135), "mask": (235, 235, 240)},
    {"skin": (205, 160, 135), "mask": (30, 30, 32), "angle": 12.0},
    {"skin": (110, 75, 55), "mask": (120, 190, 225), "angle": -15.0},
    {"skin": (90, 60, 45), "mask": (15, 15, 18)},
    {"skin": (225, 190, 170), "mask": (170, 60, 70), "angle": 5.0},
)
BARE = ({"skin": (110, 75, 55)}, {"skin": (205, 160, 135), "angle": 10.0}, {"skin": (225, 190, 170)})


def scenes(kinds):
    points = [landmarks(angle_deg=kind.get("angle", 0.0)) for kind in kinds]
    drawn = [draw(p, kind["skin"], kind.get("mask"), seed=i) for i, (p, kind) in enumerate(zip(points, kinds, strict=True))]
    return [picture for picture, _ in drawn], points, np.stack([truth for _, truth in drawn])


def test_finds_masks_of_every_colour():
    pictures, points, truth = scenes(COVERED)
    faces = GrabcutSegmenter()(batch_of(pictures, points)).faces
    assert masks.iou(faces["occluder"], truth).min() > 0.94
    assert (faces["occluder_stability"] > 0.9).all() and (faces["occluder_stability"] <= 1).all()
    assert np.isnan(faces["occluder_iou"]).all() and np.isnan(faces["visible_face_iou"]).all()


def test_bare_faces_have_no_occluder():
    pictures, points, _ = scenes(BARE)
    faces = GrabcutSegmenter()(batch_of(pictures, points)).faces
    assert not faces["occluder"].any()
    assert np.isnan(faces["occluder_stability"]).all()


def test_visible_face_is_skin_inside_the_oval_and_apart_from_the_occluder():
    pictures, points, truth = scenes(COVERED + BARE)
    faces = GrabcutSegmenter()(batch_of(pictures, points)).faces
    oval = polygons(np.stack(points)[:, OVAL], SIZE)
    visible = faces["visible_face"]
    assert not np.any(visible & ~oval) and not np.any(visible & truth) and not np.any(visible & faces["occluder"])
    assert (visible.sum((1, 2)) > 0.4 * (oval & ~truth).sum((1, 2))).all()
    for i, kind in enumerate(COVERED + BARE):
        assert np.abs(np.median(pictures[i][visible[i]], 0) - kind["skin"]).max() < 6


def test_straps_are_left_out():
    pictures, points, truth = scenes(COVERED[:1])
    picture = pictures[0].copy()
    cv2.line(picture, (75, 110), (40, 90), (235, 235, 240), 3)
    occluder = GrabcutSegmenter()(batch_of([picture], points)).faces["occluder"]
    assert masks.iou(occluder, truth)[0] > 0.93 and not occluder[0, 80:100, 30:55].any()


def test_a_batch_equals_its_faces_alone_and_repeats_itself():
    pictures, points, _ = scenes(COVERED[:3] + BARE[:1])
    segmenter = GrabcutSegmenter()
    together, again = (segmenter(batch_of(pictures, points)).faces for _ in range(2))
    for name in GrabcutSegmenter.info.writes:
        assert np.array_equal(together[name], again[name], equal_nan=together[name].dtype.kind == "f")
        for i in range(len(pictures)):
            alone = segmenter(batch_of(pictures[i : i + 1], points[i : i + 1])).faces[name][0]
            assert np.array_equal(alone, together[name][i], equal_nan=alone.dtype.kind == "f")


def test_a_given_mask_overrides_and_its_faces_are_sure():
    pictures, points, _ = scenes(COVERED[:2])
    given = np.zeros((SIZE, SIZE), np.uint8)
    given[120:150, 100:150] = 255
    data = [cv2.imencode(".png", given)[1].tobytes(), None]
    faces = GrabcutSegmenter()(batch_of(pictures, points, given_mask_bytes=data)).faces
    assert np.array_equal(faces["occluder"][0], given > 0)
    assert faces["occluder_iou"][0] == 1 and faces["occluder_stability"][0] == 1
    assert faces["occluder"][1].sum() > 4000


def test_only_live_faces_and_valid_pixels_are_written():
    pictures, points, _ = scenes(COVERED[:2])
    batch = batch_of(pictures, points)
    valid = np.ones((2, SIZE, SIZE), bool)
    valid[1, :, :128] = False
    batch.put("crop_valid", valid)
    batch.mark_face(0, REJECTED, "not this one")
    faces = GrabcutSegmenter()(batch).faces
    assert not faces["occluder"][0].any() and np.isnan(faces["visible_face_stability"][0])
    assert faces["occluder"][1].any() and not faces["occluder"][1, :, :128].any()


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (128, 100, 90)])
def test_a_picture_of_one_colour_is_survived(colour):
    faces = GrabcutSegmenter()(batch_of([np.full((SIZE, SIZE, 3), colour, np.uint8)], [landmarks()])).faces
    assert not faces["occluder"].any()
