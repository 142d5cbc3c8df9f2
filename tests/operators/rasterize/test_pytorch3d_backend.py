import pytest
import torch

from operators.rasterize import select
from operators.rasterize.pytorch3d_backend import available
from tests.operators.rasterize.meshes import soup


@pytest.mark.skipif(available(), reason="pytorch3d is installed")
def test_says_what_is_missing():
    with pytest.raises(ImportError, match="must be built from source"):
        select("pytorch3d")


@pytest.mark.skipif(not available(), reason="pytorch3d is not installed")
@pytest.mark.parametrize("size", [(40, 40), (40, 56)])
def test_agrees_with_numba(size):
    vertices, triangles = (torch.tensor(a) for a in soup(0))
    ours, theirs = (select(kind)(vertices[None], triangles, *size) for kind in ("numba", "pytorch3d"))
    same = ours.pix_to_face == theirs.pix_to_face
    assert same.float().mean() > 0.995
    torch.testing.assert_close(ours.barycentric[same], theirs.barycentric[same], atol=1e-3, rtol=0)
