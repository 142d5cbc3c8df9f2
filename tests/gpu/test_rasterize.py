import pytest
import torch

from operators.rasterize import select
from operators.rasterize.triton_backend import TritonRasterizer
from tests.operators.rasterize import triton_cases
from tests.operators.rasterize.meshes import soup

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device, and this machine has none")


@pytest.fixture(scope="module")
def found():
    return triton_cases.main("cuda")


@pytest.mark.parametrize("case", ["plain", "culled", "orthographic"])
def test_pixels_are_those_of_numba_to_the_bit(found, case):
    assert found[case]["covered"] > 0
    assert found[case]["differ"] == found[case]["barycentric"] == found[case]["depth"] == found[case]["empty"] == 0


def test_ties_and_nothing(found):
    assert found["tie"]["other"] == 0 and found["tie"]["first"] > 0
    assert found["nothing"] == {"faces": 0, "covered": 0}


@pytest.mark.parametrize("size", [(1, 1), (255, 31), (1024, 1024)])
def test_every_run_and_every_batch_gives_the_same_bits(size):
    vertices, triangles = (torch.tensor(a).cuda() for a in soup(1, 3000, max(size)))
    batch = torch.stack([vertices, vertices + 0.3, vertices - 0.7])
    rasterizer = select("auto", device="cuda")
    assert isinstance(rasterizer, TritonRasterizer)
    whole = rasterizer(batch, triangles, *size)
    for _ in range(5):
        again = rasterizer(batch.flip(0), triangles, *size)
        for name in ("pix_to_face", "barycentric", "depth"):
            assert torch.equal(getattr(whole, name), getattr(again, name).flip(0))
    theirs = select("numba")(batch.cpu(), triangles.cpu(), *size)
    assert torch.equal(whole.pix_to_face.cpu(), theirs.pix_to_face)
    assert torch.equal(whole.depth.cpu(), theirs.depth)


def test_open_face_in_one_batch_equals_numba():
    from jobs.benchmarks.rasterize_meshes import posed_faces

    vertices, triangles = posed_faces("open_face", 64, 256, 90.0)
    ours = select("triton", device="cuda")(vertices.cuda(), triangles.cuda(), 256, 256)
    theirs = select("numba")(vertices, triangles, 256, 256)
    assert int((ours.pix_to_face.cpu() != theirs.pix_to_face).sum()) == 0
    torch.testing.assert_close(ours.barycentric.cpu(), theirs.barycentric, atol=1e-6, rtol=0)
