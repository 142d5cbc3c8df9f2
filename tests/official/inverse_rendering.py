"""FaceFusion's published model: a Keras SavedModel with its statistics, and the training checkpoint that it was made from."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
from torch import Tensor

from operators.networks.inverse_rendering import PARTS, InverseRendering
from tests.conformance.formula import state_of
from tests.official.tensorflow import write_bundle

RULE = {"mode": "fanin", "gain": 1.2}
_WORDS = {"running_mean": "moving_mean", "running_var": "moving_variance"}
_PLACES = {"first": "3x3_1", "second": "3x3_2", "proj": "3x3_proj"}


def state(lengths: Mapping[str, int] = PARTS) -> dict[str, Tensor]:
    """Our keys with formula weights."""
    return dict(_state(tuple(lengths.items())))


@cache
def _state(lengths: tuple[tuple[str, int], ...]) -> dict[str, Tensor]:
    own = InverseRendering(dict(lengths)).state_dict()
    return state_of([(key, tuple(value.shape), str(value.dtype)) for key, value in own.items()], RULE)


def keras_name(key: str) -> str:
    """The name of a variable in the Keras program."""
    *layer, kind, word = key.split(".")
    if not layer:
        return f"fc/{'kernel' if word == 'weight' else 'bias'}"
    place = "conv1/7x7_s2" if layer == ["conv1"] else f"{layer[0]}_{_PLACES[layer[1]]}"
    if kind == "conv":
        return f"{place}/kernel"
    return f"{place}/bn/{_WORDS.get(word) or {'weight': 'gamma', 'bias': 'beta'}[word]}"


def variables(weights: dict[str, Tensor], prefix: str = "") -> dict[str, tuple[str, np.ndarray]]:
    """Checkpoint key -> name and values, kernels in Keras' order. Layers with weights are counted as Keras counts them."""
    layers: dict[str, int] = {}
    out = {}
    for key, value in weights.items():
        if key.startswith("stats.") or key.endswith("num_batches_tracked"):
            continue
        name = keras_name(key)
        layer, word = name.rsplit("/", 1)
        number = layers.setdefault(layer, len(layers))
        turned = {4: (2, 3, 1, 0), 2: (1, 0)}.get(value.ndim)
        array = value.numpy() if turned is None else value.permute(turned).numpy()
        out[f"{prefix}layer_with_weights-{number}/{word}/.ATTRIBUTES/VARIABLE_VALUE"] = (name, array)
    return out


def write_statistics(path: Path, weights: dict[str, Tensor]) -> None:
    """`stats_80k.npz`."""
    stats = {key.removeprefix("stats."): value.numpy() for key, value in weights.items() if key.startswith("stats.")}
    named = {f"{part}_Para_{what}": stats[f"{part}_{what}"].astype(np.float64) for part in PARTS for what in ("mean", "std")}
    np.savez(path, **named)  # type: ignore[arg-type]


def write_model(folder: Path, weights: dict[str, Tensor]) -> str:
    """The SavedModel's files that count, with the statistics in it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "saved_model.pb").write_bytes(b"the graph, which nothing here reads")
    write_bundle(folder / "variables" / "variables.index", variables(weights))
    write_statistics(folder / "stats_80k.npz", weights)
    return str(folder)


def write(folder: Path) -> str:
    """`trained_model_20200725`."""
    return write_model(folder / "trained_model_20200725", state())


def variants(folder: Path) -> dict[str, str]:
    """Statistics beside the model, a training checkpoint with the optimiser's slots, and parts of other lengths."""
    weights = state()
    beside = folder / "beside" / "supervised-exported"
    write_model(beside, weights)
    (beside / "stats_80k.npz").rename(folder / "beside" / "stats_80k.npz")
    training = folder / "training"
    slots = {f"optimizer/{key}": ("AdamWeightDecay/fc/bias/m", 0 * array) for key, (name, array) in
             variables(weights, "model/").items() if name == "fc/bias"}  # fmt: skip
    write_bundle(training / "rtl_step_900.ckpt-1.index", variables(weights, "model/") | slots)
    write_bundle(training / "rtl_step_1000.ckpt-2.index", variables(weights, "model/") | slots)
    write_statistics(training / "stats_80k.npz", weights)
    longer = {"Pose": 7, "Shape": 199, "Exp": 29, "Color": 6, "Illum": 9, "Tex": 40}
    return {
        "beside": str(beside),
        "training": str(training),
        "index": str(training / "rtl_step_900.ckpt-1.index"),
        "other_lengths": write_model(folder / "other_lengths", state(longer)),
    }
