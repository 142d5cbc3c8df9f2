"""People who do not exist as an input: `people:200` draws two hundred portraits with everything about them known.

Each comes with JSON: coefficients of the face base, pose and landmarks, so that what a job makes of them can be measured.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

import numpy as np

from operators.faces.ibug68 import ibug68_from_mesh
from operators.images import encode
from operators.morphable.bases import load_basis
from operators.portrait import Portrait, PortraitMaker

_URI = re.compile(r"people:(\d+)(?:@(\d+))?")
_BASIS = "open_face"


def people_in(uri: str) -> tuple[int, int] | None:
    """How many people `people:COUNT` or `people:COUNT@FIRST` asks for, and the number of the first; None for any other input."""
    match = _URI.fullmatch(uri)
    return (int(match[1]), int(match[2] or 0)) if match else None


def person_name(number: int) -> str:
    """The key of a person."""
    return f"nobody-{number:06d}"


def draw_people(numbers: Iterable[int]) -> Iterator[tuple[bytes, str]]:
    """PNG and JSON of each: the same number is the same person in the same picture."""
    for number in numbers:
        portrait = _maker()(number)
        yield encode(portrait.image), json.dumps(_about(portrait, number))


def _about(portrait: Portrait, number: int) -> dict[str, object]:
    def plain(values: np.ndarray) -> list[object]:
        return np.round(values.astype(np.float64), 5).tolist()

    return {
        "subject": person_name(number),
        "group": "drawn",
        "drawn": {
            "basis": _BASIS,
            "identity": plain(portrait.identity),
            "expression": plain(portrait.expression),
            "albedo": plain(portrait.albedo),
            "rotation_deg": plain(portrait.rotation_deg),
            "crop_from_image": [[1, 0, 0], [0, 1, 0]],
            "landmarks68_px": plain(ibug68_from_mesh(portrait.landmarks_px[None])[0]),
        },
    }


@lru_cache(maxsize=1)
def _maker() -> PortraitMaker:
    return PortraitMaker(load_basis(_BASIS), most_yaw_deg=45.0)
