"""Pixels of triangles: one interface, one file per backend."""

from __future__ import annotations

from typing import Any

from operators.rasterize.base import Fragments, Rasterizer, interpolate

KINDS = ("auto", "numba", "pytorch3d")


def select(kind: str = "auto", device: str = "cpu", **options: Any) -> Rasterizer:
    """The backend named `kind`; `auto` takes pytorch3d on a GPU where it is installed, else numba.

    Options are those of the backends: near, cull_backfaces, perspective.
    """
    from operators.rasterize import numba_backend, pytorch3d_backend

    if kind == "auto":
        on_gpu = str(device).startswith("cuda")
        kind = "pytorch3d" if on_gpu and pytorch3d_backend.available() else "numba"
    if kind == "numba":
        return numba_backend.NumbaRasterizer(**options)
    if kind == "pytorch3d":
        return pytorch3d_backend.Pytorch3dRasterizer(**options)
    raise ValueError(f"unknown rasterizer {kind!r}: choose one of {', '.join(KINDS)}")


__all__ = ["KINDS", "Fragments", "Rasterizer", "interpolate", "select"]
