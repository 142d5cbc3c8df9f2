"""The templates that ship are those that the command draws."""

import io

import numpy as np
from PIL import Image

from jobs.draw_templates import DRAWINGS, SIDE_YAW_DEG, TemplateArtist, png
from operators.synthesize.templates import template_set


def test_a_template_drawn_anew_is_the_one_that_ships():
    artist = TemplateArtist()
    drawing = next(drawing for drawing in DRAWINGS if drawing.section == "surgical_blue")
    for side, yaw_deg in (("front", 0.0), ("left", -SIDE_YAW_DEG)):
        drawn, shipped = artist(drawing, yaw_deg), template_set().pick("surgical_blue", side)
        assert np.abs(drawn.points - shipped.points).max() < 0.02
        assert drawn.rgba.shape[:2] == shipped.alpha.shape
        away = np.abs(drawn.rgba[..., 3].astype(int) - shipped.alpha)
        assert (away > 6).mean() < 1e-3
        solid = (drawn.rgba[..., 3] > 200) & (shipped.alpha > 200)
        assert np.abs(drawn.rgba[..., :3].astype(int) - shipped.colour)[solid].mean() < 1


def test_a_drawing_is_the_same_twice_and_its_png_keeps_every_pixel():
    drawing = next(drawing for drawing in DRAWINGS if drawing.section == "gas")
    first, second = (TemplateArtist()(drawing, 0.0) for _ in range(2))
    assert png(first) == png(second) and np.array_equal(first.points, second.points)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png(first)))), first.rgba)
    assert (first.rgba[0] == 0).all() and (first.rgba[..., 3] == 255).mean() > 0.3
