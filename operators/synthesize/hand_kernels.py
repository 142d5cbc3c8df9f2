"""Depth, normals and part of a hand made of tapered capsules that melt into each other, seen by an orthographic camera."""

from __future__ import annotations

from typing import no_type_check

import numpy as np

from operators.compiled import kernel

SLEEVE, UPPER_SLEEVE = 6, 7
"""Groups: 0 = palm and arm, 1 to 5 = fingers, 6 = sleeve, which ends in a cuff, 7 = the same around the upper arm."""


@kernel
@no_type_check
def _melt(a, b, k):
    """Smooth minimum: where two surfaces are closer than k they flow into each other (quadratic polynomial)."""
    h = max(k - abs(a - b), 0.0) / k
    return min(a, b) - h * h * k * 0.25


@kernel
@no_type_check
def _distance(x, y, z, bones, groups, found):
    """Signed distance (cm) to the hand; `found` gets the nearest bone, the place along it, and the distance to the sleeve."""
    palm, finger, sleeve = 1e9, 1e9, 1e9
    nearest, place, least = 0.0, 0.0, 1e9
    result, current = 1e9, 0
    for i in range(bones.shape[0]):
        g = groups[i]
        if g != current:
            if current > 0 and current <= 5:
                result = min(result, _melt(palm, finger, 0.55))
            finger = 1e9
            current = g
        ax, ay, az, ra = bones[i, 0], bones[i, 1], bones[i, 2], bones[i, 3]
        dx, dy, dz, rb = bones[i, 4] - ax, bones[i, 5] - ay, bones[i, 6] - az, bones[i, 7]
        px, py, pz = x - ax, y - ay, z - az
        t = (px * dx + py * dy + pz * dz) / (dx * dx + dy * dy + dz * dz)
        u = min(max(t, 0.0), 1.0)
        qx, qy, qz = px - u * dx, py - u * dy, pz - u * dz
        # flattened towards the camera: bones[i, 8] >= 1 squeezes depth
        d = (qx * qx + qy * qy + qz * qz * bones[i, 8]) ** 0.5 - (ra + u * (rb - ra))
        if g >= 6:
            if g == 6:
                d = max(d, -t * (dx * dx + dy * dy + dz * dz) ** 0.5)
            sleeve = min(sleeve, d)
        elif g == 0:
            palm = _melt(palm, d, 0.9) if palm < 1e8 else d
        else:
            finger = _melt(finger, d, 0.22) if finger < 1e8 else d
        if d < least:
            least, nearest, place = d, float(i), u
    if current > 0 and current <= 5:
        result = min(result, _melt(palm, finger, 0.55))
    result = min(min(result, palm), sleeve)
    found[0], found[1], found[2] = nearest, place, sleeve - min(sleeve, result)
    return result


@kernel
@no_type_check
def draw_hand(bones, groups, x0, y0, step, z_near, z_far, alpha, position, normal, openness, bone, along, detail):
    """Sphere tracing of every pixel. Distances in cm; pixel (r, c) looks along +z at (x0 + step c, y0 + step r).

    Fills `alpha` (edges anti-aliased by the closest approach of the ray), and where it is above 0 and `detail` is set the
    surface's position, unit normal, openness (1 = nothing near, ambient occlusion), nearest bone and place along it.
    """
    found = np.zeros(3, np.float64)
    rows, columns = alpha.shape
    empty = np.zeros(((rows + 7) // 8, (columns + 7) // 8), np.bool_)
    for r in range(empty.shape[0]):
        for c in range(empty.shape[1]):
            # one ray tells for its 8 x 8 pixels that nothing is near them
            x, y = x0 + step * (8 * c + 3.5), y0 + step * (8 * r + 3.5)
            z, best, wide = z_near, 1e9, 7.0 * step
            while z < z_far and best > wide:
                d = _distance(x, y, z, bones, groups, found)
                best = min(best, d)
                z += max(0.8 * d, 0.02)
            empty[r, c] = best > wide
    for r in range(rows):
        for c in range(columns):
            if empty[r // 8, c // 8]:
                alpha[r, c] = 0.0
                continue
            x, y = x0 + step * c, y0 + step * r
            z, best, best_z = z_near, 1e9, z_near
            for _ in range(96):
                d = _distance(x, y, z, bones, groups, found)
                if d < best:
                    best, best_z = d, z
                if d < 0.004 or z > z_far:
                    break
                z += max(0.8 * d, 0.004)
            a = min(max(0.5 - best / step, 0.0), 1.0) if best > 0.004 else 1.0
            alpha[r, c] = a
            if a <= 0.0 or not detail:
                continue
            z = best_z
            e = 0.02
            nx = _distance(x + e, y, z, bones, groups, found) - _distance(x - e, y, z, bones, groups, found)
            ny = _distance(x, y + e, z, bones, groups, found) - _distance(x, y - e, z, bones, groups, found)
            nz = _distance(x, y, z + e, bones, groups, found) - _distance(x, y, z - e, bones, groups, found)
            length = (nx * nx + ny * ny + nz * nz) ** 0.5 + 1e-9
            nx, ny, nz = nx / length, ny / length, nz / length
            open_ = 1.0
            for k in range(3):
                reach = 0.18 + 0.3 * k
                d = _distance(x + reach * nx, y + reach * ny, z + reach * nz, bones, groups, found)
                open_ -= (1.0 - 0.25 * k) * max(0.8 * reach - d, 0.0)
            _distance(x, y, z, bones, groups, found)
            position[r, c, 0], position[r, c, 1], position[r, c, 2] = x, y, z
            normal[r, c, 0], normal[r, c, 1], normal[r, c, 2] = nx, ny, nz
            openness[r, c] = max(open_, 0.0)
            bone[r, c], along[r, c] = int(found[0]), found[1]
