"""Segment Anything on many images with any number of prompts each: what SamPredictor says to them one by one, in few passes.

Prompts go through the decoder together when they have the same parts and the same number of points: a token that only fills
up a shorter prompt would change its attention. On a CPU everything goes one by one, which is as fast there, and a prompt's
bits do not depend on its company; on a GPU batches are of one fixed size, the last one filled up, for the same reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from segment_anything.modeling import Sam
from segment_anything.utils.transforms import ResizeLongestSide
from torch import Tensor

from operators.networks.sam_encoder import ImageEncoder
from operators.threads import share

Precision = Literal["float32", "bfloat16", "float16"]
Size = tuple[int, int]
STABILITY_OFFSET = 1.0


@dataclass(frozen=True)
class Prompt:
    """One prompt to image number `image`, as SamPredictor.predict takes it: pixels counted from their centres.

    Labels: 1 = the wanted thing, 0 = not it. `mask_logits` are low-resolution logits of an earlier prediction.
    Errors: ValueError.
    """

    image: int = 0
    points_px: Float[np.ndarray, "n 2"] | None = None
    labels: Int[np.ndarray, " n"] | None = None
    box_xyxy_px: Float[np.ndarray, "4"] | None = None
    mask_logits: Float[np.ndarray, "h w"] | Float[Tensor, "h w"] | None = None

    def __post_init__(self) -> None:
        if self.points_px is None and self.box_xyxy_px is None and self.mask_logits is None:
            raise ValueError("prompt: expected points, a box or a mask, got none of them")
        if self.points_px is not None:
            points, labels = np.shape(self.points_px), np.shape(self.labels if self.labels is not None else ())
            if len(points) != 2 or points[1] != 2 or labels != points[:1]:
                raise ValueError(f"prompt: expected points n 2 with n labels, got {points} with {labels}")

    @property
    def parts(self) -> tuple[int, bool, bool]:
        """What must be equal for prompts to be decoded together."""
        points = -1 if self.points_px is None else len(self.points_px)
        return points, self.box_xyxy_px is not None, self.mask_logits is not None


@dataclass(frozen=True)
class Embedded:
    """Images as the decoder takes them; sizes (height, width) as given and as scaled for the encoder."""

    features: Float[Tensor, "images channels y x"]
    sizes: tuple[Size, ...]
    scaled: tuple[Size, ...]


class Prediction(NamedTuple):
    """Masks at the decoder's resolution and their predicted IoU: three per prompt, or one."""

    low_res: Float[Tensor, "masks y x"]
    iou: Float[Tensor, " masks"]

    def best(self) -> Prediction:
        """The mask with the highest predicted IoU."""
        at = self.iou.argmax()[None]
        return Prediction(self.low_res.index_select(0, at), self.iou.index_select(0, at))


