"""The templates that ship are those that the command draws."""

import io

import numpy as np
from PIL import Image

from jobs.draw_templates import DRAWINGS, SIDE_YAW_DEG, TemplateArtist, png
from operators.synthesize.templates import template_set


def test_a_template_drawn_anew_hangs_on_the_same_points_and_looks_like_the_one_that_ships():
    """How masks are drawn may change in detail; then `python -m jobs.draw_templates` makes the templates anew."""
    artist = TemplateArtist()
    drawing = next(drawing for drawing in DRAWINGS if drawing.section == "surgical_blue")
    for side, yaw_deg in (("front", 0.0), ("left", -SIDE_YAW_DEG)):
        drawn, shipped = artist(drawing, yaw_deg), template_set().pick("surgical_blue", side)
        by = np.round(shipped.points[1] - drawn.points[1]).astype(int)
        assert np.abs(drawn.points + by - shipped.points).max() < 0.6
        height, width = np.minimum(drawn.rgba.shape[:2], shipped.alpha.shape) - np.abs(by[::-1])
        (x, y), (u, v) = np.maximum(-by, 0), np.maximum(by, 0)
        one, other = drawn.rgba[y : y + height, x : x + width], shipped.alpha[v : v + height, u : u + width]
        solid, also = one[..., 3] > 200, other > 200
        assert (solid & also).sum() / (solid | also).sum() > 0.95
        colour = shipped.colour[v : v + height, u : u + width]
        assert np.abs(one[..., :3].astype(int) - colour)[solid & also].mean() < 12


def test_a_drawing_is_the_same_twice_and_its_png_keeps_every_pixel():
    drawing = next(drawing for drawing in DRAWINGS if drawing.section == "gas")
    first, second = (TemplateArtist()(drawing, 0.0) for _ in range(2))
    assert png(first) == png(second) and np.array_equal(first.points, second.points)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png(first)))), first.rgba)
    assert (first.rgba[0] == 0).all() and (first.rgba[..., 3] == 255).mean() > 0.3
