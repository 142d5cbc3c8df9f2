"""The rasterizers: speed, how cost grows, and how far the backends agree."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from jobs.bench import Figures, Options, benchmark
from jobs.benchmarks.rasterize_meshes import bases, posed_faces, relief
from operators.rasterize import differentiable, interpolate, pytorch3d_backend, select
from operators.rasterize.base import SUBPIXEL, Fragments, Rasterizer

SIZE, BATCH = 256, 16
HBM_BYTES_PER_S, ATOMICS_PER_S, FLOPS_PER_S = 4.8e12, 1.5e11, 6.7e13
"""One H200: memory bandwidth and float32 rate from its data sheet; 64-bit atomics at one per clock and L2 slice."""


def cpu_ms(work: Callable[[], object], meshes: int, seconds: float) -> tuple[float, float, float, int]:
    """CPU milliseconds (median, best) and wall milliseconds (median) per mesh, and how often `work` ran."""
    work()
    cpu: list[float] = []
    wall: list[float] = []
    end = time.perf_counter() + seconds
    while len(cpu) < 3 or time.perf_counter() < end:
        start, began = time.process_time(), time.perf_counter()
        work()
        cpu.append(time.process_time() - start)
        wall.append(time.perf_counter() - began)
    share = 1e3 / meshes
    return share * statistics.median(cpu), share * min(cpu), share * statistics.median(wall), len(cpu)


def device_ms(work: Callable[[], object], meshes: int, turns: int = 20) -> float:
    """Median device milliseconds per mesh, by events."""
    for _ in range(3):
        work()
    spans = []
    for _ in range(turns):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        work()
        end.record()
        end.synchronize()
        spans.append(begin.elapsed_time(end) / meshes)
    return statistics.median(spans)


def floor_ms(vertices: int, triangles: int, fragments: int, size: int) -> dict[str, float]:
    """Least device milliseconds per mesh: what the passes move (keys written, merged and read; results written), the atomics of
    at least one fragment per covered pixel, and the operations on triangles, fragments and pixels."""
    pixels = size * size
    moved = 12 * vertices + 12 * triangles + 3 * 8 * pixels + 20 * pixels
    computed = 150 * triangles + 20 * 2 * fragments + 60 * pixels
    return {
        "memory_floor_ms": 1e3 * moved / HBM_BYTES_PER_S,
        "atomic_floor_ms": 1e3 * fragments / ATOMICS_PER_S,
        "arithmetic_floor_ms": 1e3 * computed / FLOPS_PER_S,
    }


def _row(mesh: str, vertices: Tensor, triangles: Tensor, size: int) -> dict[str, Any]:
    return {"mesh": mesh, "vertices": vertices.shape[1], "triangles": len(triangles), "px": size, "batch": len(vertices)}


@benchmark(
    "meshes/s of each rasterizer backend at hand on posed faces at 256 px, with ratios to numba on one thread", group="engine"
)
def rasterize(options: Options) -> Figures:
    """CPU time is the median over batches of process time, everything included; GPU time by device events."""
    figures: Figures = []
    seconds, before = 3.0 * options.scale, torch.get_num_threads()
    for base in bases():
        vertices, triangles = posed_faces(base, BATCH, SIZE)
        row = _row(Path(base).stem, vertices, triangles, SIZE)
        reference = 0.0
        for culled, threads in ((False, 1), (True, 1), (False, before)):
            rasterizer = select("numba", cull_backfaces=culled)
            torch.set_num_threads(threads)
            try:
                cpu, best, wall, n = cpu_ms(partial(rasterizer, vertices, triangles, SIZE, SIZE), BATCH, seconds)
            finally:
                torch.set_num_threads(before)
            reference = reference or cpu
            kind = f"numba{' culled' if culled else ''}, {threads} thread{'s' * (threads > 1)}"
            rates = {"ms": cpu, "best_ms": best, "meshes_per_s": 1e3 / wall, "vs_numba": reference / cpu, "n": n}
            figures.append({**row, "backend": kind, **rates})
        if pytorch3d_backend.available():
            theirs = select("pytorch3d")
            start = time.process_time()
            theirs(vertices[:2], triangles, SIZE, SIZE)
            ms = 1e3 * (time.process_time() - start) / 2
            rates = {"ms": ms, "best_ms": ms, "meshes_per_s": 1e3 / ms, "vs_numba": reference / ms, "n": 1}
            figures.append({**row, "backend": "pytorch3d, CPU", **rates})
        if torch.cuda.is_available():
            figures += _on_gpu(base, row, reference)
    return figures


def _on_gpu(base: str, row: dict[str, Any], reference: float) -> Figures:
    figures: Figures = []
    for count in (1, 64, 512):
        vertices, triangles = (x.cuda() for x in posed_faces(base, count, SIZE))
        for backend in ("triton", "pytorch3d") if pytorch3d_backend.available() else ("triton",):
            rasterizer = select(backend, device="cuda")
            ms = device_ms(partial(rasterizer, vertices, triangles, SIZE, SIZE), count)
            rates = {"ms": ms, "best_ms": ms, "meshes_per_s": 1e3 / ms, "vs_numba": reference / ms, "n": 20}
            if backend == "triton":
                covered = int((rasterizer(vertices, triangles, SIZE, SIZE).pix_to_face >= 0).sum()) // count
                least = floor_ms(row["vertices"], row["triangles"], covered, SIZE)
                rates |= {**least, "times_floor": ms / max(least.values())}
            figures.append({**row, "batch": count, "backend": f"{backend}, GPU", **rates})
    return figures


@benchmark("how the cost of the numba rasterizer grows with vertices and pixels, one thread", group="engine")
def rasterize_scaling(options: Options) -> Figures:
    """`ns_per_triangle` and `ns_per_pixel` divide the same time by each."""
    figures: Figures = []
    rasterizer, before = select("numba"), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for count, size in [(v, SIZE) for v in (1000, 3000, 10000, 25000, 50000)] + [(10000, s) for s in (128, 512, 1024)]:
            batch = max(1, BATCH * SIZE * SIZE // max(size, SIZE) ** 2)
            vertices, triangles = relief(count, batch, size)
            cpu, best, _, n = cpu_ms(partial(rasterizer, vertices, triangles, size, size), batch, options.scale)
            shares = {"ns_per_triangle": 1e6 * cpu / len(triangles), "ns_per_pixel": 1e6 * cpu / size**2}
            figures.append({**_row("relief", vertices, triangles, size), "cpu_ms": cpu, "best_ms": best, **shares, "n": n})
    finally:
        torch.set_num_threads(before)
    return figures


@benchmark(
    "attributes at every pixel: torch and the compiled path side by side, and fragments that carry gradients", group="engine"
)
def rasterize_attributes(options: Options) -> Figures:
    """Three channels at 256 px, one thread, CPU time per mesh; with gradients, forward and backward."""
    figures: Figures = []
    vertices, triangles = posed_faces("open_face", BATCH, SIZE)
    fragments, before = select("numba")(vertices, triangles, SIZE, SIZE), torch.get_num_threads()
    leaf = vertices.clone().requires_grad_()
    torch.set_num_threads(1)

    def through() -> None:
        interpolate(vertices, differentiable(leaf, fragments, triangles), triangles).sum().backward()

    kinds: dict[str, Callable[[], object]] = {
        "compiled": lambda: interpolate(vertices, fragments, triangles),
        "torch": lambda: interpolate(leaf, fragments, triangles),
        "torch, geometry, with backward": through,
    }
    try:
        for kind, work in kinds.items():
            cpu, _, _, n = cpu_ms(work, BATCH, options.scale)
            figures.append({"path": kind, "px": SIZE, "channels": 3, "batch": BATCH, "cpu_ms": cpu, "n": n})
    finally:
        torch.set_num_threads(before)
    return [{**row, "ratio": row["cpu_ms"] / figures[0]["cpu_ms"]} for row in figures]


def edge_distance(vertices: Tensor, triangles: Tensor, index: Tensor) -> Tensor:
    """Pixels between each pixel's centre and the nearest edge of its triangle, in float64; inf where there is none."""
    hit = index >= 0
    face, y, x = torch.nonzero(hit, as_tuple=True)
    corners = vertices.double()[face[:, None], triangles.long()[index[hit].long()], :2]
    centre = torch.stack((x, y), -1).double()[:, None] + 0.5
    along = corners.roll(-1, 1) - corners
    t = (((centre - corners) * along).sum(-1) / along.square().sum(-1).clamp_min(1e-30)).clamp(0, 1)
    out = torch.full(index.shape, torch.inf, dtype=torch.float64)
    out[hit] = (corners + t[..., None] * along - centre).norm(dim=-1).amin(1)
    return out


