"""The rows of a batch as result and truth: decoded, of one size, with the masks that came along."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, UInt8

from operators.batch import Batch
from operators.images import ImageError, decode_rgb
from operators.metrics.pixels import resized, resized_mask
from operators.types import REJECTED, OperatorConfig, option


@dataclass(frozen=True)
class PairConfig(OperatorConfig):
    """What is done to result and truth before they are compared."""

    resize: int = option(0, "side of the squares to which all pictures are brought; 0 = as they are, and sizes must agree")
    composite: bool = option(False, "take the truth's pixels outside the hole first, as inpainting papers do")


class PairError(ValueError):
    """Result and truth cannot be compared."""


@dataclass(frozen=True)
class Pair:
    """One row's result and truth. `hole` is empty when no mask came; `found` is None when the run kept no mask."""

    row: int
    image: UInt8[np.ndarray, "h w 3"]
    truth: UInt8[np.ndarray, "h w 3"]
    hole: Bool[np.ndarray, "h w"]
    occluder: Bool[np.ndarray, "h w"]
    found: Bool[np.ndarray, "h w"] | None = None


def pairs(batch: Batch, config: PairConfig, operator: str, masks: bool = False) -> Iterator[Pair]:
    """Every live row that can be compared; the others are marked rejected, with the reason.

    `masks` decodes the occluders as well. A composite is what the papers measure: a result saved with loss (JPEG) differs
    from its truth everywhere, and without it that loss is counted in the rim and in the whole picture.
    """
    for i in batch.live_rows():
        try:
            yield _pair(batch, int(i), config, masks)
        except ImageError as error:
            batch.mark_row(i, error.status, operator, type(error).__name__, str(error))
        except PairError as error:
            batch.mark_row(i, REJECTED, operator, type(error).__name__, str(error))


def _pair(batch: Batch, i: int, config: PairConfig, masks: bool) -> Pair:
    truth_bytes = _bytes(batch, "truth_bytes", i)
    if not truth_bytes:
        raise PairError("there is no truth to measure against: the sample has no truth_bytes")
    image = _named("the result", lambda: batch.frame(i))
    truth = _named("the truth", lambda: decode_rgb(truth_bytes, batch.limits))
    if config.resize:
        image, truth = resized(image, config.resize), resized(truth, config.resize)
    elif image.shape != truth.shape:
        raise PairError(f"the result has {_size(image)} and the truth {_size(truth)}: give both one size, or set resize")
    hole = _mask(batch, "given_mask_bytes", i, image, config, "the mask")
    if hole is None:
        hole = np.zeros(image.shape[:2], bool)
    elif config.composite:
        image = np.where(hole[..., None], image, truth)
    occluder = _mask(batch, "given_alpha_bytes", i, image, config, "the opacity") if masks else None
    found = _mask(batch, "result_mask_bytes", i, image, config, "the result's mask") if masks else None
    return Pair(i, image, truth, hole, hole if occluder is None else occluder, found)


def _mask(batch: Batch, name: str, i: int, image: np.ndarray, config: PairConfig, what: str) -> Bool[np.ndarray, "h w"] | None:
    """A mask of the row, white (>= 128) = True; None when the row has none."""
    data = _bytes(batch, name, i)
    if not data:
        return None
    mask = _named(what, lambda: decode_rgb(data, batch.limits)).max(-1) >= 128
    if config.resize:
        return resized_mask(mask, config.resize)
    if mask.shape != image.shape[:2]:
        raise PairError(f"{what} has {_size(mask)} and the result {_size(image)}: give both one size, or set resize")
    return mask


def _bytes(batch: Batch, name: str, i: int) -> bytes | None:
    return batch.rows[name][i] if name in batch.rows else None


def _named(what: str, decode: Callable[[], np.ndarray]) -> np.ndarray:
    """Decoded pixels; an error says of what."""
    try:
        return decode()
    except ImageError as error:
        raise type(error)(f"{what}: {error}") from error


def _size(pixels: np.ndarray) -> str:
    return f"{pixels.shape[1]} x {pixels.shape[0]} pixels"
