"""iBUG-68 points of a schematic face, for tests."""

import numpy as np


def face68(centre=(100.0, 100.0), size: float = 60.0, turn: float = 0.0, roll_deg: float = 0.0) -> np.ndarray:
    """(68, 2); `size` is half the face's width, `turn` moves the nose's tip sideways by that share of it,
    and the mouth a little less."""
    angle = np.pi * (1 - np.arange(17) / 16)
    jaw = np.stack([np.cos(angle), 1.15 * np.sin(angle)], 1)
    brows = np.stack([np.r_[np.linspace(-0.8, -0.2, 5), np.linspace(0.2, 0.8, 5)], np.full(10, -0.55)], 1)
    bridge = np.stack([turn * np.linspace(0.4, 1, 4), np.linspace(-0.3, 0.2, 4)], 1)
    nose = np.stack([np.linspace(-0.2, 0.2, 5) + turn, np.full(5, 0.3)], 1)
    ring = 2 * np.pi * np.arange(6) / 6
    eyes = [np.stack([x - 0.15 * np.cos(ring), -0.3 - 0.08 * np.sin(ring)], 1) for x in (-0.45, 0.45)]
    outer, inner = 2 * np.pi * np.arange(12) / 12, 2 * np.pi * np.arange(8) / 8
    mouth = [np.stack([0.7 * turn - r * np.cos(a), 0.6 - 0.5 * r * np.sin(a)], 1) for r, a in ((0.35, outer), (0.25, inner))]
    face = np.concatenate([jaw, brows, bridge, nose, *eyes, *mouth]) * size
    cos, sin = np.cos(np.radians(roll_deg)), np.sin(np.radians(roll_deg))
    return face @ np.array([[cos, sin], [-sin, cos]]) + np.asarray(centre)
