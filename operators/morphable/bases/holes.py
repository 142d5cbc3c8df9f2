"""Openings of a mesh, and strips of triangles over them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Int


def close_holes(
    triangles: Int[np.ndarray, "triangles 3"],
    uv_triangles: Int[np.ndarray, "triangles 3"],
    choose: Callable[[list[int]], bool] | None = None,
) -> tuple[Int[np.ndarray, "more 3"], Int[np.ndarray, "more 3"]]:
    """Strips of triangles over every boundary loop but the longest, with the UV points of their rims.

    `choose` says of a loop's vertices whether it is to be closed.
    """
    uv_of = dict(zip(triangles.ravel().tolist(), uv_triangles.ravel().tolist(), strict=True))
    extra: list[tuple[int, int, int]] = []
    for loop in sorted(_loops(triangles), key=len)[:-1]:
        if choose is None or choose(loop):
            extra += _strip(loop)
    if not extra:
        return triangles, uv_triangles
    added = np.array(extra, dtype=triangles.dtype)
    added_uv = np.array([[uv_of[v] for v in t] for t in extra], dtype=uv_triangles.dtype)
    return np.concatenate((triangles, added)), np.concatenate((uv_triangles, added_uv))


def _loops(triangles: np.ndarray) -> list[list[int]]:
    """Closed boundary loops, in the order that makes new triangles turn like the old ones."""
    edges = np.concatenate([triangles[:, [i, (i + 1) % 3]] for i in range(3)])
    known = set(map(tuple, edges.tolist()))
    follower = {b: a for a, b in known if (b, a) not in known}
    loops = []
    while follower:
        loop = [min(follower)]
        while loop[-1] in follower:
            loop.append(follower.pop(loop[-1]))
        loops.append(loop[:-1])
    return loops


def _strip(loop: list[int]) -> list[tuple[int, int, int]]:
    """Triangles that zigzag across a loop, from its first vertex to the opposite one."""
    low, high, out = 0, len(loop) - 1, []
    while high - low >= 2:
        out.append((loop[low], loop[low + 1], loop[high]))
        low += 1
        if high - low >= 2:
            out.append((loop[low], loop[high - 1], loop[high]))
            high -= 1
    return out
