import torch

from operators.inpaint.seeds import normal, uniform


def test_a_faces_numbers_are_its_own():
    seeds = torch.tensor([5, 2**62 + 11, 7])
    together = normal(seeds, (3, 4))
    for i in range(3):
        assert torch.equal(normal(seeds[i : i + 1], (3, 4))[0], together[i])
    assert len({tuple(row.flatten().tolist()) for row in together}) == 3


def test_streams_are_independent():
    seeds = torch.tensor([5])
    first, second = normal(seeds, (10_000,)), normal(seeds, (10_000,), stream=1)
    assert abs(float(torch.corrcoef(torch.cat((first, second)))[0, 1])) < 0.05
    values = uniform(seeds, (10_000,))
    assert float(values.min()) >= 0 and float(values.max()) < 1 and abs(float(values.mean()) - 0.5) < 0.02
