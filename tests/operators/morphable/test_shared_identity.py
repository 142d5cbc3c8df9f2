import torch

from operators.morphable.fit import FitSettings, fit_landmarks
from operators.morphable.shared_identity import solve_shared
from tests.operators.morphable.test_fit import SIZE, Truth

PEOPLE, PHOTOS = 8, 5


def album(noise=2.0):
    """Several photos of each person: one identity, own expression and pose."""
    truth = Truth(PEOPLE * PHOTOS)
    truth.person = torch.arange(PEOPLE).repeat_interleave(PHOTOS)
    truth.coefficients[:, : truth.points.identity] = truth.coefficients[truth.person * PHOTOS, : truth.points.identity]
    truth.exact = truth.project(truth.coefficients)
    g = torch.Generator().manual_seed(5)
    truth.target = truth.exact + noise * torch.randn(truth.exact.shape, generator=g)
    return truth


def fit(truth, person=None, rows=slice(None)):
    settings = FitSettings(noise_px=2.0, tolerance=1e-6, max_steps=40)
    return fit_landmarks(
        truth.points, truth.target[rows], truth.weights[rows], truth.focal[rows], SIZE, settings, person=person
    )  # fmt: skip


def identity_error(truth, fit):
    k = truth.points.identity
    return (fit.coefficients - truth.coefficients)[:, :k].square().mean().sqrt()


def test_schur_complement_solves_the_whole_system():
    g = torch.Generator().manual_seed(0)
    root = torch.randn(5, 9, 20, generator=g, dtype=torch.float64)
    system, right = root @ root.mT, torch.randn(5, 9, generator=g, dtype=torch.float64)
    person, identity = torch.tensor([7, 3, 7, 7, 3]), 4
    solved = solve_shared(system, right, person, identity)
    for who in (3, 7):
        rows = torch.nonzero(person == who)[:, 0]
        own = 9 - identity
        size = identity + own * len(rows)
        A, b = torch.zeros(size, size, dtype=torch.float64), torch.zeros(size, dtype=torch.float64)
        for i, row in enumerate(rows):
            at = torch.cat((torch.arange(identity), identity + i * own + torch.arange(own)))
            A[at[:, None], at] += system[row]
            b[at] += right[row]
        x = torch.linalg.solve(A, b)
        for i, row in enumerate(rows):
            torch.testing.assert_close(solved[row], torch.cat((x[:identity], x[identity + i * own :][:own])))


def test_photos_of_one_person_share_identity_and_know_it_better():
    truth = album()
    alone, together = fit(truth), fit(truth, truth.person)
    k = truth.points.identity
    assert together.ok.all() and together.converged.all()
    per_person = together.coefficients[:, :k].unflatten(0, (PEOPLE, PHOTOS))
    assert torch.equal(per_person, per_person[:, :1].expand_as(per_person))
    assert not torch.equal(together.coefficients[0, k:], together.coefficients[1, k:])
    assert identity_error(truth, together) < 0.75 * identity_error(truth, alone)
    spread = [torch.linalg.inv(f.information)[:, :k, :k].diagonal(dim1=1, dim2=2).mean() for f in (alone, together)]
    assert spread[1] < 0.6 * spread[0]


def test_a_person_with_one_photo_is_fitted_as_a_stranger():
    truth = album()
    person = torch.arange(PEOPLE * PHOTOS)
    person[:PHOTOS] = 0
    mixed, alone = fit(truth, person), fit(truth)
    assert torch.equal(mixed.coefficients[PHOTOS:], alone.coefficients[PHOTOS:])
    assert torch.equal(mixed.information[PHOTOS:], alone.information[PHOTOS:])


def test_people_do_not_depend_on_each_other_and_a_useless_photo_harms_none():
    truth = album()
    whole = fit(truth, truth.person)
    rows = slice(PHOTOS, 3 * PHOTOS)
    torch.testing.assert_close(fit(truth, truth.person[rows], rows).coefficients, whole.coefficients[rows], atol=1e-4, rtol=0)
    truth.weights[0] = 0
    less = fit(truth, truth.person)
    assert not less.ok[0] and less.ok[1:].all()
    rows = slice(1, PHOTOS)
    torch.testing.assert_close(fit(truth, truth.person[rows], rows).coefficients, less.coefficients[rows], atol=1e-4, rtol=0)


def test_a_useless_photo_is_nobodys_whatever_the_numbers_of_people():
    truth = album()
    truth.weights[3] = 0
    alone = fit(truth)
    for person in (-1 - torch.arange(PEOPLE * PHOTOS).flip(0), 7 * torch.arange(PEOPLE * PHOTOS) - 20):
        again = fit(truth, person)
        assert torch.equal(again.coefficients, alone.coefficients)
        assert torch.equal(again.information, alone.information)
