import json

import pytest

from jobs import bench


def test_list_names_every_benchmark(capsys):
    assert bench.main(["list"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "images/s of the whole default job" in lines["reconstruct"]
    assert lines["fit_accuracy"].endswith("[engine]")


def test_unknown_name_is_exit_code_2(capsys):
    assert bench.main(["nothing"]) == 2
    assert "expected one of" in capsys.readouterr().err


def test_figures_become_a_table_and_json(monkeypatch, tmp_path, capsys):
    entry = bench.Benchmark("quick", "nothing much", lambda options: [{"n": 3, "rate": options.scale * 1.23456}])
    monkeypatch.setattr(bench, "find", lambda: {"quick": entry})
    assert bench.main(["quick", "--json", str(tmp_path / "f.json"), "--scale", "2"]) == 0
    assert "2.469" in capsys.readouterr().out
    saved = json.loads((tmp_path / "f.json").read_text())
    assert saved["benchmarks"]["quick"]["figures"] == [{"n": 3, "rate": pytest.approx(2.46912)}]
    assert saved["machine"]["cpus"] >= 1


def test_a_group_is_run_by_its_name(monkeypatch, capsys):
    entries = [
        bench.Benchmark(name, "works", lambda options: [{"n": 1}], group) for name, group in (("a", "g"), ("b", ""), ("c", "g"))
    ]
    monkeypatch.setattr(bench, "find", lambda: {entry.name: entry for entry in entries})
    assert bench.main(["g"]) == 0
    ran = [line.split(":")[0] for line in capsys.readouterr().out.splitlines() if ": works" in line]
    assert ran == ["a", "c"]


def test_one_failed_benchmark_does_not_stop_the_others(monkeypatch, capsys):
    def fail(options):
        raise OSError("no disk")

    entries = [bench.Benchmark("bad", "fails", fail), bench.Benchmark("good", "works", lambda options: [{"n": 1}])]
    monkeypatch.setattr(bench, "find", lambda: {entry.name: entry for entry in entries})
    assert bench.main(["all"]) == 1
    out = capsys.readouterr()
    assert "no disk" in out.err and "good" in out.out
