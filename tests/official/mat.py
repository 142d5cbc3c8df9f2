"""MAT's files: StyleGAN2-ADA's network pickle, and the plain state_dicts that other projects pass on.

The pickle is written without the official classes: their modules reduce to a call of `_reconstruct_persistent_obj` with the
class's source and the module's __dict__ (torch_utils/persistence.py of stylegan2-ada-pytorch); torch's containers do not.
"""

from __future__ import annotations

import collections
import copyreg
import io
import pickle
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from operators.networks.equalised import FILTER, EqualisedConv, ModulatedConv, ToRgb
from operators.networks.mat import Generator
from operators.networks.mat_checkpoint import MatShape
from operators.networks.mat_discriminator import Discriminator
from operators.networks.mat_transformer import Block
from tests.conformance.formula import state_of

SMALL = MatShape(resolution=128, channels=(8, 8, 12, 16), dim=12, z=16, w=16, layers=8, overall=24)
WIDTHS, COARSE = (8, 8, 12, 16, 16, 16), (4, 4, 6, 8, 8, 8)
SOURCE = "import torch\nraise SystemExit('the source that a network pickle carries was run')\n"
_BUFFERS = ("resample_filter", "attn_mask", "noise_const", "w_avg")


def generator_state(shape: MatShape = SMALL) -> dict[str, Tensor]:
    """Formula weights of a generator, with the structural buffers that official files hold."""
    return _state(Generator(shape))


def discriminator_state() -> dict[str, Tensor]:
    """The same of a discriminator."""
    return _state(Discriminator(WIDTHS, COARSE))


def write(folder: Path) -> str:
    """A release: one pickle of G, D and G_ema."""
    path = folder / "CelebA-HQ_256.pkl"
    write_pickle(path, generator_state(), discriminator_state())
    return str(path)


def variants(folder: Path) -> dict[str, str]:
    """Other layouts of the same weights."""
    state = generator_state()
    torch.save(state, folder / "G_ema.pth")
    torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}}, folder / "parallel.pth")
    torch.save(state, folder / "old.pth", _use_new_zipfile_serialization=False)
    save_file({key: value.contiguous() for key, value in state.items()}, folder / "G_ema.safetensors")
    names = {"state_dict": "G_ema.pth", "module": "parallel.pth", "legacy": "old.pth", "safetensors": "G_ema.safetensors"}
    return {name: str(folder / file) for name, file in names.items()}


def write_pickle(path: Path, generator: dict[str, Tensor], discriminator: dict[str, Tensor]) -> None:
    """What the official training loop saves. The trained copy G differs from G_ema, so that no reader can mix them up."""
    contents = {
        "training_set_kwargs": _Easy(class_name="datasets.dataset_256.ImageFolderMaskDataset", path="x", resolution=256),
        "val_set_kwargs": _Easy(class_name="datasets.dataset_256_val.ImageFolderMaskDataset", path="x"),
        "G": _Module("Generator", {key: value + 1 for key, value in generator.items()}),
        "D": _Module("Discriminator", discriminator),
        "G_ema": _Module("Generator", generator),
        "augment_pipe": None,
    }
    path.write_bytes(pickled(contents))


def pickled(contents: Any) -> bytes:
    """A pickle in which official modules are written as `torch_utils.persistence` writes them."""
    buffer = io.BytesIO()
    _Pickler(buffer, protocol=4).dump(contents)
    return buffer.getvalue()


def _state(network: nn.Module) -> dict[str, Tensor]:
    """Formula weights by the official keys of a network."""
    keys = [(key, tuple(value.shape), "float32") for key, value in network.state_dict().items()]
    state = state_of(keys, {"mode": "unit", "gain": None})
    taps = torch.tensor(FILTER)
    for name, module in network.named_modules():
        if isinstance(module, EqualisedConv | ModulatedConv | ToRgb):
            state[f"{name}.resample_filter"] = torch.outer(taps, taps) / 64
        if isinstance(module, Block) and module.shift:
            state[f"{name}.attn_mask"] = torch.zeros(4, module.window**2, module.window**2)
    return state


class _Module:
    """A module of the official code, as the tensors below it by name."""

    def __init__(self, kind: str, state: dict[str, Tensor]):
        self.kind, self.state = kind, state

    def dictionary(self) -> dict[str, Any]:
        """Its __dict__."""
        own = {key: value for key, value in self.state.items() if "." not in key}
        below: dict[str, dict[str, Tensor]] = {}
        for key, value in self.state.items():
            if "." in key:
                name, rest = key.split(".", 1)
                below.setdefault(name, {})[rest] = value
        buffers: dict[str, Tensor | None] = {key: value for key, value in own.items() if key in _BUFFERS}
        if "fuse" in below:
            buffers.setdefault("attn_mask", None)
        return {
            "training": False,
            "_parameters": {key: nn.Parameter(value) for key, value in own.items() if key not in _BUFFERS},
            "_buffers": buffers,
            "_non_persistent_buffers_set": set(),
            "_backward_hooks": collections.OrderedDict(),
            "_forward_hooks": collections.OrderedDict(),
            "_state_dict_hooks": collections.OrderedDict(),
            "_modules": {name: _Module("Conv2dLayer", state) for name, state in below.items()},
            "weight_gain": np.sqrt(0.5),
            "weight_maskUpdater": torch.ones(1, 1, 3, 3),
            "_init_args": (),
            "_init_kwargs": _Easy(z_dim=16, synthesis_kwargs=_Easy()),
        }


class Persistent:
    """A persistent class with this __dict__."""

    def __init__(self, state: dict[str, Any], kind: str = "Module"):
        self.state, self.kind = state, kind


class _Easy(dict):
    """dnnlib.util.EasyDict."""


class _Name:
    """A name in a module that is not here."""

    def __init__(self, module: str, name: str):
        self.module, self.name = module, name

    def __call__(self) -> None:
        raise AssertionError("only its name is written")


_RECONSTRUCT = _Name("torch_utils.persistence", "_reconstruct_persistent_obj")
_EASY = _Name("dnnlib.util", "EasyDict")


_InPython: Any = pickle._Pickler  # type: ignore[attr-defined]  # its `dispatch` can be extended, that of the one in C cannot


class _Pickler(_InPython):
    dispatch: ClassVar[dict[Any, Any]] = dict(_InPython.dispatch)

    def save_name(self, name: _Name) -> None:
        self.save(name.module)
        self.save(name.name)
        self.write(pickle.STACK_GLOBAL)

    def save_easy(self, easy: _Easy) -> None:
        self.save_reduce(_EASY, (), dictitems=iter(easy.items()))

    def save_module(self, module: _Module) -> None:
        state = module.dictionary()
        if all(name.isdigit() for name in state["_modules"]) and state["_modules"]:
            self.save_reduce(copyreg.__newobj__, (nn.ModuleList,), state)  # type: ignore[attr-defined]
        else:
            self.save_persistent(Persistent(state, module.kind))

    def save_persistent(self, module: Persistent) -> None:
        meta = {"type": "class", "version": 6, "module_src": SOURCE, "class_name": module.kind, "state": module.state}
        self.save_reduce(_RECONSTRUCT, (meta,), obj=module)

    dispatch[_Name], dispatch[_Easy], dispatch[_Module] = save_name, save_easy, save_module
    dispatch[Persistent] = save_persistent
