"""The membrane against a dense solve, and what its boundary conditions promise."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from operators.blend import hold, membrane


def dense(source: np.ndarray, weight: np.ndarray, domain: np.ndarray, floor: float) -> np.ndarray:
    """The same membrane by Gaussian elimination."""
    where = np.argwhere(domain)
    index = {tuple(at): i for i, at in enumerate(where)}
    matrix = np.zeros((len(where), len(where)))
    for (y, x), i in index.items():
        matrix[i, i] = weight[y, x] + floor
        for neighbour in ((y, x + 1), (y + 1, x), (y, x - 1), (y - 1, x)):
            if neighbour in index:
                matrix[i, i] += 1
                matrix[i, index[neighbour]] -= 1
    solution = np.zeros(domain.shape)
    solution[domain] = np.linalg.solve(matrix, source[domain])
    return solution


def blob(size: tuple[int, int], seed: int) -> torch.Tensor:
    """A random domain with holes and ragged borders."""
    y, x = np.mgrid[: size[0], : size[1]]
    rng = np.random.default_rng(seed)
    field = sum(np.sin(x * a + y * b + c) for a, b, c in rng.uniform(-0.6, 0.6, (6, 3)) * [1, 1, 10])
    return torch.from_numpy(field > np.quantile(field, 0.4))


@pytest.mark.parametrize(("size", "seed"), [((32, 32), 0), ((32, 32), 1), ((21, 37), 2), ((5, 7), 3)])
def test_equals_dense_solve_with_mixed_boundaries(size, seed):
    domain = blob(size, seed)
    values = torch.rand((1, 2, *size), generator=torch.Generator().manual_seed(seed))
    trust = (torch.rand((1, *size), generator=torch.Generator().manual_seed(seed + 9)) > 0.4).float()
    source, weight = hold(values, trust, domain[None])
    result = membrane(source, weight, domain[None], cycles=12, floor=1e-3)
    for channel in range(2):
        expected = dense(source[0, channel].double().numpy(), weight[0, 0].double().numpy(), domain.numpy(), 1e-3)
        assert np.abs(result[0, channel].numpy() - expected).max() < 2e-3


def test_constant_offset_is_carried_through_the_hole():
    domain = torch.zeros((1, 64, 64), dtype=torch.bool)
    domain[0, 10:50, 5:40] = True
    source, weight = hold(torch.full((1, 3, 64, 64), 0.25), torch.ones((1, 64, 64)), domain)
    result = membrane(source, weight, domain)
    assert torch.allclose(result[0, :, domain[0]], torch.tensor(0.25), atol=1e-3)


def test_untrusted_border_does_not_pull():
    domain = torch.zeros((1, 40, 40), dtype=torch.bool)
    domain[0, 10:30, 10:30] = True
    values = torch.full((1, 1, 40, 40), 0.1)
    values[..., 30:, :] = -5.0  # leftovers of a mask below the hole
    trust = torch.ones((1, 40, 40))
    trust[:, 30:] = 0
    free = membrane(*hold(values, trust, domain), domain)
    held = membrane(*hold(values, torch.ones_like(trust), domain), domain)
    assert torch.allclose(free[0, :, domain[0]], torch.tensor(0.1), atol=1e-3)
    assert held[0, 0, 29, 20] < -1.5


def test_linear_field_between_two_walls():
    domain = torch.zeros((1, 16, 34), dtype=torch.bool)
    domain[:, :, 1:33] = True
    values = torch.zeros((1, 1, 16, 34))
    values[..., 33] = 1.0
    trust = torch.zeros((1, 16, 34))
    trust[..., 0] = trust[..., 33] = 1.0
    result = membrane(*hold(values, trust, domain), domain, cycles=14)
    assert torch.allclose(result[0, 0, 8, 1:33], torch.arange(1, 33) / 33.0, atol=2e-3)


def test_one_face_equals_the_same_face_among_others():
    domain = torch.stack([blob((48, 48), seed) for seed in range(3)])
    values = torch.rand((3, 3, 48, 48), generator=torch.Generator().manual_seed(0))
    source, weight = hold(values, torch.ones((3, 48, 48)), domain)
    together = membrane(source, weight, domain)
    for i in range(3):
        assert torch.equal(together[i], membrane(source[i : i + 1], weight[i : i + 1], domain[i : i + 1])[0])


def test_nothing_holds_gives_zero():
    domain = torch.ones((1, 16, 16), dtype=torch.bool)
    result = membrane(torch.zeros((1, 1, 16, 16)), torch.zeros((1, 1, 16, 16)), domain)
    assert torch.equal(result, torch.zeros_like(result))


@pytest.mark.parametrize("size", [(96, 128), (37, 53), (1, 1), (2, 5)])
def test_compiled_cycles_are_those_of_the_reference(size):
    g = torch.Generator().manual_seed(0)
    domain = torch.rand(3, *size, generator=g) > 0.2
    domain[1, :, size[1] // 2 :] = False
    weight = (torch.rand(3, 1, *size, generator=g) < 0.1).float() + 1e-3
    source = weight * torch.randn(3, 2, *size, generator=g)
    compiled = membrane(source, weight, domain, cycles=5)
    reference = membrane(source.double(), weight.double(), domain, cycles=5)
    torch.testing.assert_close(compiled.double(), reference, atol=1e-4, rtol=0)
    assert torch.equal(membrane(source[1:2], weight[1:2], domain[1:2], cycles=5), compiled[1:2])
    assert not membrane(source, weight, torch.zeros_like(domain), cycles=5).any()
