"""Segment Anything: Kirillov et al., "Segment Anything", ICCV 2023. The modules are the package's (segment_anything 1.0).

A ViT (He et al., "Masked autoencoders", with the window attention and decomposed relative positions of Li et al., "Exploring
plain vision transformer backbones for object detection") makes one embedding of an image; a light decoder turns it and any
number of prompts into masks. All sizes but one follow from the shapes in a file, so that vit_b, vit_l, vit_h and any other
trained SAM load the same way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from torch import Tensor, nn

from operators.checkpoints.errors import CheckpointError
from operators.checkpoints.files import read_checkpoint, state_dict_of
from operators.checkpoints.loading import fill
from operators.checkpoints.system import Official, System, drawn

PIXEL_MEAN, PIXEL_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
DECODER_HEADS = 8
"""Of every published SAM. The only size that leaves no trace in the shapes."""

_NAMES = {(768, 12): "vit_b", (1024, 24): "vit_l", (1280, 32): "vit_h"}
_RELEASED = ("sam_vit_h_4b8939.pth", "sam_vit_l_0b3195.pth", "sam_vit_b_01ec64.pth")
_GIVE = f"one of {', '.join(_RELEASED)}, or any .pth or .safetensors file with the weights of a SAM"

_NOT_SAM = (KeyError, IndexError, ValueError, ZeroDivisionError, AssertionError, RuntimeError, MemoryError, OverflowError)


@dataclass(frozen=True)
class Sizes:
    """A SAM's constructor arguments. `window` 0: all blocks attend globally."""

    image: int
    patch: int
    width: int
    depth: int
    heads: int
    mlp: int
    window: int
    global_blocks: tuple[int, ...]
    channels: int
    mask_channels: int
    masks: int
    decoder_depth: int
    decoder_mlp: int
    decoder_heads: int
    decoder_reduction: int
    iou_depth: int
    iou_width: int

    @property
    def name(self) -> str:
        """vit_b, vit_l or vit_h for the published encoders; else what it is made of."""
        return _NAMES.get((self.width, self.depth), f"a ViT of {self.depth} blocks, {self.width} wide")


VIT_B = Sizes(1024, 16, 768, 12, 12, 3072, 14, (2, 5, 8, 11), 256, 16, 3, 2, 2048, DECODER_HEADS, 2, 3, 256)


