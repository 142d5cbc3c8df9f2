"""Pairs of picture and mask, made alike for training: converted, cropped, resized; what cannot be a pair says why."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from operators.batch import Batch
from operators.codec import decode_rgb, encode, icc_profile
from operators.image_header import ImageError
from operators.provenance import SourceType, read_provenance, xmp_packet
from operators.types import OK, REJECTED, OperatorConfig, OperatorInfo, option

Box = tuple[int, int, int, int]
Polarity = Literal["white", "black"]
_SAME_SHAPE = 0.02  # aspect ratios that differ by no more are the same picture at another size


@dataclass(frozen=True)
class PairPreparerConfig(OperatorConfig):
    """How pairs are cut, resized and written, and which are left out."""

    size_px: int = option(256, "side of a square crop, or shorter side of an uncropped picture; 0 keeps the size")
    crop: Literal["none", "centre", "face", "mask"] = option(
        "centre", "what is cut out: nothing, the middle square, the square around the face or around the mask"
    )
    margin: float = option(0.3, "room around the face or the mask on each side, as a share of its box")
    format: Literal["png", "jpeg"] = option("png", "file format of pictures; masks are always PNG")
    quality: int = option(95, "JPEG quality")
    hole_in: Polarity = option("white", "what the hole is in the masks that are read (MAT and Triple-Dots: black)")
    hole_out: Polarity = option("white", "what the hole is in the masks that are written")
    min_side_px: int = option(64, "pairs whose crop has a shorter side are left out")
    min_hole: float = option(0.001, "pairs whose hole is a smaller share of the crop are left out")
    max_hole: float = option(0.95, "pairs whose hole is a larger share of the crop are left out")

    def __post_init__(self) -> None:
        if self.size_px < 0 or not 0 <= self.min_hole <= self.max_hole <= 1 or not 0 <= self.margin < 10:
            raise ValueError(
                f"expected size_px >= 0, margin in [0, 10) and 0 <= min_hole <= max_hole <= 1, got size_px = {self.size_px}, "
                f"margin = {self.margin}, min_hole = {self.min_hole}, max_hole = {self.max_hole}"
            )


class PairError(ValueError):
    """A row that cannot become a pair; `status` is what the row becomes."""

    status = REJECTED


class NoPartnerError(PairError):
    """A picture without a mask."""


class PairShapeError(PairError):
    """Picture and mask, or picture and truth, that are not of one shape."""


class PairTooSmallError(PairError):
    """A crop with too few pixels."""


class NoFaceBoxError(PairError):
    """A crop around the face was asked for, and no face was found."""


class EmptyMaskError(PairError):
    """A mask with hardly any hole in the crop."""


class FullMaskError(PairError):
    """A mask that leaves hardly anything of the crop."""


class PairPreparer:
    """Writes `sample_bytes` of every live row that is a pair: `png` (or `jpg`), `mask.png`, `truth.png` where the truth came
    along, and `json` with the crop; every other row is rejected and says why.

    A crop around the face needs `FaceDetector` before it. Pictures shrink by area averages and grow by Lanczos; a mask's pixel
    is hole where at least half of what it covers is.
    """

    info: ClassVar[OperatorInfo] = OperatorInfo(
        name="PairPreparer", version="1", reads=("image_bytes", "given_mask_bytes", "truth_bytes"), writes=("sample_bytes",)
    )

    def __init__(self, config: PairPreparerConfig = PairPreparerConfig(), assets: Any = None, device: str = "cpu"):
        self.config = config

    def __call__(self, batch: Batch) -> Batch:
        samples: list[dict[str, bytes] | None] = list(batch.rows.get("sample_bytes") or [None] * len(batch))
        batch.rows["sample_bytes"] = samples
        for i in batch.live_rows():
            try:
                samples[i] = self._sample(batch, int(i))
            except (PairError, ImageError) as error:
                batch.mark_row(i, error.status, self.info.name, type(error).__name__, str(error))
        return batch

    def _sample(self, batch: Batch, i: int) -> dict[str, bytes]:
        config = self.config
        data = batch.rows["given_mask_bytes"][i]
        if not data:
            raise NoPartnerError("no mask came with this picture: put KEY.mask.png beside it")
        image = batch.frame(i)
        height, width = image.shape[:2]
        hole = hole_of(decode_rgb(data, batch.limits), config.hole_in)
        _same_shape("mask", hole.shape, (height, width))
        hole = scaled_hole(hole, (height, width))
        truth = batch.rows["truth_bytes"][i] if "truth_bytes" in batch.rows else None
        box = self._box(batch, i, hole)
        cut = np.s_[box[1] : box[3], box[0] : box[2]]
        sides = (box[3] - box[1], box[2] - box[0])
        if min(sides) < max(config.min_side_px, 1):
            raise PairTooSmallError(f"the crop has {sides[1]} x {sides[0]} pixels, fewer than min_side_px = {config.min_side_px}")
        shape = _target(sides, config.size_px)
        small_hole = scaled_hole(hole[cut], shape)
        share = float(small_hole.mean())
        if share < config.min_hole or not small_hole.any():
            raise EmptyMaskError(
                f"{share:.2%} of the crop is hole, less than min_hole = {config.min_hole:.2%}: is hole_in right?"
            )
        if share > config.max_hole:
            raise FullMaskError(f"{share:.1%} of the crop is hole, more than max_hole = {config.max_hole:.1%}: is hole_in right?")
        suffix = "jpg" if config.format == "jpeg" else "png"
        sample = {suffix: self._encoded(scaled_picture(image[cut], shape), batch.rows["image_bytes"][i])}
        sample["mask.png"] = encode(small_hole == (config.hole_out == "white"), "PNG")
        if truth:
            picture = decode_rgb(truth, batch.limits)
            _same_shape("truth", picture.shape[:2], (height, width))
            picture = scaled_picture(picture, (height, width))
            sample[f"truth.{suffix}"] = self._encoded(scaled_picture(picture[cut], shape), truth)
        about = {"crop_xyxy_px": box, "height_px": height, "hole_fraction": round(share, 6), "width_px": width}
        sample["json"] = (json.dumps(about, sort_keys=True) + "\n").encode()
        return sample

    def _encoded(self, picture: np.ndarray, source: bytes) -> bytes:
        return encode(picture, self.config.format, quality=self.config.quality, icc=icc_profile(source), xmp=_mark_of(source))

    def _box(self, batch: Batch, i: int, hole: np.ndarray) -> Box:
        height, width = hole.shape
        if self.config.crop == "none":
            return 0, 0, width, height
        if self.config.crop == "centre":
            return square_within((width / 2, height / 2), float(min(width, height)), width, height)
        if self.config.crop == "mask":
            if not hole.any():
                raise EmptyMaskError("the mask has no hole: is hole_in right?")
            rows, columns = np.flatnonzero(hole.any(1)), np.flatnonzero(hole.any(0))
            x0, y0, x1, y1 = float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)
        else:
            x0, y0, x1, y1 = self._face_box(batch, i).tolist()
        side = max(x1 - x0, y1 - y0) * (1 + 2 * self.config.margin)
        return square_within(((x0 + x1) / 2, (y0 + y1) / 2), side, width, height)

    def _face_box(self, batch: Batch, i: int) -> np.ndarray:
        """The box of the row's first face that is ok."""
        faces = np.flatnonzero(batch.face_row == i)
        boxes = batch.faces["box_xyxy_px"][faces] if "box_xyxy_px" in batch.faces else np.zeros((0, 4), np.float32)
        good = [k for k, face in enumerate(faces[: len(boxes)]) if batch.faces["face_status"][face] == OK]
        good = [k for k in good if np.isfinite(boxes[k]).all() and (boxes[k, 2:] > boxes[k, :2]).all()]
        if not good:
            raise NoFaceBoxError("no face to crop around: choose another crop, or leave such pictures out")
        return boxes[good[0]]


