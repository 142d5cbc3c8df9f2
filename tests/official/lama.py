"""LaMa as its authors publish it: config.yaml with omegaconf's references beside a Lightning checkpoint, and TorchScript."""

from __future__ import annotations

import sys
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from operators.networks.lama import Generator, empty, generator
from operators.networks.lama_config import FfcSettings, GlobalSettings, Ratios
from operators.networks.lama_discriminator import NLayerDiscriminator
from tests.formula_weights import formula_weights

_PLAIN = Ratios(enable_lfu=False)
FOURIER = FfcSettings(
    ngf=8,
    n_downsampling=3,
    n_blocks=2,
    add_out_act="sigmoid",
    init_conv_kwargs=_PLAIN,
    downsample_conv_kwargs=_PLAIN,
    resnet_conv_kwargs=Ratios(0.75, 0.75, enable_lfu=False),
)
REGULAR = GlobalSettings(ngf=8, n_downsampling=3, n_blocks=2, add_out_act="sigmoid")

_TRAINING = """\
run_title: b2_ffc075
training_model:
  kind: default
  visualize_each_iters: 1000
  concat_mask: true
  store_discr_outputs_for_vis: true
losses:
  l1: {weight_missing: 0, weight_known: 10}
  resnet_pl: {weight: 30, weights_path: '${env:TORCH_HOME}'}
location:
  data_root_dir: /data
data:
  batch_size: 15
  train: {indir: '${location.data_root_dir}/train', out_size: 256}
"""
FOURIER_YAML = f"""{_TRAINING}
generator:
  kind: ffc_resnet
  input_nc: 4
  output_nc: 3
  ngf: 8
  n_downsampling: 3
  n_blocks: 2
  add_out_act: sigmoid
  init_conv_kwargs:
    ratio_gin: 0
    ratio_gout: 0
    enable_lfu: false
  downsample_conv_kwargs:
    ratio_gin: ${{generator.init_conv_kwargs.ratio_gout}}
    ratio_gout: ${{generator.downsample_conv_kwargs.ratio_gin}}
    enable_lfu: false
  resnet_conv_kwargs:
    ratio_gin: 0.75
    ratio_gout: ${{generator.resnet_conv_kwargs.ratio_gin}}
    enable_lfu: false
"""
REGULAR_YAML = f"""{_TRAINING}
generator:
  kind: pix2pixhd_global
  input_nc: 4
  output_nc: 3
  ngf: 8
  n_downsampling: 3
  n_blocks: 2
  conv_kind: default
  add_out_act: sigmoid
"""


def network(settings: FfcSettings | GlobalSettings = FOURIER) -> Generator:
    """The generator that the files hold, without them."""
    return generator(settings, formula_weights(empty(settings).state_dict()))


def write(folder: Path) -> str:
    """`<folder>/config.yaml` and `<folder>/models/best.ckpt`, as unpacked from big-lama.zip."""
    return str(_release(folder / "big-lama", FOURIER_YAML, FOURIER))


def variants(folder: Path) -> dict[str, str]:
    """The other layouts: lama-regular, single files with their config beside or above, older torch, TorchScript."""
    regular = _release(folder / "lama-regular", REGULAR_YAML, REGULAR)
    above = _release(folder / "above", FOURIER_YAML, FOURIER) / "models" / "best.ckpt"
    beside = folder / "beside" / "epoch=39-step=1.ckpt"
    _checkpoint(beside, FOURIER, legacy=True)
    beside.with_name("config.yaml").write_text(FOURIER_YAML, encoding="utf-8")
    script = folder / "script" / "big-lama.pt"
    script.parent.mkdir(parents=True)
    trainer = nn.Module()
    trainer.generator = network()
    given = torch.rand(1, 3, 64, 64), torch.ones(1, 1, 64, 64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated as it is, it is how the file is made
        traced: Any = torch.jit.trace(Composited(trainer), given, strict=False, check_trace=False)
        traced.save(str(script))
    return {
        "regular": str(regular),
        "config above": str(above),
        "config beside, torch before 1.6": str(beside),
        "TorchScript": str(script),
        "folder with TorchScript": str(script.parent),
    }


class Composited(nn.Module):
    """As bin/to_jit.py wraps the trainer: picture and hole in, filled picture out."""

    def __init__(self, trainer: nn.Module):
        super().__init__()
        self.model: Any = trainer

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        painted = self.model.generator(torch.cat([image * (1 - mask), mask], 1))
        return mask * painted + (1 - mask) * image


def _release(folder: Path, config: str, settings: FfcSettings | GlobalSettings) -> Path:
    _checkpoint(folder / "models" / "best.ckpt", settings)
    (folder / "config.yaml").write_text(config, encoding="utf-8")
    return folder


def _checkpoint(path: Path, settings: FfcSettings | GlobalSettings, legacy: bool = False) -> None:
    path.parent.mkdir(parents=True)
    parts = {"generator": network(settings), "discriminator": NLayerDiscriminator(3, 4, 2)}
    state = {
        f"{part}.{key}": value for part, module in parts.items() for key, value in formula_weights(module.state_dict()).items()
    }
    state["loss_resnet_pl.impl.conv1.weight"] = torch.ones(4, 3, 3, 3)
    state["val_evaluator.scores.fid.model.bias"] = torch.ones(3)
    callbacks = _foreign("pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint")
    with callbacks as callback, _foreign("omegaconf.dictconfig", "DictConfig") as config:
        hyper = config()
        hyper.__dict__["_content"] = {"generator": {"kind": "ffc_resnet"}}
        contents = {
            **{"epoch": 39, "global_step": 1, "pytorch-lightning_version": "1.2.9", "state_dict": state},
            **{"callbacks": {callback: {"best_model_score": torch.tensor(0.5)}}, "hyper_parameters": hyper},
            **{"optimizer_states": [{"state": {}, "param_groups": []}], "hparams_name": "config"},
        }
        torch.save(contents, path, _use_new_zipfile_serialization=not legacy)


@contextmanager
def _foreign(module: str, name: str) -> Iterator[type]:
    """A class of a package that is not installed, as long as something is being pickled."""
    kind = type(name, (), {"__module__": module})
    made = {}
    for i in range(len(module.split("."))):
        place = ".".join(module.split(".")[: i + 1])
        if place not in sys.modules:
            made[place] = sys.modules[place] = types.ModuleType(place)
    before = getattr(sys.modules[module], name, None)
    setattr(sys.modules[module], name, kind)
    try:
        yield kind
    finally:
        setattr(sys.modules[module], name, before)
        for place in made:
            del sys.modules[place]