def agreement(vertices: Tensor, triangles: Tensor, ours: Fragments, theirs: Fragments) -> dict[str, Any]:
    """How two sets of fragments of the same meshes differ; `away` counts pixels more than 1e-3 px from the edges of both."""
    same = ours.pix_to_face == theirs.pix_to_face
    near = torch.minimum(*(edge_distance(vertices, triangles, f.pix_to_face) for f in (ours, theirs)))
    hit = same & (ours.pix_to_face >= 0)
    away = near > 1e-3
    depth = ((ours.depth - theirs.depth).abs() / ours.depth)[hit]
    return {
        "pixels": same.numel(),
        "covered": int((ours.pix_to_face >= 0).sum()),
        "differ": int((~same).sum()),
        "differ_away": int((~same & away).sum()),
        "equal": float(same.double().mean()),
        "equal_covered": 1 - float((~same).sum()) / max(int((ours.pix_to_face >= 0).sum()), 1),
        "max_barycentric": float((ours.barycentric - theirs.barycentric).abs()[hit].max()),
        "max_depth_relative": float(depth.max()),
    }


@benchmark("pixels on which the backends at hand agree with numba, on 24 poses up to profiles; minutes with pytorch3d on a CPU")
def rasterize_agreement(options: Options) -> Figures:
    """Covers pytorch3d where it is installed and Triton where there is a GPU; no rows where neither is.

    pytorch3d does not snap vertices; the rows `snapped` give it the sub-pixel positions that numba works with.
    """
    figures: Figures = []
    count = max(1, round(24 * options.scale))
    others: list[tuple[str, str]] = [("triton", "cuda")] if torch.cuda.is_available() else []
    others += [("pytorch3d", "cpu")] if pytorch3d_backend.available() else []
    for base in bases():
        given, triangles = posed_faces(base, count, SIZE, 90.0)
        snapped = torch.cat((torch.round(given[..., :2] * SUBPIXEL) / SUBPIXEL, given[..., 2:]), -1)
        ours = select("numba")(given, triangles, SIZE, SIZE)
        for name, device in others:
            other: Rasterizer = select(name, device=device)
            for kind, vertices in (("as given", given), ("snapped", snapped)):
                start = time.process_time()
                found = other(vertices.to(device), triangles.to(device), SIZE, SIZE)
                spent = time.process_time() - start
                theirs = Fragments(found.pix_to_face.cpu(), found.barycentric.cpu(), found.depth.cpu())
                row = {**_row(Path(base).stem, vertices, triangles, SIZE), "backend": name, "its_vertices": kind}
                figures.append({**row, **agreement(given, triangles, ours, theirs), "cpu_s": spent})
    return figures
