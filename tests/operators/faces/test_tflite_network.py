"""Layers against computations done by hand, and the real networks' shapes."""

import numpy as np
import pytest
import torch

from operators.faces.tflite_network import TfliteNetwork


def run(step: dict, x: torch.Tensor, *weights: torch.Tensor) -> torch.Tensor:
    """One layer on x."""
    names = {str(i + 1): w for i, w in enumerate(weights)}
    program = [
        {"kind": "input", "inputs": [], "outputs": [0]},
        {"inputs": list(range(len(weights) + 1)), "outputs": [99], **step},
        {"kind": "output", "inputs": [99], "outputs": [], "names": ["y"]},
    ]
    return TfliteNetwork(program, names)(x)["y"]


def same_conv_by_hand(image: np.ndarray, kernel: np.ndarray, stride: int) -> np.ndarray:
    """TensorFlow's SAME: ceil(n / stride) outputs; of an odd padding the smaller half is in front."""
    n, k = image.shape[0], kernel.shape[0]
    out = -(-n // stride)
    total = max((out - 1) * stride + k - n, 0)
    padded = np.zeros((n + total, n + total))
    padded[total // 2 : total // 2 + n, total // 2 : total // 2 + n] = image
    return np.array(
        [
            [(padded[i * stride : i * stride + k, j * stride : j * stride + k] * kernel).sum() for j in range(out)]
            for i in range(out)
        ]
    )


@pytest.mark.parametrize("size", [4, 5, 7])
@pytest.mark.parametrize("window", [1, 2, 3, 5])
@pytest.mark.parametrize("stride", [1, 2])
def test_same_convolution(size, window, stride):
    rng = np.random.default_rng(size * 10 + window)
    image, kernel = rng.normal(size=(size, size)), rng.normal(size=(window, window))
    step = {"kind": "conv_2d", "stride": [stride, stride], "same": True, "activation": "none"}
    x, w = torch.tensor(image).float()[None, None], torch.tensor(kernel).float()[None, None]
    got = run(step, x, w, torch.tensor([0.25]))
    want = same_conv_by_hand(image, kernel, stride) + 0.25
    assert np.allclose(got.numpy().reshape(want.shape), want, atol=1e-5)


def test_depthwise_convolution_keeps_channels_apart():
    step = {"kind": "depthwise_conv_2d", "stride": [2, 2], "same": True, "activation": "relu"}
    x = torch.stack((torch.ones(4, 4), -torch.ones(4, 4)))[None]
    y = run(step, x, torch.tensor([2.0, 3.0]).reshape(2, 1, 1, 1), torch.tensor([0.0, 4.0])).reshape(2, 2, 2)
    assert torch.equal(y[0], torch.full((2, 2), 2.0)) and torch.equal(y[1], torch.ones(2, 2))


def test_max_pool_pads_with_nothing():
    step = {"kind": "max_pool_2d", "window": [2, 2], "stride": [2, 2], "same": True}
    x = -torch.arange(1.0, 10.0).reshape(1, 1, 3, 3)
    assert run(step, x).tolist() == [[-1, -3, -7, -9]]


def test_small_layers():
    x = torch.tensor([[-2.0, 1.0], [3.0, 9.0]]).reshape(1, 2, 1, 2)
    assert run({"kind": "prelu"}, x, torch.tensor([0.5, 0.1])).tolist() == [[-1, 1, 3, 9]]
    assert run({"kind": "relu"}, x).tolist() == [[0, 1, 3, 9]]
    assert run({"kind": "add", "activation": "relu6"}, x, torch.ones(1)).tolist() == [[0, 2, 4, 6]]
    assert run({"kind": "mul", "activation": "none"}, x, torch.full((1,), 2.0)).tolist() == [[-4, 2, 6, 18]]
    assert run({"kind": "pad", "pad": [[0, 0], [0, 1], [0, 0], [0, 0]]}, x).tolist() == [[-2, 1, 0, 0, 3, 9, 0, 0]]
    assert run({"kind": "reshape", "shape": [1, 4]}, x).tolist() == [[-2, 3, 1, 9]]


def transform(points: torch.Tensor, **more) -> torch.Tensor:
    options = {
        "left_rotation_idx": 0,
        "right_rotation_idx": 1,
        "subset_idxs": [0, 1, 2, 3],
        "target_rotation_radians": 0.0,
        "scale_x": 1.5,
        "scale_y": 1.5,
        "output_width": 4,
        "output_height": 4,
        **more,
    }
    return run({"kind": "landmarks2transformmatrix", "options": options}, points).reshape(-1, 4, 4)


def test_transform_matrix_spans_the_scaled_box_of_the_landmarks():
    points = torch.tensor([[[10.0, 22.0, 5], [20.0, 22.0, 5], [15.0, 20.0, 5], [15.0, 24.0, 5]]])
    matrix = transform(points)[0]
    corners = torch.tensor([[0.0, 0, 0, 1], [4, 4, 0, 1]]) @ matrix.T
    assert torch.allclose(corners[:, :2], torch.tensor([[7.5, 19.0], [22.5, 25.0]]), atol=1e-5)


def test_transform_matrix_turns_with_the_landmarks():
    box = torch.tensor([[-5.0, 0.0], [5.0, 0.0], [0.0, -2.0], [0.0, 2.0]])
    angle = torch.tensor(0.6)
    turn = torch.stack((torch.stack((angle.cos(), -angle.sin())), torch.stack((angle.sin(), angle.cos()))))
    points = torch.cat((box @ turn.T + 30, torch.zeros(4, 1)), 1)[None]
    matrix = transform(points)[0]
    along = matrix[:2, :2] @ torch.tensor([1.0, 0.0])
    assert torch.allclose(torch.atan2(along[1], along[0]), angle, atol=1e-5)
    assert torch.allclose((matrix @ torch.tensor([2.0, 2, 0, 1]))[:2], torch.tensor([30.0, 30.0]), atol=1e-4)


def test_sampling_an_identity_grid_gives_the_image_and_zero_outside():
    x = torch.rand(2, 2, 5, 6)
    options = {"output_width": 6, "output_height": 5}
    identity = torch.eye(4).repeat(2, 1, 1)
    y = run({"kind": "transformtensorbilinear", "options": options}, x, identity)
    assert torch.allclose(y.reshape(x.shape), x, atol=1e-6)
    identity[:, 0, 3] = 3.0
    moved = run({"kind": "transformtensorbilinear", "options": options}, x, identity).reshape(x.shape)
    assert torch.allclose(moved[..., :3], x[..., 3:], atol=1e-6) and not moved[..., 3:].any()


def test_landmarks_return_to_the_whole_image():
    matrix = torch.tensor([[[0.0, -2, 0, 10], [2, 0, 0, 20], [0, 0, 1, 0], [0, 0, 0, 1]]])
    y = run({"kind": "transformlandmarks"}, torch.tensor([[[1.0, 3.0, 7.0]]]), matrix)
    assert y.tolist() == [[[4.0, 22.0]]]


@pytest.mark.parametrize(
    ("name", "size", "shapes"),
    [
        ("blazeface_short_range", 128, {"regressors": (2, 896, 16), "classificators": (2, 896, 1)}),
        ("face_mesh", 192, {"conv2d_21": (2, 1404), "conv2d_31": (2, 1)}),
        (
            "face_mesh_attention",
            192,
            {"output_mesh_identity": (2, 1404), "output_lips": (2, 160), "output_left_eye": (2, 142), "conv_faceflag": (2, 1)},
        ),
    ],
)
def test_a_batch_gives_what_each_image_gives(store, name, size, shapes):
    network = TfliteNetwork(*store.network(name))
    x = torch.rand(5, 3, size, size, generator=torch.Generator().manual_seed(0))
    together = network(x)
    assert {k: (2, *together[k].shape[1:]) for k in shapes} == shapes
    for part in ([0], [4], [1, 2, 3], [3, 0]):
        some = network(x[part])
        for key, value in some.items():
            assert torch.allclose(value, together[key][part], atol=1e-4, rtol=0), key
