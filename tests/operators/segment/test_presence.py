import numpy as np

from operators.segment.presence import EVIDENCE_THRESHOLD, is_covered, occluder_evidence
from tests.operators.segment.drawn_faces import draw, landmarks

SKINS = ((225, 190, 170), (205, 160, 135), (160, 115, 90), (95, 65, 48))
COLOURS = ((240, 240, 240), (25, 25, 28), (120, 190, 225), (60, 140, 90))


def test_masks_of_any_colour_on_any_skin_give_more_evidence_than_bare_faces():
    points = landmarks()
    bare = np.stack([draw(points, skin)[0] for skin in SKINS])
    covered = np.stack([draw(points, skin, colour)[0] for skin in SKINS for colour in COLOURS])
    repeat = lambda n: np.repeat(points[None], n, 0)  # noqa: E731
    assert occluder_evidence(bare, repeat(len(bare))).max() < -1
    assert occluder_evidence(covered, repeat(len(covered))).min() > 1


def test_evidence_ignores_exposure():
    points = landmarks()
    picture = draw(points)[0]
    darker = (picture * 0.6).astype(np.uint8)
    first, second = occluder_evidence(np.stack([picture, darker]), np.repeat(points[None], 2, 0))
    assert abs(first - second) < 0.8


def test_an_occluder_that_looks_like_skin_or_is_empty_covers_nothing():
    points = landmarks()
    picture, truth = draw(points, mask=(120, 190, 225))
    bare = draw(points)[0]
    crops, spots = np.stack([picture, bare, picture]), np.repeat(points[None], 3, 0)
    occluders = np.stack([truth, truth, np.zeros_like(truth)])
    evidence = np.full(3, EVIDENCE_THRESHOLD)
    assert is_covered(evidence, crops, spots, occluders).tolist() == [True, False, False]