class SamBatch:
    """Embeds images and decodes prompts with a built SAM. `precision` is the encoder's; the decoder works in float32."""

    def __init__(self, sam: Sam, precision: Precision = "float32", images: int = 4, prompts: int = 16):
        self.sam, self.images, self.prompts = sam.eval(), images, prompts
        self.exact = ImageEncoder(sam.image_encoder)
        self.encoder = self.exact
        if precision != "float32":
            self.encoder = ImageEncoder(sam.image_encoder, getattr(torch, precision))
        self.by_ones = torch.device(sam.device).type == "cpu"

    @torch.inference_mode()
    def embed(self, pictures: Sequence[UInt8[np.ndarray, "_ _ 3"]]) -> Embedded:
        """Embeddings of RGB pictures of any sizes. An image that half precision gives no numbers is done again in float32."""
        side, pixels = self.sam.image_encoder.img_size, scaled(pictures, self.sam.image_encoder.img_size)
        inputs = torch.zeros((len(pixels), 3, side, side), device=self.sam.device)
        for one, levels in zip(inputs, pixels, strict=True):
            one.copy_(self.sam.preprocess(torch.as_tensor(levels, device=self.sam.device).permute(2, 0, 1)))
        features = torch.cat([self._embed_some(inputs[some]) for some in self._parts(len(inputs), self.images)])
        shapes = [(picture.shape[0], picture.shape[1]) for group in (pictures, pixels) for picture in group]
        return Embedded(features, tuple(shapes[: len(pictures)]), tuple(shapes[len(pictures) :]))

    def _embed_some(self, inputs: Tensor) -> Tensor:
        count = len(inputs)
        found = self.encoder(inputs if self.by_ones else _filled_up(inputs, self.images))[:count]
        if self.encoder is not self.exact:
            for i in torch.nonzero(~torch.isfinite(found).flatten(1).all(1))[:, 0].tolist():
                found[i : i + 1] = self.exact(inputs[i : i + 1])
        return found

    @torch.inference_mode()
    def decode(self, embedded: Embedded, prompts: Sequence[Prompt], multimask: bool = True) -> list[Prediction]:
        """Three masks of every prompt, or its single one, in the prompts' order."""
        groups: dict[tuple[int, bool, bool], list[int]] = {}
        for i, prompt in enumerate(prompts):
            groups.setdefault(prompt.parts, []).append(i)
        found: list[Any] = [None] * len(prompts)
        for members in groups.values():
            for some in self._parts(len(members), self.prompts):
                now = members[some]
                full = now if self.by_ones else [*now, *[now[-1]] * (self.prompts - len(now))]
                low_res, iou = self._decode_some(embedded, [prompts[i] for i in full])
                wanted = slice(1, None) if multimask else slice(0, 1)
                for i, masks, scores in zip(now, low_res, iou, strict=False):
                    found[i] = Prediction(masks[wanted], scores[wanted])
        return found

    def _decode_some(self, embedded: Embedded, prompts: Sequence[Prompt]) -> tuple[Tensor, Tensor]:
        """All four masks and their IoUs of prompts with the same parts.

        The package's decoder repeats one image for all its prompts; here each brings its own.
        """
        encoder, decoder = self.sam.prompt_encoder, self.sam.mask_decoder
        sparse, dense = encoder(*self.tokens_of(embedded, prompts))
        embeddings = embedded.features[[prompt.image for prompt in prompts]]
        count, channels, rows, columns = embeddings.shape
        queries = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight]).expand(count, -1, -1)
        positions = encoder.get_dense_pe().expand(count, -1, -1, -1)
        queries, keys = decoder.transformer(embeddings + dense, positions, torch.cat([queries, sparse], 1))
        features = decoder.output_upscaling(keys.transpose(1, 2).reshape(count, channels, rows, columns))
        filters = torch.stack([mlp(queries[:, 1 + k]) for k, mlp in enumerate(decoder.output_hypernetworks_mlps)], 1)
        masks = torch.bmm(filters, features.flatten(2)).unflatten(2, features.shape[2:])
        return masks, decoder.iou_prediction_head(queries[:, 0])

    def tokens_of(self, embedded: Embedded, prompts: Sequence[Prompt]) -> tuple[Any, Tensor | None, Tensor | None]:
        """Points with labels, boxes and masks of prompts with the same parts, in the encoder's pixels: for the prompt encoder."""
        has_points, has_box, has_mask = prompts[0].points_px is not None, *prompts[0].parts[1:]
        device = self.sam.device

        def place(xy: np.ndarray, image: int) -> np.ndarray:
            (old_h, old_w), (new_h, new_w) = embedded.sizes[image], embedded.scaled[image]
            return np.asarray(xy, np.float64).reshape(-1, 2) * (new_w / old_w, new_h / old_h)

        def numbers(values: Iterable[Any], dtype: torch.dtype) -> Tensor:
            return torch.as_tensor(np.stack([np.asarray(value) for value in values]), dtype=dtype, device=device)

        points = boxes = masks = None
        if has_points:
            at = numbers((place(p.points_px, p.image) for p in prompts), torch.float32)  # type: ignore[arg-type]
            points = at, numbers((p.labels for p in prompts), torch.int32)
        if has_box:
            corners = (place(p.box_xyxy_px, p.image).reshape(4) for p in prompts)  # type: ignore[arg-type]
            boxes = numbers(corners, torch.float32)
        if has_mask:
            given = [torch.as_tensor(p.mask_logits, dtype=torch.float32, device=device) for p in prompts]
            masks = torch.stack(given).reshape(len(prompts), 1, *given[0].shape[-2:])
        return points, boxes, masks

    @torch.inference_mode()
    def refine(self, embedded: Embedded, prompts: Sequence[Prompt], found: Sequence[Prediction]) -> list[Prediction]:
        """The single mask of each prompt with its best mask so far as one more prompt."""
        again = [
            Prompt(p.image, p.points_px, p.labels, p.box_xyxy_px, one.best().low_res[0])
            for p, one in zip(prompts, found, strict=True)
        ]
        return self.decode(embedded, again, multimask=False)

    @torch.inference_mode()
    def full_size(self, embedded: Embedded, prompts: Sequence[Prompt], found: Sequence[Prediction]) -> list[Tensor]:
        """Logits (masks, h, w) of every prediction at its image's own size; a mask is where they are above 0."""
        groups: dict[tuple[Any, ...], list[int]] = {}
        for i, (prompt, one) in enumerate(zip(prompts, found, strict=True)):
            key = (embedded.scaled[prompt.image], embedded.sizes[prompt.image], len(one.iou))
            groups.setdefault(key, []).append(i)
        out: list[Any] = [None] * len(found)
        for (was, size, _), members in groups.items():
            for some in self._parts(len(members), self.prompts):
                low_res = torch.stack([found[i].low_res for i in members[some]])
                for i, logits in zip(members[some], self.sam.postprocess_masks(low_res, was, size), strict=True):
                    out[i] = logits
        return out

    def _parts(self, count: int, most: int) -> list[slice]:
        step = 1 if self.by_ones else most
        return [slice(start, min(start + step, count)) for start in range(0, count, step)]


def scaled(pictures: Sequence[UInt8[np.ndarray, "_ _ 3"]], side: int) -> list[UInt8[np.ndarray, "_ _ 3"]]:
    """Pictures with their longest side scaled to `side`, as SamPredictor does it: antialiased bilinear on 8 bits."""
    resize, out = ResizeLongestSide(side), list(pictures)

    def work(first: int, step: int) -> None:
        for i in range(first, len(pictures), step):
            out[i] = resize.apply_image(pictures[i])

    share(work, len(pictures))
    return out


def stability_score(logits: Float[Tensor, "*n h w"], threshold: float = 0.0) -> Float[Tensor, "*n"]:
    """IoU between the masks of logits above +1 and above -1; 0 for an empty mask."""
    inner = (logits > threshold + STABILITY_OFFSET).sum((-2, -1))
    outer = (logits > threshold - STABILITY_OFFSET).sum((-2, -1))
    return inner / outer.clamp(min=1)


def _filled_up(x: Tensor, count: int) -> Tensor:
    """Copies of the last one up to `count`."""
    missing = count - len(x)
    return x if missing <= 0 else torch.cat([x, x[-1:].expand(missing, *x.shape[1:])])
