import pytest
import torch

from operators.morphable.linear import normal_equations, solve_spd


@pytest.mark.parametrize("columns", [1, 9, 16, 27, 49])
def test_solves_least_squares_and_bits_do_not_depend_on_the_batch(columns):
    g = torch.Generator().manual_seed(columns)
    x, y = torch.randn(6, 120, columns, generator=g), torch.randn(6, 120, generator=g)
    solved, fine = solve_spd(*normal_equations(x, y))
    assert fine.all()
    expected = torch.linalg.lstsq(x.double(), y.double()[..., None]).solution[..., 0]
    torch.testing.assert_close(solved.double(), expected, atol=1e-3, rtol=1e-3)
    for first, last in ((1, 2), (3, 6)):
        assert torch.equal(solve_spd(*normal_equations(x[first:last], y[first:last]))[0], solved[first:last])


def test_a_singular_system_is_reported_and_gives_zero():
    system = torch.stack((torch.eye(3), torch.zeros(3, 3), torch.full((3, 3), float("nan"))))
    solved, fine = solve_spd(system, torch.ones(3, 3))
    assert fine.tolist() == [True, False, False]
    assert solved.tolist() == [[1, 1, 1], [0, 0, 0], [0, 0, 0]]
