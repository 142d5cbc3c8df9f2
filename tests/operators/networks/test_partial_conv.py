import pytest
import torch

from operators.networks.partial_conv import PartialConv2d, PixelNorm, seen_in_window
from tests.conformance.formula import centred


def conv(kernel: int, stride: int, padding: int) -> PartialConv2d:
    made = PartialConv2d(3, 4, kernel, stride, padding).requires_grad_(False)
    for key, value in made.named_parameters():
        value.copy_(torch.from_numpy(centred(key, value.shape)))
    return made


def picture(height: int, width: int) -> torch.Tensor:
    return torch.from_numpy(centred("picture", (2, 3, height, width))).float()


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "size"),
    [
        (3, 1, 1, (8, 5)),
        (3, 2, 1, (8, 6)),
        (3, 2, 1, (7, 9)),
        (5, 1, 2, (6, 9)),
        (2, 2, 0, (6, 4)),
        (3, 1, 1, (1, 1)),
        (3, 1, 1, (2, 1)),
    ],
)
def test_without_a_mask_everything_is_known(kernel, stride, padding, size):
    layer, x = conv(kernel, stride, padding), picture(*size)
    expected, share = layer.masked(x, torch.ones(2, 1, *size))
    torch.testing.assert_close(layer(x), expected, rtol=1e-5, atol=1e-5)
    rows, columns = layer.seen(x.shape)
    torch.testing.assert_close(torch.outer(torch.tensor(rows), torch.tensor(columns)), share[0, 0])


@pytest.mark.parametrize("size", [(8, 5), (1, 1), (1, 6), (2, 2)])
def test_shares_of_lines_are_a_mask(size):
    layer, x = conv(3, 1, 1), picture(*size)
    shares = layer.seen(x.shape)
    mask = torch.outer(*map(torch.tensor, shares)).expand(2, 1, -1, -1)
    expected, _ = layer.masked(x, mask)
    torch.testing.assert_close(layer(x.clone(), shares), expected, rtol=1e-5, atol=1e-5)


def test_a_window_is_scaled_by_what_it_knows_and_hidden_values_do_not_count():
    layer, x, mask = conv(3, 1, 1), picture(6, 6), torch.ones(2, 1, 6, 6)
    mask[..., 1:5, 1:5] = 0
    out, share = layer.masked(x, mask)
    window = (x * mask)[:, :, 0:3, 0:3]  # around (1, 1): five of nine known
    assert layer.bias is not None
    by_hand = (window[:, None] * layer.weight).sum((2, 3, 4)) * 9 / 5 + layer.bias
    torch.testing.assert_close(out[:, :, 1, 1], by_hand, rtol=1e-5, atol=1e-5)
    assert share[0, 0, 1, 1] == pytest.approx(5 / 9) and share[0, 0, 2, 2] == 0 and (out[:, :, 2, 2] == 0).all()
    assert torch.equal(out, layer.masked(torch.where(mask > 0, x, 77.0), mask)[0])


def test_sums_are_not_rounded_by_autocast():
    mask = torch.full((1, 1, 4, 4), 1 / 3)
    with torch.autocast("cpu", torch.bfloat16):
        total, ratio = seen_in_window(mask, 3, 1, 1)
    assert total.dtype == torch.float32 and total[0, 0, 1, 1] == pytest.approx(3) and ratio[0, 0, 1, 1] == pytest.approx(3)


def test_gradients_reach_input_and_weights():
    layer, norm = PartialConv2d(3, 4, 3, padding=1), PixelNorm(4)
    x = picture(5, 5).requires_grad_()
    shares = layer.seen(x.shape)
    norm(layer(x * 2, shares)).sum().backward()
    step, before = 1e-2, x.detach().clone()
    assert x.grad is not None and layer.weight.grad is not None
    moved = before.clone()
    moved[0, 0, 0, 0] += step
    with torch.no_grad():
        change = norm(layer(moved * 2, shares)).double().sum() - norm(layer(before * 2, shares)).double().sum()
    assert float(change) / step == pytest.approx(float(x.grad[0, 0, 0, 0]), rel=0.1)


def test_pixel_norm_leaves_a_root_mean_square_of_one():
    x, norm = picture(4, 4) * 9, PixelNorm(3)
    assert torch.allclose(norm(x).square().mean(1), torch.ones(2, 4, 4), atol=1e-5)
    last = x.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(norm(last), norm(x), rtol=1e-6, atol=1e-6)
