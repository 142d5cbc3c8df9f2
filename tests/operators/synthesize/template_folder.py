"""A folder of mask templates in MaskTheFace's format, as small as one can be."""

from pathlib import Path

import numpy as np

from operators.codec import encode

POINTS = {"a": (4, 12), "b": (40, 4), "c": (75, 12), "d": (10, 34), "e": (40, 50), "f": (69, 34)}
COLOURS = {
    "surgical": (230, 232, 228),
    "surgical_blue": (120, 180, 220),
    "surgical_blue_left": (10, 200, 30),
    "N95": (200, 190, 180),
}


def picture(colour: tuple[int, int, int], height: int = 56, width: int = 80) -> bytes:
    """A shield of one colour with a darker stripe, on transparent ground."""
    y, x = np.mgrid[:height, :width]
    inside = np.hypot((x - 40) / 37, (y - 20) / 32) < 1
    rgb = np.zeros((height, width, 3), np.uint8)
    rgb[:] = colour
    rgb[28:31] = (np.array(colour) * 0.6).astype(np.uint8)
    return encode(rgb, "PNG", alpha=(inside & (y > 4)).astype(np.uint8) * 255)


def make(folder: Path, prefix: str = "masks/templates") -> Path:
    """Writes the folder `masks` there, and returns it."""
    masks = folder / "masks"
    (masks / "templates").mkdir(parents=True)
    lines = []
    for name, colour in COLOURS.items():
        (masks / "templates" / f"{name}.png").write_bytes(picture(colour))
        lines += [f"[{name}]", f"template: {prefix}/{name}.png"]
        lines += [f"mask_{letter}: {x}, {y}" for letter, (x, y) in POINTS.items()]
    lines += ["[empty]", "[empty_left]"]
    (masks / "masks.cfg").write_text("\n".join(lines))
    return masks
