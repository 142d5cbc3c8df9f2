"""Pixels of triangles: one interface, one file per backend."""

from __future__ import annotations

from typing import Any

from operators.rasterize.attributes import differentiable, interpolate
from operators.rasterize.base import Fragments, Rasterizer

KINDS = ("auto", "numba", "triton", "pytorch3d")


def select(kind: str = "auto", device: str = "cpu", **options: Any) -> Rasterizer:
    """The backend named `kind`; `auto` takes Triton on a CUDA device where it can be imported, else numba.

    Options are those of the backends: near, cull_backfaces, perspective.
    """
    if kind == "auto":
        from operators.rasterize import triton_backend

        kind = "triton" if str(device).startswith("cuda") and triton_backend.available() else "numba"
    if kind == "numba":
        from operators.rasterize.numba_backend import NumbaRasterizer

        return NumbaRasterizer(**options)
    if kind == "triton":
        from operators.rasterize.triton_backend import TritonRasterizer

        return TritonRasterizer(**options)
    if kind == "pytorch3d":
        from operators.rasterize.pytorch3d_backend import Pytorch3dRasterizer

        return Pytorch3dRasterizer(**options)
    raise ValueError(f"unknown rasterizer {kind!r}: choose one of {', '.join(KINDS)}")


__all__ = ["KINDS", "Fragments", "Rasterizer", "differentiable", "interpolate", "select"]
