"""Files are found by name, and what cannot be read is named."""

import numpy as np
import pytest

from operators.morphable.bases.sources import SourceFiles, read_floats, read_npz, zero_based
from operators.morphable.basis import BasisError


def test_files_are_found_in_folders_whatever_their_case(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "Exp_PCA.bin").write_bytes(b"1")
    files = SourceFiles("bfm2009_front", [tmp_path])
    assert files.get("nothing", "Exp_Pca.bin") == tmp_path / "a" / "b" / "Exp_PCA.bin"
    assert list(files.used) == ["Exp_Pca.bin"] and [p.name for p in files.find(".bin")] == ["Exp_PCA.bin"]


def test_two_different_files_of_one_name_are_refused_unless_one_is_given(tmp_path):
    for k in "ab":
        (tmp_path / k).mkdir()
        (tmp_path / k / "x.npy").write_bytes(b"same")
    assert SourceFiles("it", [tmp_path]).get("x.npy") is not None
    (tmp_path / "b" / "x.npy").write_bytes(b"else")
    with pytest.raises(BasisError, match=r"it: x\.npy is there more than once with different content .*name one"):
        SourceFiles("it", [tmp_path]).get("x.npy")
    assert SourceFiles("it", [tmp_path, tmp_path / "b" / "x.npy"]).get("x.npy") == tmp_path / "b" / "x.npy"


def test_raw_files_have_the_size_they_should(tmp_path):
    np.arange(6, dtype="<f4").tofile(tmp_path / "x.dat")
    assert read_floats(tmp_path / "x.dat", np.float32, 6).tolist() == list(range(6))
    with pytest.raises(BasisError, match=r"x\.dat: has 24 bytes, expected 28"):
        read_floats(tmp_path / "x.dat", np.float32, 7)


def test_an_npz_with_a_pickle_inside_is_refused(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(BasisError, match=r"x\.npz: is not an \.npz of plain arrays"):
        read_npz(tmp_path / "x.npz", ["a"])
    with pytest.raises(BasisError, match=r"x\.npz: has no b"):
        read_npz(tmp_path / "x.npz", ["b"])


@pytest.mark.parametrize("index", [[0, 1], [1, 11], [], [2**40]])
def test_indices_count_from_one(tmp_path, index):
    assert zero_based(tmp_path, "i", np.array([1, 10]), 10).tolist() == [0, 9]
    with pytest.raises(BasisError, match="i should count from 1 to 10"):
        zero_based(tmp_path, "i", np.array(index, np.int64), 10)
