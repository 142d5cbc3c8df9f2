"""Folders of mask templates, and the map that bends one onto a face."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from operators.synthesize.base import MASK_TYPES
from operators.synthesize.six_points import six_points
from operators.synthesize.templates import SHIPPED, TemplateError, TemplateSet, homography, template_set
from tests.operators.synthesize import template_folder
from tests.operators.synthesize.faces import face68


@pytest.fixture
def folder(tmp_path):
    return template_folder.make(tmp_path)


@pytest.mark.parametrize("prefix", ["masks/templates", "templates", "elsewhere/templates"])
def test_a_folder_of_mask_the_face_is_read(tmp_path, prefix):
    templates = TemplateSet(template_folder.make(tmp_path, prefix))
    assert set(templates.types) == {"surgical", "surgical_blue", "n95"}
    template = templates.pick("N95")
    assert template.colour.shape == (56, 80, 3) and tuple(template.colour[15, 40]) == template_folder.COLOURS["N95"]
    assert template.points.tolist() == [list(template_folder.POINTS[letter]) for letter in "abcfed"]
    assert template.alpha[0, 0] == 0 and template.alpha[15, 40] == 255


def test_sides_have_their_own_picture_or_the_front_one(folder):
    templates = TemplateSet(folder)
    assert templates.pick("surgical_blue", "left").name == "surgical_blue_left"
    assert templates.pick("surgical_blue", "right").name == "surgical_blue"
    assert templates.pick("surgical_white").name == "surgical" and "surgical_white" in templates


def test_what_is_wrong_with_a_folder_is_said(tmp_path, folder):
    with pytest.raises(TemplateError, match=r"no masks\.cfg"):
        TemplateSet(tmp_path)
    with pytest.raises(ValueError, match="expected one of surgical, surgical_blue, n95, got 'gas'"):
        TemplateSet(folder).pick("gas")
    (folder / "templates" / "N95.png").write_bytes(b"no picture")
    with pytest.raises(TemplateError, match=r"N95\.png"):
        TemplateSet(folder).pick("n95")
    (folder / "templates" / "N95.png").unlink()
    with pytest.raises(TemplateError, match=r"N95\.png"):
        TemplateSet(folder).pick("n95")
    config = folder / "masks.cfg"
    config.write_text(config.read_text().replace("mask_e: 40, 50", "mask_e: forty, 50", 1))
    with pytest.raises(TemplateError, match=r"\[surgical\]: expected mask_a"):
        TemplateSet(folder)
    config.write_text("template = x\n")
    with pytest.raises(TemplateError, match=r"masks\.cfg"):
        TemplateSet(folder)


def test_a_template_without_alpha_is_refused(folder):
    from operators.codec import encode

    (folder / "templates" / "N95.png").write_bytes(encode(np.zeros((8, 8, 3), np.uint8)))
    with pytest.raises(TemplateError, match="no alpha"):
        TemplateSet(folder).pick("n95")


@pytest.mark.parametrize("type", MASK_TYPES)
def test_every_type_of_mask_ships_from_three_sides(type):
    templates = template_set()
    front, left, right = (templates.pick(type, side) for side in ("front", "left", "right"))
    assert len({front.name, left.name, right.name}) == 3
    for template in (front, left, right):
        height, width = template.alpha.shape
        assert 300 <= max(height, width) <= 1000 and (template.alpha > 200).mean() > 0.3
        a, b, c, f, e, d = template.points
        assert a[0] < c[0] and d[0] < f[0] and b[1] < e[1] and a[1] < d[1] and c[1] < f[1]
        nose_to_chin = np.round(np.linspace(b, e, 9)[1:-1]).astype(int)
        assert (template.alpha[nose_to_chin[:, 1], nose_to_chin[:, 0]] > 200).all()
    assert left.points[1, 0] / left.alpha.shape[1] < 0.45 < 0.55 < right.points[1, 0] / right.alpha.shape[1]


def test_what_ships_stays_small():
    assert sum(file.stat().st_size for file in SHIPPED.rglob("*") if file.is_file()) < 1_500_000


def test_a_perspective_map_is_found_again():
    points = np.array([[0, 0], [50, -5], [100, 0], [90, 60], [50, 90], [10, 60]], np.float64)
    truth = np.array([[1.1, 0.1, 20], [-0.05, 0.9, 30], [4e-4, -3e-4, 1]])
    target = np.c_[points, np.ones(6)] @ truth.T
    found = homography(points, target[:, :2] / target[:, 2:], (100, 90))
    assert found is not None and np.allclose(found, truth, atol=1e-9)


def test_the_map_of_a_face_is_the_least_squares_one(folder):
    template, six = TemplateSet(folder).pick("n95"), six_points(face68(turn=0.1, roll_deg=8))
    found = homography(template.points, six.points_px, (80, 56))
    assert found is not None

    def error(matrix: np.ndarray) -> float:
        at = np.c_[template.points, np.ones(6)] @ matrix.T
        return float(np.square(at[:, :2] / at[:, 2:] - six.points_px).sum())

    rng = np.random.default_rng(1)
    least = error(found)
    assert least < 60**2 * 0.05
    for _ in range(50):
        assert error(found * (1 + 1e-4 * rng.standard_normal((3, 3)))) > least


def test_points_that_would_fold_the_picture_give_an_affine_map():
    points = np.array([list(template_folder.POINTS[letter]) for letter in "abcfed"], np.float64)
    crossed = points.copy()
    crossed[[3, 5]] = crossed[[5, 3]]
    found = homography(points, crossed, (80, 56))
    assert found is not None and found[2].tolist() == [0, 0, 1]


@given(arrays.arrays(np.float64, (6, 2), elements=st.floats(-1e5, 1e5) | st.just(3.0) | st.just(float("nan"))))
def test_any_target_is_answered(target):
    points = np.array([list(template_folder.POINTS[letter]) for letter in "abcfed"], np.float64)
    found = homography(points, target, (80, 56))
    assert found is None or np.isfinite(found).all()