def hole_of(mask: UInt8[np.ndarray, "h w 3"], hole_in: Polarity) -> Bool[np.ndarray, "h w"]:
    """True in the hole of a mask picture: from 128 on, or below 128 where the hole is black."""
    white = mask.max(-1) >= 128
    return white if hole_in == "white" else ~white


def square_within(centre: tuple[float, float], side: float, width: int, height: int) -> Box:
    """The whole-pixel square of that side around a centre, moved and if need be shrunk into the picture: x0, y0, x1, y1."""
    size = int(np.clip(round(float(side)), 1, min(width, height)))
    x0 = int(np.clip(round(float(centre[0]) - size / 2), 0, width - size))
    y0 = int(np.clip(round(float(centre[1]) - size / 2), 0, height - size))
    return x0, y0, x0 + size, y0 + size


def scaled_picture(picture: UInt8[np.ndarray, "h w 3"], shape: tuple[int, int]) -> UInt8[np.ndarray, "y x 3"]:
    """A picture at another size: area averages on the way down, Lanczos on the way up."""
    if picture.shape[:2] == tuple(shape):
        return picture
    shrinks = picture.shape[0] >= shape[0]
    return cv2.resize(picture, shape[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LANCZOS4)


def scaled_hole(hole: Bool[np.ndarray, "h w"], shape: tuple[int, int]) -> Bool[np.ndarray, "y x"]:
    """A hole at another size: a pixel is hole where at least half of it was; on the way up the nearest pixel decides."""
    if hole.shape == tuple(shape):
        return hole
    if hole.shape[0] < shape[0]:
        return cv2.resize(hole.astype(np.uint8), shape[::-1], interpolation=cv2.INTER_NEAREST_EXACT) > 0
    return cv2.resize(hole.astype(np.float32), shape[::-1], interpolation=cv2.INTER_AREA) >= 0.5


def _mark_of(source: bytes) -> bytes | None:
    """The provenance mark of a picture, to be written again: what was generated stays marked."""
    kind = read_provenance(source).get("digital_source_type", "")
    return next((xmp_packet(known) for known in get_args(SourceType) if known == kind), None)


def _target(sides: tuple[int, int], size_px: int) -> tuple[int, int]:
    """(height, width) of the output: the shorter side becomes `size_px`."""
    if size_px == 0:
        return sides
    scale = size_px / min(sides)
    return max(1, round(sides[0] * scale)), max(1, round(sides[1] * scale))


def _same_shape(what: str, got: tuple[int, ...], expected: tuple[int, int]) -> None:
    if abs(np.log((got[1] / got[0]) / (expected[1] / expected[0]))) > _SAME_SHAPE:
        raise PairShapeError(
            f"the {what} has {got[1]} x {got[0]} pixels, the picture {expected[1]} x {expected[0]}: they are no pair"
        )
