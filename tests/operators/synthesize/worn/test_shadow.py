"""Shadow on the skin: only there, darkest at the mask, away from the light."""

from __future__ import annotations

import numpy as np

from operators.morphable.light import frontal_light
from operators.synthesize.worn.shadow import contact_shadow, light_direction


def _scene() -> tuple[np.ndarray, np.ndarray]:
    alpha = np.zeros((100, 100), np.float32)
    alpha[40:60, 40:60] = 1
    return alpha, np.ones_like(alpha)


def test_it_falls_away_from_the_light() -> None:
    alpha, skin = _scene()
    light = frontal_light().numpy()
    light[1], light[3] = 0.3, -0.3  # from above and the viewer's left
    shade = contact_shadow(alpha, skin, light, 1.0, 1.0)
    assert shade[63, 50] < shade[36, 50] - 0.02 and shade[50, 63] < shade[50, 36] - 0.02
    assert light_direction(light)[0] < 0 < light_direction(light)[1]


def test_it_fades_and_falls_on_skin_alone() -> None:
    alpha, skin = _scene()
    skin[:, 62:] = 0
    shade = contact_shadow(alpha, skin, frontal_light().numpy(), 1.0, 1.0)
    assert shade[61, 50] < 0.95 and shade[95, 50] > 0.999 and (shade[:, 62:] == 1).all()
    assert shade.min() > 0.2 and shade.max() <= 1
    assert (contact_shadow(alpha, skin, frontal_light().numpy(), 1.0, 0.0) == 1).all()
