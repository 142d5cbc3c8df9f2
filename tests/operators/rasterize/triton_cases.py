"""Meshes through Triton and numba, and how the fragments differ: JSON on stdout.

Run as a module with TRITON_INTERPRET=1 (it has to be set before triton is imported) or on a GPU.
"""

import json

import numpy as np
import torch

from operators.rasterize import select
from operators.rasterize.base import Fragments
from tests.operators.rasterize.meshes import grid


def mixed(height: int, width: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """(2, vertices, 3) and triangles: a mesh of small ones, and single ones that are small, middling, huge or degenerate."""
    rng = np.random.default_rng(seed)
    sheet, triangles = grid(seed, 5, 14)
    singles = [rng.uniform(-2, [width + 2, height + 2]) + rng.uniform(-r, r, (3, 2)) for r in (0.7, 1.5, 2, 2, 3, 6, 8, 40, 45)]
    singles += [np.full((3, 2), 5.0), np.array([[0, 0], [8, 8], [16, 16]])]
    corners = np.concatenate(singles)
    loose = torch.tensor(np.concatenate((corners, rng.uniform(1.5, 4, (len(corners), 1))), 1), dtype=torch.float32)
    vertices = torch.cat((sheet[0] * torch.tensor([1, 1, 2.0]), loose)).expand(2, -1, -1).clone()
    vertices[1, :, 0] += 3.3
    vertices[1, 7, 1], vertices[1, -5, 2] = float("nan"), -1.0
    more = torch.arange(len(loose)).reshape(-1, 3) + sheet.shape[1]
    return vertices, torch.cat((triangles, more, more.flip(1)[:3]))


def compare(ours: Fragments, theirs: Fragments) -> dict[str, float]:
    hit = (theirs.pix_to_face >= 0) & (ours.pix_to_face == theirs.pix_to_face)
    return {
        "pixels": theirs.pix_to_face.numel(),
        "covered": int((theirs.pix_to_face >= 0).sum()),
        "shown": len(theirs.pix_to_face.unique()),
        "differ": int((ours.pix_to_face != theirs.pix_to_face).sum()),
        "barycentric": float((ours.barycentric - theirs.barycentric).abs()[hit].max()) if hit.any() else 0.0,
        "depth": float((ours.depth - theirs.depth).abs()[hit].max()) if hit.any() else 0.0,
        "empty": int((torch.isinf(ours.depth) != (ours.pix_to_face < 0)).sum()),
    }


def main(device: str) -> dict[str, dict[str, float]]:
    found = {}
    for name, size, flags in (
        ("plain", (14, 36), {}),
        ("culled", (36, 13), {"cull_backfaces": True}),
        ("orthographic", (12, 35), {"perspective": False}),
    ):
        vertices, triangles = mixed(*size)
        ours = select("triton", device=device, **flags)(vertices.to(device), triangles.to(device), *size)
        theirs = select("numba", **flags)(vertices, triangles, *size)
        found[name] = compare(Fragments(ours.pix_to_face.cpu(), ours.barycentric.cpu(), ours.depth.cpu()), theirs)
    flat = torch.tensor([[[0, 0, 2.0], [8, 0, 2.0], [0, 8, 2.0]]])
    tie = select("triton")(flat.to(device), torch.tensor([[0, 1, 2], [0, 2, 1], [1, 2, 0]], device=device), 5, 4)
    found["tie"] = {"other": int((tie.pix_to_face > 0).sum()), "first": int((tie.pix_to_face == 0).sum())}
    none = select("triton")(flat[:0].to(device), torch.tensor([[0, 1, 2]], device=device), 5, 4)
    bare = select("triton")(flat.to(device), torch.zeros(0, 3, dtype=torch.long, device=device), 5, 4)
    found["nothing"] = {"faces": len(none.depth), "covered": int((bare.pix_to_face >= 0).sum())}
    return found


if __name__ == "__main__":
    from operators.rasterize import triton_backend

    # Few programs, so that each goes round its queue several times and the interpreter gets done.
    triton_backend._WARPS, triton_backend._HUGE_WARPS = 3, (2, 2)
    print(json.dumps(main("cpu")))
