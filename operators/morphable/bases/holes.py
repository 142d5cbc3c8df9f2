"""Openings of a mesh, and strips of triangles over them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int


def close_holes(
    vertices: Float[np.ndarray, "vertices 3"],
    triangles: Int[np.ndarray, "triangles 3"],
    uv_triangles: Int[np.ndarray, "triangles 3"],
    choose: Callable[[list[int]], bool] | None = None,
) -> tuple[Int[np.ndarray, "more 3"], Int[np.ndarray, "more 3"]]:
    """Strips of triangles over every boundary loop but the longest, with the UV points of their rims.

    A strip runs from the loop's leftmost vertex (a corner of the eye or mouth), up and down between its two sides.
    `choose` says of a loop's vertices whether it is to be closed.
    """
    extra: list[tuple[int, int, int]] = []
    for loop in sorted(_loops(triangles), key=len)[:-1]:
        if choose is None or choose(loop):
            first = int(np.argmin(vertices[loop, 0]))
            extra += _strip(loop[first:] + loop[:first])
    if not extra:
        return triangles, uv_triangles
    added = np.array(extra, dtype=triangles.dtype)
    rim, place = np.unique(added, return_inverse=True)
    corners = np.flatnonzero(np.isin(triangles, rim))
    uv_of_rim = np.empty(len(rim), uv_triangles.dtype)
    uv_of_rim[np.searchsorted(rim, triangles.ravel()[corners])] = uv_triangles.ravel()[corners]
    return np.concatenate((triangles, added)), np.concatenate((uv_triangles, uv_of_rim[place.reshape(-1, 3)]))


def _loops(triangles: np.ndarray) -> list[list[int]]:
    """Closed boundary loops, in the order that makes new triangles turn like the old ones."""
    edges = np.concatenate([triangles[:, [i, (i + 1) % 3]] for i in range(3)]).astype(np.int64)
    count = int(triangles.max()) + 1
    alone = ~np.isin(edges[:, 0] * count + edges[:, 1], edges[:, 1] * count + edges[:, 0])
    follower = {b: a for a, b in edges[alone].tolist()}
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
