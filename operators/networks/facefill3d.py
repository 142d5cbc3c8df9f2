"""3DFaceFill: a hidden face is taken apart into shape, pose, light and albedo, its albedo completed, and put together again.

Dey & Boddeti, "3DFaceFill: An Analysis-by-Synthesis Approach to Face Completion", WACV 2022. This file reads its official files
(github.com/human-analysis/3dfacefill) and builds its networks; `operators.inpaint.facefill3d` runs them.

Files: `_3dmm_34.pth` (`modelE`; also `modelDT`, the pretraining's decoder, which nothing here needs), `occ_ckpt.pth` (`modelO`),
a training run's `checkpoint_recon[_N].pth` (`modelR`, `discI`), and the arrays of `facefill3d_definition`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from operators.checkpoints.errors import CheckpointError
from operators.checkpoints.files import read_checkpoint, state_dict_of
from operators.checkpoints.loading import fill
from operators.checkpoints.system import Official, System, drawn
from operators.networks.facefill3d_definition import RAW, STATISTICS, FaceDefinition, read_definition
from operators.networks.facefill3d_discriminator import Discriminator
from operators.networks.facefill3d_drawn import drawn_definition
from operators.networks.facefill3d_encoder import Encoder
from operators.networks.facefill3d_inpainter import AlbedoInpainter
from operators.networks.facefill3d_parser import FaceParser
from operators.networks.spectral_norm import plain_weights, transposed_in

PARTS: dict[str, type[Any]] = {
    "modelE": Encoder,
    "modelR": AlbedoInpainter,
    "modelO": FaceParser,
    "discI": Discriminator,
}
_FOLDERS = ("", "checkpoints", "datasets", "datasets/3DMM_definition", "3DMM_definition", "results/*/Save", "*/Save", "Save")
GIVE = (
    "a folder with _3dmm_34.pth, checkpoint_recon.pth or checkpoint_recon_N.pth, 3DMM_definition, shape_para_mean.npy and "
    "shape_para_std.npy, and occ_ckpt.pth if there is one; sub folders as in the project's repository are searched"
)


class FaceFill(nn.Module):
    """The networks and the face definition; `parser` and `discriminator` are None where their files were not given."""

    def __init__(
        self,
        encoder: Encoder,
        inpainter: AlbedoInpainter,
        definition: FaceDefinition,
        parser: FaceParser | None = None,
        discriminator: Discriminator | None = None,
    ):
        super().__init__()
        self.encoder, self.inpainter, self.definition = encoder, inpainter, definition
        self.parser, self.discriminator = parser, discriminator


def find(path: Path) -> list[Path]:
    """Networks first, then the definition. Of several training states the one of the highest N: each is the best so far.

    A file that is given itself is the training state. Errors: CheckpointError.
    """
    root = path if path.is_dir() else path.parent
    if path.is_file() and root.name in ("checkpoints", "Save"):
        root = root.parent
    folders = [folder for pattern in _FOLDERS for folder in (sorted(root.glob(pattern)) if pattern else [root])]
    there = {file.name: file for folder in reversed(folders) if folder.is_dir() for file in folder.iterdir() if file.is_file()}
    trained = path if path.is_file() else _newest(there, r"checkpoint_recon(?:_(\d+))?\.pth")
    networks = [_newest(there, r"_3dmm(?:_(\d+))?\.pth"), trained, there.get("occ_ckpt.pth")]
    needed = {"_3dmm_34.pth": networks[0], "checkpoint_recon.pth": trained}
    needed |= {name: there.get(name) for name in (*RAW, *STATISTICS)}
    lacking = [name for name, file in needed.items() if file is None]
    if lacking:
        found = ", ".join(sorted(there)[:6]) or "no file"
        more = f" and {len(lacking) - 3} more" if len(lacking) > 3 else ""
        raise CheckpointError(path, f"{', '.join(lacking[:3])}{more}", found, f"give {GIVE}")
    files = [*networks, *(there[name] for name in (*RAW, *STATISTICS))]
    return [file for file in files if file is not None]


def _newest(there: dict[str, Path], pattern: str) -> Path | None:
    matches = [(int(match[1] or -1), name) for name in there if (match := re.fullmatch(pattern, name))]
    return there[max(matches)[1]] if matches else None


def read(files: Sequence[Path]) -> Official:
    """Keys have the official name of their network in front, the definition's arrays `data.`. Errors: CheckpointError."""
    by_name = {file.name: file for file in files}
    weights = {f"data.{name}": values for name, values in read_definition(by_name).items()}
    names: dict[str, str] = {}
    networks = [file for file in files if file.name not in (*RAW, *STATISTICS)]
    for file, place in zip(networks, ("modelE", "modelR", "modelO"), strict=False):
        contents = read_checkpoint(file)
        names[place] = file.name
        weights |= {f"{place}.{key}": value for key, value in state_dict_of(contents, file, place).items()}
        if isinstance(contents, dict) and "discI" in contents:
            names["discI"] = file.name
            weights |= {f"discI.{key}": value for key, value in state_dict_of(contents, file, "discI").items()}
    return Official(weights, {"files": names})


def build(official: Official) -> FaceFill:
    """The networks in eval mode, spectral norm folded into their weights. Errors: CheckpointError."""
    parts: dict[str, dict[str, Tensor]] = {}
    for key, value in official.weights.items():
        part, _, name = key.partition(".")
        parts.setdefault(part, {})[name] = value
    names = official.settings.get("files", {})
    for part in ("modelE", "modelR"):
        if part not in parts:
            raise CheckpointError(names.get(part, part), f"the network {part}", "none", f"give {GIVE}")
    built = {part: _filled(part, parts[part], names.get(part, part)) for part in PARTS if part in parts}
    definition = FaceDefinition(parts["data"])
    shapes = {"shape coefficients": ("k7_shape", len(definition.modes)), "numbers for the pose": ("k6_m", 6)}
    for what, (head, count) in (shapes | {"numbers for the light": ("k6_il", 27)}).items():
        got = len(getattr(built["modelE"], head).weight)
        if got != count:
            raise CheckpointError(
                names.get("modelE", "modelE"), f"an encoder of {count} {what}", f"one of {got}", "give files of one release"
            )
    return FaceFill(built["modelE"], built["modelR"], definition, built.get("modelO"), built.get("discI")).eval()


def _filled(part: str, state: dict[str, Tensor], file: str) -> Any:
    kind = PARTS[part]
    try:
        network = kind.like(state)
    except (LookupError, StopIteration, ValueError, RuntimeError, ArithmeticError):
        network = kind()  # not this network's weights: `fill` says what is missing
    return fill(network, plain_weights(state, file, transposed_in(network)), file, f"3DFaceFill's {part}")


def untrained() -> Official:
    """The published configuration with random weights, on a drawn face of the official size."""
    weights = {f"data.{name}": values for name, values in drawn_definition().items()}
    for i, (part, kind) in enumerate(PARTS.items()):
        weights |= drawn(kind(), f"{part}.", i)
    return Official(weights)


SYSTEM = System(
    name="facefill3d",
    title="3DFaceFill",
    licence="BFM-2009",
    non_commercial=True,
    terms="code and networks are MIT; the face definition is the Basel Face Model's, non-commercial research, after signing",
    page="https://github.com/human-analysis/3dfacefill",
    give=GIVE,
    find=find,
    read=read,
    build=build,
    untrained=untrained,
    marks=(r"(^|\.)(down1_flip\.feat_conv|k7_shape\.weight|inc\.conv\.res_conv)",),
)
