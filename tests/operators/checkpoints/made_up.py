"""Two systems that nobody published."""

from pathlib import Path

from torch import nn

from operators.checkpoints.files import read_checkpoint, state_dict_of
from operators.checkpoints.loading import fill
from operators.checkpoints.system import Official, System, drawn, files_in


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4))


def build(official: Official) -> nn.Module:
    return fill(network(), official.weights, "Tiny", "Tiny")


def read(files: list[Path]) -> Official:
    return Official(state_dict_of(read_checkpoint(files[0]), files[0], "net"), {"scale": 2})


TINY = System(
    name="tiny", title="Tiny (Nobody 2020)", licence="Tiny-NC", non_commercial=True, terms="research only", page="https://example.org",
    give="tiny.pth", find=lambda path: files_in(path, ["tiny.pth"], "give a folder with tiny.pth"), read=read, build=build,
    untrained=lambda: Official(drawn(network())), marks=(r"^0\.weight$", r"^1\.running_mean$"),
)  # fmt: skip
OTHER = System(
    name="other", title="Other (Somebody 2021)", licence="MIT", non_commercial=False, terms="free", page="https://example.org",
    give="other.pth", find=lambda path: [path], read=read, build=lambda official: nn.Linear(1, 1),
    untrained=lambda: Official({}), marks=(r"^encoder\.norm", r"^decoder\."),
)  # fmt: skip

KNOWN = {"tiny": TINY, "other": OTHER}
