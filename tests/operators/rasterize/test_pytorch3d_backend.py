import pytest
import torch

from jobs.benchmarks.rasterize import agreement
from operators.rasterize import select
from operators.rasterize.pytorch3d_backend import available
from tests.operators.rasterize.meshes import grid, soup

needs_pytorch3d = pytest.mark.skipif(not available(), reason="pytorch3d is not installed (it has to be built from source)")


@pytest.mark.skipif(available(), reason="pytorch3d is installed")
def test_says_what_is_missing():
    with pytest.raises(ImportError, match="must be built from source"):
        select("pytorch3d")


@needs_pytorch3d
@pytest.mark.parametrize("perspective", [True, False])
@pytest.mark.parametrize("size", [(40, 40), (40, 56), (57, 31)])
def test_agrees_with_numba_away_from_edges(size, perspective):
    vertices, triangles = (torch.tensor(a) for a in soup(0))
    batch = torch.stack([vertices, vertices + 0.37])
    ours, theirs = (select(kind, perspective=perspective)(batch, triangles, *size) for kind in ("numba", "pytorch3d"))
    result = agreement(batch, triangles, ours, theirs)
    assert result["covered"] > 1000 and result["differ_away"] == 0 and result["equal"] > 0.999
    assert result["max_barycentric"] < 1e-3 and result["max_depth_relative"] < 1e-3
    assert theirs.pix_to_face.dtype == torch.int32
    assert torch.equal(torch.isinf(theirs.depth), theirs.pix_to_face < 0)


@needs_pytorch3d
@pytest.mark.parametrize("bad", [[2.0, 2.0, -1.0], [2.0, 2.0, 0.0005], [float("nan"), 2, 1], [2, float("inf"), 1], [2, 2, 1e19]])
def test_drops_whole_triangles_with_an_unusable_vertex(bad):
    vertices = torch.tensor([[[0, 0, 1.0], [8, 0, 1.0], [0, 8, 1.0], bad], [[0, 0, 1.0], [8, 0, 1.0], [0, 8, 1.0], [8, 8, 1.0]]])
    triangles = torch.tensor([[0, 1, 3], [1, 2, 3], [0, 1, 2]])
    ours, theirs = (select(kind)(vertices, triangles, 8, 8) for kind in ("numba", "pytorch3d"))
    assert set(theirs.pix_to_face[0].unique().tolist()) == {-1, 2}
    assert len(theirs.pix_to_face[1].unique()) >= 3
    assert agreement(vertices.nan_to_num(0), triangles, ours, theirs)["differ_away"] == 0
    assert torch.isfinite(theirs.barycentric).all()


@needs_pytorch3d
def test_culls_the_same_side_and_takes_empty_input():
    vertices, triangles = grid(0)
    ours, theirs = (select(kind, cull_backfaces=True)(vertices, triangles, 8, 8) for kind in ("numba", "pytorch3d"))
    assert (theirs.pix_to_face >= 0).any()
    assert agreement(vertices, triangles, ours, theirs)["differ_away"] == 0
    assert not (select("pytorch3d", cull_backfaces=True)(vertices, triangles.flip(1), 8, 8).pix_to_face >= 0).any()
    assert select("pytorch3d")(vertices[:0], triangles, 4, 4).pix_to_face.shape == (0, 4, 4)
    assert (select("pytorch3d")(vertices, triangles[:0], 4, 4).pix_to_face == -1).all()
