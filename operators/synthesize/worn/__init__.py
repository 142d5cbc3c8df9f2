"""Masks that lie on the fitted face: they turn and bulge with the head, and the photo's own light falls on them."""

from __future__ import annotations

from operators.synthesize.worn.fitted import FittedFace
from operators.synthesize.worn.style import WearStyle
from operators.synthesize.worn.wearer import MaskWearer, Worn

__all__ = ["FittedFace", "MaskWearer", "WearStyle", "Worn"]
