"""A pickle is data here, or it is refused."""

import collections
import os
import pickle

import numpy as np
import pytest
import torch
from scipy.sparse import csc_matrix, csr_matrix

from operators.morphable.bases.pickles import dense, read_pickle
from operators.morphable.basis import BasisError
from tests.operators.morphable.bases.stand_ins import write_pickle


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_arrays_strings_and_sparse_matrices_come_back(tmp_path, protocol):
    rng = np.random.default_rng(0)
    value = {
        "a": rng.normal(size=(4, 3)), "f": np.asfortranarray(rng.normal(size=(4, 3))), "i": np.arange(5, dtype=np.uint32),
        "s": np.float64(2.5), "t": "latin é", "o": np.array([None, 3], dtype=object),
        "column": csc_matrix(rng.random((5, 9)) * (rng.random((5, 9)) > 0.5)),
        "row": csr_matrix(rng.random((9, 5)) * (rng.random((9, 5)) > 0.5)),
        "tensor": torch.arange(12).reshape(3, 4)[:, 1:], "order": collections.OrderedDict(x=1),
    }  # fmt: skip
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(value, protocol=protocol))
    got = read_pickle(tmp_path / "x.pkl")
    for name in ("a", "f", "i"):
        assert np.array_equal(got[name], value[name])
    assert got["s"] == 2.5 and got["t"] == "latin é" and got["o"].tolist() == [None, 3] and got["order"] == {"x": 1}
    for name in ("column", "row"):
        assert np.array_equal(dense(got[name]), value[name].toarray())
    assert np.array_equal(got["tensor"], value["tensor"].numpy())


def test_chumpy_arrays_are_their_numbers(tmp_path):
    write_pickle(tmp_path / "x.pkl", {"v": np.arange(6.0).reshape(2, 3)}, chumpy=("v",))
    assert b"chumpy.ch\nCh\n" in (tmp_path / "x.pkl").read_bytes()
    assert np.array_equal(dense(read_pickle(tmp_path / "x.pkl")["v"]), np.arange(6.0).reshape(2, 3))


def test_chumpy_selections_and_bookkeeping_are_read(tmp_path):
    """A selection from an array, as chumpy's own pickles have it, with its sets and with a class that is not known."""
    text = (
        b"(dS'sel'\nccopy_reg\n_reconstructor\n(cchumpy.reordering\nSelect\nc__builtin__\nobject\nNtR"
        b"(dS'a'\n(lp0\nI5\naI6\naI7\naI8\nasS'idxs'\n(lp1\nI3\naI0\nasS'preferred_shape'\n(I2\nI1\ntsS'_dirty_vars'\nc__builtin__\nset\n((ltRsb"
        b"sS'other'\nccopy_reg\n_reconstructor\n(cchumpy.ch_ops\nadd\nc__builtin__\nobject\nNtR(dS'terms'\nNsbs."
    )
    (tmp_path / "x.pkl").write_bytes(text)
    got = read_pickle(tmp_path / "x.pkl")
    assert dense(got["sel"]).tolist() == [[8], [5]]
    with pytest.raises(ValueError, match="with terms holds no array that is known"):
        dense(got["other"])


class Runs:
    def __init__(self, command: str):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("suffix", ["pkl", "npy"])
def test_a_pickle_that_would_run_something_is_refused_and_nothing_runs(tmp_path, suffix):
    path, mark = tmp_path / f"evil.{suffix}", tmp_path / "ran"
    value = {"v_template": Runs(f"touch {mark}")}
    if suffix == "npy":
        np.save(path, np.array(value, dtype=object), allow_pickle=True)
    else:
        path.write_bytes(pickle.dumps(value))
    with pytest.raises(BasisError, match=r"evil.* asks for (posix|nt)\.system.*refused, nothing was run"):
        read_pickle(path)
    assert not mark.exists()


@pytest.mark.parametrize(
    "text",
    [
        b"cbuiltins\neval\n(V1+1\ntR.",
        b"c__builtin__\ngetattr\n(cnumpy\nndarray\nV__init__\ntR.",
        b"cnumpy\nload\n(Vx.npy\ntR.",
        b"cnumpy.core.multiarray\n__builtins__\n.",
        b"cnumpy.f2py.diagnose\nrun\n(tR.",
        b"ctorch\nload\n(Vx\ntR.",
        b"cscipy.sparse._csc\nsys\n.",
        b"coperators.morphable.bases.pickles\nread_pickle\n(Vx\ntR.",
    ],
)
def test_other_globals_are_refused_by_name(tmp_path, text):
    (tmp_path / "x.pkl").write_bytes(text)
    name = text[1:].split(b"\n")[1].decode()
    with pytest.raises(BasisError, match=rf"asks for \S+\.{name}, .*refused"):
        read_pickle(tmp_path / "x.pkl")


def test_a_storage_inside_is_read_by_torchs_restricted_reader(tmp_path):
    blob = tmp_path / "inner"
    torch.save(Runs(f"touch {tmp_path / 'ran'}"), blob)

    class Stored:
        def __reduce__(self):
            return torch.storage._load_from_bytes, (blob.read_bytes(),)

    (tmp_path / "x.pkl").write_bytes(pickle.dumps(Stored()))
    with pytest.raises(BasisError, match="is not a pickle that can be read"):
        read_pickle(tmp_path / "x.pkl")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("keep", [0, 1, 20, -1])
def test_a_damaged_file_is_named(tmp_path, keep):
    data = pickle.dumps({"a": np.arange(50.0)})
    (tmp_path / "x.pkl").write_bytes(data[:keep])
    with pytest.raises(BasisError, match=r"x\.pkl: is not a pickle that can be read"):
        read_pickle(tmp_path / "x.pkl")


def test_a_matrix_that_lies_about_its_size_is_refused(tmp_path):
    matrix = csc_matrix(np.eye(3))
    matrix._shape = (10**9, 3)
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(matrix))
    with pytest.raises(ValueError, match="does not fit its own index"):
        dense(read_pickle(tmp_path / "x.pkl"))
