"""SAM's image encoder for inference: the same numbers as the package's forward pass, for less memory and time.

Queries, keys and values are made of the image's own tokens; the package also makes them of the zeros that fill up the last
windows, where they are the bias. Attention never holds a whole table of 4096 x 4096 scores per head.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from segment_anything.modeling import ImageEncoderViT, Sam
from segment_anything.modeling.image_encoder import get_rel_pos
from torch import Tensor, nn
from torch.nn import functional

from operators.checkpoints.system import Official
from operators.networks.sam import build, sizes_in

_CACHED = 1 << 19
"""Scores worked on at once on a CPU: 2 MiB stay in its second-level cache between the matrix product and the softmax."""

_HEADS = 1 << 15
"""Heads per call of the fused kernel: a launch may have 65,535 of them."""


class ImageEncoder(nn.Module):
    """A built encoder's weights with a faster forward pass.

    In half precision the matrix products are; the residual stream, the norms and the neck stay float32.
    """

    def __init__(self, encoder: ImageEncoderViT, dtype: torch.dtype = torch.float32):
        super().__init__()
        self.dtype = dtype
        self.encoder: Any = encoder if dtype == torch.float32 else _in_half(encoder, dtype)
        grid = self.encoder.pos_embed.shape[1]
        for i, block in enumerate(self.encoder.blocks):
            side = block.window_size or grid
            for axis in "hw":
                # Of all distances between `side` queries and `side` keys: (queries, keys, channels)
                table = get_rel_pos(side, side, getattr(block.attn, f"rel_pos_{axis}").detach())
                self.register_buffer(f"table_{axis}{i}", table, persistent=False)

    def forward(self, pixels: Float[Tensor, "images 3 side side"]) -> Float[Tensor, "images channels y x"]:
        """Embeddings, float32, of normalised and padded pictures."""
        x = self.encoder.patch_embed(pixels.to(self.dtype)).float() + self.encoder.pos_embed
        for i, block in enumerate(self.encoder.blocks):
            tables = self.get_buffer(f"table_h{i}"), self.get_buffer(f"table_w{i}")
            x = x + self._attended(block, block.norm1(x).to(self.dtype), tables)
            x = x + block.mlp(block.norm2(x).to(self.dtype))
        return self.encoder.neck(x.permute(0, 3, 1, 2))

    def _attended(self, block: Any, x: Tensor, tables: tuple[Tensor, Tensor]) -> Tensor:
        count, height, width = x.shape[:3]
        attention, window = block.attn, block.window_size
        qkv = attention.qkv(x)
        if window:
            qkv = _windows(qkv, window, attention.qkv.bias)
        groups, rows, columns = qkv.shape[:3]
        heads = qkv.view(groups, rows * columns, 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4)
        q, k, v = heads.flatten(1, 2)
        attend = attend_in_cache if x.device.type == "cpu" else attend_fused
        y = attend(q, k, v, *tables, attention.scale)
        y = y.view(groups, attention.num_heads, rows, columns, -1).permute(0, 2, 3, 1, 4).flatten(3)
        if window:
            y = _together(y, count, height, width)
        return attention.proj(y.to(self.dtype))


def _in_half(encoder: ImageEncoderViT, dtype: torch.dtype) -> ImageEncoderViT:
    encoder = copy.deepcopy(encoder)
    for part in (encoder.patch_embed, *encoder.blocks):
        for module in part.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                module.to(dtype)
    return encoder


def _windows(qkv: Float[Tensor, "images h w c"], window: int, bias: Tensor | None) -> Float[Tensor, "windows n n c"]:
    """Cut into windows; what the last ones lack is the bias, which is what zero tokens would give."""
    count, height, width, channels = qkv.shape
    down, across = -(-height // window), -(-width // window)
    if height % window or width % window:
        filled = torch.zeros(channels, dtype=qkv.dtype, device=qkv.device) if bias is None else bias
        padded = filled.expand(count, down * window, across * window, channels).clone()
        padded[:, :height, :width] = qkv
        qkv = padded
    parts = qkv.view(count, down, window, across, window, channels).transpose(2, 3)
    return parts.reshape(-1, window, window, channels)


def _together(windows: Float[Tensor, "windows n n c"], count: int, height: int, width: int) -> Float[Tensor, "images h w c"]:
    """The inverse of `_windows`."""
    size, channels = windows.shape[1], windows.shape[-1]
    down, across = -(-height // size), -(-width // size)
    parts = windows.view(count, down, across, size, size, channels).transpose(2, 3)
    return parts.reshape(count, down * size, across * size, channels)[:, :height, :width]


def _positions(q: Tensor, table_h: Tensor, table_w: Tensor) -> tuple[Tensor, Tensor]:
    """Of every query, the bias to each row and to each column of keys (Li et al., MViTv2, 2022): (heads, rows, columns, keys)."""
    grid = q.view(len(q), len(table_h), len(table_w), -1)
    by_row = torch.einsum("bhwc,hkc->bhwk", grid, table_h)
    return by_row, torch.einsum("bhwc,wkc->bhwk", grid, table_w)


def attend_in_cache(
    q: Float[Tensor, "heads n c"],
    k: Float[Tensor, "heads n c"],
    v: Float[Tensor, "heads n c"],
    table_h: Float[Tensor, "rows rows c"],
    table_w: Float[Tensor, "columns columns c"],
    scale: float,
) -> Float[Tensor, "heads n c"]:
    """softmax(q k' scale + bias) v, some heads or some rows of one head at a time. float32 throughout."""
    q, k, v, table_h, table_w = (x.float() for x in (q, k, v, table_h, table_w))
    by_row, by_column = _positions(q, table_h, table_w)
    rows, columns = len(table_h), len(table_w)
    tokens, out = rows * columns, torch.empty_like(v)
    heads_at_once, rows_at_once = max(1, _CACHED // tokens**2), max(1, _CACHED // (tokens * columns))
    keys = k.transpose(1, 2) * scale
    for head in range(0, len(q), heads_at_once):
        some = slice(head, head + heads_at_once)
        for row in range(0, rows, rows_at_once):
            part = slice(row * columns, min(row + rows_at_once, rows) * columns)
            scores = torch.bmm(q[some, part], keys[some])
            grid = scores.view(len(scores), -1, columns, rows, columns)
            grid += by_row[some, row : row + rows_at_once, :, :, None]
            grid += by_column[some, row : row + rows_at_once, :, None, :]
            out[some, part] = torch.bmm(scores.softmax(-1), v[some])
    return out


def attend_fused(
    q: Float[Tensor, "heads n c"],
    k: Float[Tensor, "heads n c"],
    v: Float[Tensor, "heads n c"],
    table_h: Float[Tensor, "rows rows c"],
    table_w: Float[Tensor, "columns columns c"],
    scale: float,
) -> Float[Tensor, "heads n c"]:
    """The same by one call of a fused kernel, without a table of biases.

    Bias to a key = bias to its row + bias to its column: an inner product of the query's biases with the key's row and column
    as one-hot vectors. So both are appended to queries and keys, and the kernel needs no mask.
    """
    by_row, by_column = (x.flatten(1, 2) / scale for x in _positions(q, table_h.to(q.dtype), table_w.to(q.dtype)))
    rows, columns, width = len(table_h), len(table_w), q.shape[-1]
    fill = -(width + rows + columns) % 8
    row_of = torch.eye(rows, dtype=q.dtype, device=q.device).repeat_interleave(columns, 0)
    column_of = torch.eye(columns, dtype=q.dtype, device=q.device).repeat(rows, 1)
    where = torch.cat([row_of, column_of], 1).expand(len(k), -1, -1)
    queries = functional.pad(torch.cat([q, by_row, by_column], -1), (0, fill))
    keys = functional.pad(torch.cat([k, where], -1), (0, fill))
    # The kernel for half precision wants all three equally wide; the one for float32 does not.
    values = v if q.dtype == torch.float32 else functional.pad(v, (0, queries.shape[-1] - width))
    parts = zip(*(x[None].split(_HEADS, 1) for x in (queries, keys, values)), strict=True)
    found = [functional.scaled_dot_product_attention(*part, scale=scale)[0] for part in parts]
    return torch.cat(found)[..., :width]


def at_side(sam: Sam, side: int) -> Sam:
    """The same SAM for inputs whose longest side is `side` pixels. Errors: ValueError."""
    sizes = sizes_in(sam)
    if side in (0, sizes.image):
        return sam
    if side < 0 or side % sizes.patch:
        raise ValueError(f"input_side: expected a multiple of the patch size {sizes.patch}, got {side}")
    settings = {"decoder_heads": sizes.decoder_heads, "file": "SAM weights"}
    weights = resized_positions(sam.state_dict(), sizes.global_blocks, side // sizes.patch)
    return build(Official(weights, settings)).to(sam.device)


def resized_positions(weights: Mapping[str, Tensor], global_blocks: tuple[int, ...], grid: int) -> dict[str, Tensor]:
    """Weights for another grid of tokens: absolute positions bicubic, the relative ones of global blocks linear.

    A distance means the same part of the picture as before: d tokens of the new grid are d * old / new tokens of the old one.
    Windows stay as large as they are, in tokens.
    """
    out, key = dict(weights), "image_encoder.pos_embed"
    absolute = out[key].permute(0, 3, 1, 2)
    old = absolute.shape[-1]
    out[key] = functional.interpolate(absolute, (grid, grid), mode="bicubic", align_corners=False).permute(0, 2, 3, 1)
    at = (torch.arange(1 - grid, grid, device=absolute.device) * (old / grid) + old - 1).clamp(0, 2 * old - 2)
    low = at.long()
    high, share = (low + 1).clamp(max=2 * old - 2), (at - low)[:, None]
    for block in global_blocks:
        for axis in "hw":
            key = f"image_encoder.blocks.{block}.attn.rel_pos_{axis}"
            out[key] = torch.lerp(out[key][low], out[key][high], share.to(out[key].dtype))
    return out