def sizes_of(weights: Mapping[str, Tensor], decoder_heads: int = DECODER_HEADS) -> Sizes:
    """The sizes that a state_dict's shapes tell. Errors: KeyError, IndexError or ValueError when it is no SAM's."""
    encoder, decoder, prompt = "image_encoder.", "mask_decoder.", "prompt_encoder."

    def shape(key: str) -> tuple[int, ...]:
        return tuple(weights[key].shape)

    def count(prefix: str) -> int:
        numbers = {int(key.removeprefix(prefix).split(".")[0]) for key in weights if key.startswith(prefix)}
        if numbers != set(range(len(numbers))):
            raise KeyError(f"{prefix}{min(set(range(len(numbers))) - numbers)}")
        return len(numbers)

    _, grid, _, width = shape(f"{encoder}pos_embed")
    patch = shape(f"{encoder}patch_embed.proj.weight")[-1]
    depth, decoder_depth = count(f"{encoder}blocks."), count(f"{decoder}transformer.layers.")
    # A table of relative positions has one row per distance: 2 n - 1 for n tokens along a side.
    spans = [(shape(f"{encoder}blocks.{i}.attn.rel_pos_h")[0] + 1) // 2 for i in range(depth)]
    windows = [span for span in spans if span != grid]
    layer = f"{decoder}transformer.layers.0."
    channels = shape(f"{encoder}neck.0.weight")[0]
    return Sizes(
        image=grid * patch,
        patch=patch,
        width=width,
        depth=depth,
        heads=width // shape(f"{encoder}blocks.0.attn.rel_pos_h")[1],
        mlp=shape(f"{encoder}blocks.0.mlp.lin1.weight")[0],
        window=windows[0] if windows else 0,
        global_blocks=tuple(i for i, span in enumerate(spans) if span == grid),
        channels=channels,
        mask_channels=shape(f"{prompt}mask_downscaling.3.weight")[0],
        masks=shape(f"{decoder}mask_tokens.weight")[0] - 1,
        decoder_depth=decoder_depth,
        decoder_mlp=shape(f"{layer}mlp.lin1.weight")[0],
        decoder_heads=decoder_heads,
        decoder_reduction=channels // shape(f"{layer}cross_attn_token_to_image.q_proj.weight")[0],
        iou_depth=count(f"{decoder}iou_prediction_head.layers."),
        iou_width=shape(f"{decoder}iou_prediction_head.layers.0.weight")[0],
    )


def empty(sizes: Sizes) -> Sam:
    """A SAM of these sizes whose weights are still to be filled in: memory is taken, nothing is drawn."""
    grid = sizes.image // sizes.patch
    norm: Any = partial(nn.LayerNorm, eps=1e-6)
    with torch.device("meta"):
        encoder = ImageEncoderViT(
            img_size=sizes.image,
            patch_size=sizes.patch,
            embed_dim=sizes.width,
            depth=sizes.depth,
            num_heads=sizes.heads,
            mlp_ratio=(sizes.mlp + 0.5) / sizes.width,  # the package cuts the product off to a whole number
            out_chans=sizes.channels,
            norm_layer=norm,
            use_rel_pos=True,
            window_size=sizes.window,
            global_attn_indexes=sizes.global_blocks,
        )
        prompts = PromptEncoder(sizes.channels, (grid, grid), (sizes.image, sizes.image), sizes.mask_channels)
        transformer = TwoWayTransformer(
            depth=sizes.decoder_depth,
            embedding_dim=sizes.channels,
            mlp_dim=sizes.decoder_mlp,
            num_heads=sizes.decoder_heads,
            attention_downsample_rate=sizes.decoder_reduction,
        )
        decoder = MaskDecoder(
            transformer_dim=sizes.channels,
            transformer=transformer,
            num_multimask_outputs=sizes.masks,
            iou_head_depth=sizes.iou_depth,
            iou_head_hidden_dim=sizes.iou_width,
        )
        sam = Sam(encoder, prompts, decoder, list(PIXEL_MEAN), list(PIXEL_STD))
    sam = sam.to_empty(device="cpu")
    # Buffers that no file holds.
    for name, values in (("pixel_mean", PIXEL_MEAN), ("pixel_std", PIXEL_STD)):
        sam.get_buffer(name).copy_(torch.tensor(values).view(-1, 1, 1))
    return sam


def find(path: Path) -> list[Path]:
    """The file itself, or the only one of its kind in a folder. Errors: CheckpointError."""
    if not path.is_dir():
        return [path]
    there = sorted(item for item in path.iterdir() if item.suffix in (".pth", ".pt", ".safetensors"))
    likely = [item for item in there if "sam" in item.name.lower()] or there
    if len(likely) != 1:
        found = ", ".join(item.name for item in likely[:6]) or "no .pth and no .safetensors file"
        raise CheckpointError(path, "one file", found, f"set checkpoint to the file itself: {_GIVE}")
    return likely


def read(files: Sequence[Path]) -> Official:
    """A state_dict, bare as the published files hold it, or at `model` or `state_dict` of a training checkpoint."""
    return Official(state_dict_of(read_checkpoint(files[0]), files[0], "model", "state_dict"), {"file": files[0].name})


def build(official: Official) -> Sam:
    """The network. Settings: `decoder_heads`, 8 where it is not told. Errors: CheckpointError."""
    file = official.settings.get("file", "SAM weights")
    try:
        sizes = sizes_of(official.weights, official.settings.get("decoder_heads", DECODER_HEADS))
        network = empty(sizes)
    except _NOT_SAM as error:
        # Against the best-known SAM, so that the error names what is missing.
        fill(_on_meta(VIT_B), official.weights, file, "Segment Anything vit_b (or another SAM)")
        raise CheckpointError(file, "a SAM", f"sizes that no SAM has ({error})", f"give {_GIVE}") from error
    sam = fill(network, official.weights, file, f"Segment Anything {sizes.name}")
    sam.sizes = sizes  # type: ignore[assignment]
    return sam


def _on_meta(sizes: Sizes) -> Sam:
    """Names and shapes alone."""
    return empty(sizes).to("meta")


def untrained(sizes: Sizes = VIT_B) -> Official:
    """Random weights of vit_b."""
    return Official(drawn(empty(sizes)), {})


def sizes_in(sam: Sam) -> Sizes:
    """The sizes of a SAM that was built in any way."""
    known: Any = getattr(sam, "sizes", None)
    if isinstance(known, Sizes):
        return known
    transformer: Any = sam.mask_decoder.transformer
    return sizes_of(sam.state_dict(), transformer.num_heads)


SYSTEM = System(
    name="sam",
    title="Segment Anything",
    licence="Apache-2.0",
    non_commercial=False,
    terms="free to use and pass on",
    page="https://github.com/facebookresearch/segment-anything",
    give=_GIVE,
    find=find,
    read=read,
    build=build,
    untrained=untrained,
    marks=(r"^image_encoder\.patch_embed\.proj", r"^prompt_encoder\.point_embeddings", r"^mask_decoder\.iou_token"),
)
