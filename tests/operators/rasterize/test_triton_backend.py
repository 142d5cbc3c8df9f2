"""Triton's interpreter runs the GPU kernels on the CPU; a GPU itself is needed by tests/gpu only."""

import json
import os
import subprocess
import sys

import pytest
import torch

from operators.rasterize import select

pytest.importorskip("triton", reason="the package triton is not installed")


@pytest.fixture(scope="module")
def found() -> dict:
    command = [sys.executable, "-m", "tests.operators.rasterize.triton_cases"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "TRITON_INTERPRET": "1"})
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("case", ["plain", "culled", "orthographic"])
def test_pixels_are_those_of_numba_to_the_bit(found, case):
    result = found[case]
    assert result["covered"] > 0.2 * result["pixels"] and result["shown"] > 15
    assert result["differ"] == result["barycentric"] == result["depth"] == result["empty"] == 0


def test_equal_depth_goes_to_the_smaller_index(found):
    assert found["tie"]["other"] == 0 and found["tie"]["first"] > 0


def test_no_faces_and_no_triangles(found):
    assert found["nothing"] == {"faces": 0, "covered": 0}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_says_what_is_missing():
    with pytest.raises(ImportError, match="CUDA device"):
        select("triton")


def test_kernels_compile_for_a_gpu_that_is_not_there(tmp_path, monkeypatch):
    """To PTX of compute capability 9.0: 64-bit atomics, divisions rounded to nearest, nothing contracted."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from operators.rasterize import triton_kernels

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    pointers = dict.fromkeys(("triangles", "queues", "queue", "lengths", "length", "index"), "*i32")
    pointers |= dict.fromkeys(("vertices", "weights", "depth"), "*fp32") | {"keys": "*i64", "near": "fp32"}
    for name, constants in (
        ("draw_small", {"CULL": True, "PERSPECTIVE": True, "BLOCK": 32}),
        ("draw_queued", {"PERSPECTIVE": False, "TILE_X": 8, "TILE_Y": 4}),
        ("resolve", {"PERSPECTIVE": True, "BLOCK": 256}),
    ):
        kernel = getattr(triton_kernels, name)
        signature = {a: "constexpr" if a in constants else pointers.get(a, "i32") for a in kernel.arg_names}
        source = ASTSource(kernel, signature, constexprs=constants)
        options = {"num_warps": 1, "enable_fp_fusion": False}
        ptx = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options).asm["ptx"]
        assert ("max.s64" in ptx) == (name != "resolve")
        assert "div.rn.f32" in ptx and "div.full" not in ptx and "fma.rn.f32" not in ptx
