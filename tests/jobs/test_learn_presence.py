import numpy as np
import pytest

from jobs.learn_presence import fit, learn, paint_masks, relight
from operators.segment.presence import landmark_colours, region_features
from tests.operators.segment.drawn_faces import draw, landmarks

SKINS = ((225, 190, 170), (205, 160, 135), (160, 115, 90), (110, 75, 55))


def portraits():
    points = np.repeat(landmarks()[None], len(SKINS), 0)
    colours = landmark_colours(np.stack([draw(points[0], skin, seed=i)[0] for i, skin in enumerate(SKINS)]), points)
    return colours, (points - points[:, 4:5]) / 90.0


def test_logistic_regression_meets_the_stationary_point_and_undoes_the_scaling():
    random = np.random.default_rng(0)
    features = random.normal(3, (1, 20, 0.1), (4000, 3))
    truth = np.array([1.5, -0.05, 4.0])
    labels = (random.random(4000) < 1 / (1 + np.exp(-(features @ truth - features.mean(0) @ truth)))).astype(float)
    weights = fit(features, labels, penalty=0.0)
    assert weights[:3] == pytest.approx(truth, rel=0.25)
    score = 1 / (1 + np.exp(-(features @ weights[:3] + weights[3])))
    assert np.abs((features - features.mean(0)).T @ (score - labels)).max() / 4000 < 1e-3


def test_paint_covers_the_mouth_and_leaves_the_brow():
    colours, positions = portraits()
    painted = paint_masks(colours, positions, np.random.default_rng(1))
    assert (np.abs(painted[:, 13] - colours[:, 13]).max(1) > 1).all()
    assert np.array_equal(painted[:, 9], colours[:, 9])


def test_what_is_learned_tells_painted_from_bare_and_repeats_itself():
    colours, positions = portraits()
    weights = learn(colours, positions, rounds=25, seed=0)
    assert weights.shape == (31,) and np.array_equal(weights, learn(colours, positions, rounds=25, seed=0))
    random = np.random.default_rng(9)

    def evidence(faces):
        regions = region_features(relight(faces, positions, random)).reshape(len(faces), -1)
        return np.concatenate([regions, np.abs(regions)], 1) @ weights[:-1] + weights[-1]

    bare = np.concatenate([evidence(colours) for _ in range(25)])
    painted = np.concatenate([evidence(paint_masks(colours, positions, random)) for _ in range(25)])
    assert (bare < 0).mean() > 0.85 and (painted > 0).mean() > 0.85
