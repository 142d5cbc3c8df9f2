"""Pickles that would leave a mark if anything in them were run."""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch


class Calls:
    """Pickled as a call of `function` with `arguments`."""

    def __init__(self, function: Any, *arguments: Any):
        self.how = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.how


def payloads(mark: Path) -> dict[str, Any]:
    """Objects that make the file `mark` when a pickle of them is run."""
    import os
    import subprocess
    import webbrowser

    return {
        "os.system": Calls(os.system, f"touch {mark}"),
        "subprocess": Calls(subprocess.call, ["touch", str(mark)]),
        "exec": Calls(exec, f"open({str(mark)!r}, 'w').close()"),
        "eval": Calls(eval, f"open({str(mark)!r}, 'w')"),
        "open": Calls(open, str(mark), "w"),
        "getattr": Calls(getattr, Calls(__import__, "os"), "getcwd"),
        "webbrowser": Calls(webbrowser.open, f"file://{mark}"),
    }


def files(folder: Path, contents: Any, payload: Any) -> Iterator[Path]:
    """A payload beside `contents` in every format that torch wrote, and as a plain pickle."""
    both = {"state_dict": contents, "generator": contents, "callbacks": payload}
    for legacy in (False, True):
        path = folder / f"{'legacy' if legacy else 'zip'}.pth"
        torch.save(both, path, _use_new_zipfile_serialization=not legacy)
        yield path
    plain = folder / "plain.pkl"
    plain.write_bytes(pickle.dumps({"G_ema": payload, "other": [payload]}, protocol=4))
    yield plain
    inner = folder / "inner.pkl"
    sink = io.BytesIO()
    torch.save(payload, sink)
    inner.write_bytes(pickle.dumps(Calls(torch.storage._load_from_bytes, sink.getvalue()), protocol=2))
    yield inner
