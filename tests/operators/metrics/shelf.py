"""Asset stores that hold networks with formula weights."""

import json
from pathlib import Path

import numpy as np
import torch

from operators.assets import AssetEntry, AssetStore, read_networks, sha256_of
from operators.networks.dlib_resnet import DlibResNet
from operators.networks.inception import FidInception
from tests.formula_weights import alexnet_weights, formula_weights


def with_inception(root: Path) -> AssetStore:
    file = root / "pt_inception.pth"
    torch.save(formula_weights(FidInception().state_dict()), file)
    return _obtained(root, "fid_inception", file)


def with_alexnet(root: Path) -> AssetStore:
    file = root / "alexnet.pth"
    torch.save(alexnet_weights(), file)
    return _obtained(root, "lpips_alex", file)


def with_dlib(root: Path) -> AssetStore:
    """dlib's network, from a file in the format that is fetched."""
    entries, data = [], b""
    for name, value in formula_weights(DlibResNet().state_dict()).items():
        *path, last = name.split(".")
        array = value.numpy()
        if name == "fc.weight":
            official, array = "fc", array.T
        elif path[-1] == "conv":
            official = "/".join((*path, {"weight": "filters", "bias": "bias"}[last]))
            array = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array
        else:
            official = "/".join((*path, "scale", last))
        entries.append({"name": official, "shape": list(array.shape), "dtype": "float32"})
        data += np.ascontiguousarray(array).tobytes()
    manifest = json.dumps([{"weights": entries, "paths": ["x.bin"]}]).encode()
    entry = AssetEntry(
        "dlib_resnet", "a test", "npm", "x@1", "x.bin", sha256_of(data), len(data), "dlib_resnet", "CC0", "here",
        manifest="x.json", manifest_sha256=sha256_of(manifest),
    )  # fmt: skip
    store = AssetStore(root, {"dlib_resnet": entry}, {})
    store.install("dlib_resnet", data, manifest)
    return store


def _obtained(root: Path, name: str, file: Path) -> AssetStore:
    store = AssetStore(root, {}, read_networks())
    store.install_obtained(name, file, any_bytes=True)
    return store
