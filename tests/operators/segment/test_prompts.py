import numpy as np

from operators.segment.prompts import eye_line_and_scale, face_prompts, landmarks_in_crop, occluder_prompts
from tests.operators.segment.drawn_faces import SIZE, batch_of, draw, landmarks


def test_landmarks_follow_the_crop_transform():
    points = [landmarks(), landmarks(angle_deg=20)]
    batch = batch_of([draw(p)[0] for p in points], points)
    batch.put("crop_from_image", np.array([[[2, 0, 5], [0, 2, -3]], [[0, -1, 0], [1, 0, 0]]], np.float32))
    mapped = landmarks_in_crop(batch, np.array([0, 1]))
    assert np.allclose(mapped[0], points[0] * 2 + (5, -3), atol=1e-4)
    assert np.allclose(mapped[1], np.stack([-points[1][:, 1], points[1][:, 0]], 1), atol=1e-4)


def test_occluder_prompt_covers_the_lower_face_only():
    points = landmarks()
    prompts = occluder_prompts(points[None], SIZE)
    x0, y0, x1, y1 = prompts.box_xyxy_px[0]
    inside = lambda p: (p[:, 0] > x0) & (p[:, 0] < x1) & (p[:, 1] > y0) & (p[:, 1] < y1)  # noqa: E731
    wanted, unwanted = (prompts.points_px[0][prompts.labels[0] == label] for label in (1, 0))
    assert inside(wanted).all() and len(wanted) >= 5
    assert not inside(unwanted).any() and len(unwanted) >= 5
    assert y1 > points[152, 1] and x0 < points[234, 0] and x1 > points[454, 0]


def test_face_prompt_is_the_complement():
    points = landmarks(angle_deg=10)[None]
    occluder, face = occluder_prompts(points, SIZE), face_prompts(points, SIZE)
    as_set = lambda prompts, label: {tuple(p) for p in prompts.points_px[0][prompts.labels[0] == label]}  # noqa: E731
    assert as_set(occluder, 1) == as_set(face, 0) and as_set(occluder, 0) == as_set(face, 1)
    assert occluder.points_px.shape == face.points_px.shape
    assert face.box_xyxy_px[0, 1] < occluder.box_xyxy_px[0, 1]


def test_prompts_stay_inside_the_crop_and_do_not_depend_on_the_batch():
    many = np.stack([landmarks(), landmarks(unit=200.0), landmarks((10.0, 10.0))])
    together = occluder_prompts(many, SIZE)
    assert len(together) == 3
    assert together.points_px.min() >= 0 and together.points_px.max() <= SIZE
    assert together.box_xyxy_px.min() >= 0 and together.box_xyxy_px.max() <= SIZE
    for i in range(3):
        alone = occluder_prompts(many[i : i + 1], SIZE)
        assert np.array_equal(alone.points_px[0], together.points_px[i])
        assert np.array_equal(alone.box_xyxy_px[0], together.box_xyxy_px[i])


def test_the_ruler_runs_from_eyes_to_chin():
    eyes, down = eye_line_and_scale(landmarks((128.0, 95.0), 90.0)[None])
    assert np.allclose(eyes[0], (128, 95), atol=0.5) and np.allclose(down[0], (0, 90), atol=0.5)
