"""From the face frame to the photo: the fit's own camera, corrected where the photo's landmarks lie elsewhere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from operators.synthesize.worn.view import View, covered_share, hull
from tests.operators.synthesize.worn.people import SIZE, face, wearer


def _head(fitted):
    return wearer().maker(np.concatenate((fitted.identity, fitted.expression)))


def test_landmarks_come_out_where_the_photo_has_them() -> None:
    for yaw, roll in ((0.0, 0.0), (30.0, 10.0)):
        fitted = face(yaw)
        angle = np.radians(roll)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        moved = fitted.landmarks468_px @ turn.T * 1.5 + (20, -9)
        back = np.linalg.inv(np.vstack((np.column_stack((1.5 * turn, (20, -9))), (0, 0, 1))))[:2].astype(np.float32)
        placed = replace(fitted, crop_from_image=back, landmarks468_px=moved.astype(np.float32))
        head = _head(placed)
        view = View.of(head, placed, 1.0)
        assert np.abs(view.place(head, head.landmarks)[:, :2] - moved).max() < 0.2
        assert abs(view.px_per_mm / View.of(head, fitted, 1.0).px_per_mm - 1.5) < 1e-3


def test_what_the_fit_left_over_is_put_right_smoothly() -> None:
    fitted = face()
    head = _head(fitted)
    shifted = replace(fitted, landmarks468_px=fitted.landmarks468_px + np.array([3, -5], np.float32))
    before, after = (View.of(head, f, 1.0).place(head, head.landmarks)[:, :2] for f in (fitted, shifted))
    facing = np.abs(head.angles(head.landmarks)[:, 0]) < 60
    assert np.abs((after - before)[facing] - (3, -5)).max() < 0.6


def test_the_hull_holds_the_landmarks_and_coverage_is_its_hidden_share() -> None:
    landmarks = face().landmarks468_px
    inside = hull(landmarks, SIZE, SIZE)
    assert inside[landmarks[4, 1].astype(int), landmarks[4, 0].astype(int)] and not inside[0, 0]
    alpha = inside.astype(np.float32)
    assert covered_share(alpha, landmarks) == 1
    alpha[: int(landmarks[4, 1])] = 0.4
    assert 0.2 < covered_share(alpha, landmarks) < 0.7
    assert covered_share(alpha, landmarks + 10 * SIZE) == 0
