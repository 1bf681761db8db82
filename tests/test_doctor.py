"""Preflight: each line says ok or what to do, quickly, and leaves nothing behind."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from search import doctor
from search.diagnosis.cluster import compare_nodes
from search.diagnosis.data import check_data
from search.diagnosis.finding import Finding
from search.diagnosis.machine import check_clock, check_disk, check_folder, check_scratch, check_shared_memory
from search.execution.nodes import Node
from search.process.disk import free_space
from tests.disks import fill, read_only, small_disk
from tests.searching import ROOT, patience

__all__ = ["small_disk"]  # a fixture
HERE = {"python": "3.11.7", "ray": "2.60.0"}


def test_a_machine_on_which_a_search_can_run_is_told_so_in_seconds_and_left_as_it_was(tmp_path: Path):
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "search.doctor", "--runs-dir", str(tmp_path / "runs")],
        cwd=ROOT, capture_output=True, text=True, timeout=patience(120), check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert time.monotonic() - began < patience(60), "10 s on a machine with nothing else to do"
    *lines, verdict = done.stdout.splitlines()
    assert verdict == "a search can run"
    assert all(line.startswith(("ok", "note")) for line in lines)
    names = [line[6:20].strip() for line in lines]
    assert names[:5] == ["devices", "memory", "limits", "priority", "start"]
    assert names[5:8] == ["run folder", "free disk", "temporary"]
    assert names[-3:] == ["versions", "clock", "data"]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named_with_the_way_out(tmp_path: Path):
    runs = tmp_path / "runs"
    runs.mkdir()
    with read_only(runs) as view:
        finding = check_folder(view / "mine")
    assert finding.fatal
    assert str(finding).endswith("cannot be written (Read-only file system); give another --runs-dir")
    file = tmp_path / "file"
    file.touch()
    assert check_folder(file).fatal
    assert not check_folder(runs).fatal
    assert list(runs.iterdir()) == []


def test_small_file_systems_are_named_with_their_room(small_disk: Path):
    for check in (check_disk, check_shared_memory, lambda folder: check_scratch(folder, needed=1e9)):
        finding = check(small_disk)
        assert f"{small_disk} (tmpfs) has 25.2 MB of 25.2 MB free" in finding.found
        assert finding.do
    fill(small_disk / "filler")
    assert check_disk(small_disk / "not" / "there").fatal


def test_a_path_that_is_not_there_yet_belongs_to_the_file_system_it_would_be_on(tmp_path: Path):
    assert free_space(tmp_path / "a" / "b").split(" has ")[0] == free_space(tmp_path).split(" has ")[0]


def test_data_that_are_missing_or_damaged_are_told_and_not_fetched(tmp_path: Path):
    missing = check_data("cifar_arch", tmp_path)
    assert "cifar-10-python.tar.gz (170,498,071 bytes) is missing" in missing.found
    assert missing.do == "a search downloads it once, if there is a network"
    assert not missing.fatal
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(b"<html>not found</html>")
    damaged = check_data("cifar_arch", tmp_path)
    assert damaged.fatal
    assert "is damaged or not the official file" in damaged.found
    housing = check_data("housing_mlp", tmp_path)
    assert "california_housing.csv is not in" in housing.found
    assert not housing.fatal


def test_a_clock_behind_the_program_is_noticed(monkeypatch: pytest.MonkeyPatch):
    assert not check_clock().do
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert check_clock().do.startswith("set the clock")


def node(host: str, **changes: object) -> Node:
    return Node(**{"host": host, "sees": True, "versions": HERE, "clock_seconds": 0.0, **changes})  # type: ignore[arg-type]


def test_nodes_that_agree_are_well():
    (finding,) = compare_nodes([node("a"), node("b")], here=HERE, runs_dir=Path("/shared"))
    assert str(finding).startswith("ok")


def test_nodes_that_differ_are_named_with_what_to_do():
    nodes = [node("a", versions={**HERE, "ray": "2.59.0"}), node("b", sees=False), node("c", clock_seconds=-60.0)]
    lines = [str(f) for f in compare_nodes(nodes, here=HERE, runs_dir=Path("/shared"))]
    assert lines == [
        "FAIL  versions       a: ray 2.59.0 (here 2.60.0); install the lock file on every node",
        "note  clock          c is -60 s off; start a time service (chrony) there",
        "note  shared folder  b cannot see '/shared'; give a --runs-dir that all nodes share; otherwise a trial "
        "that moves to another node starts again",
    ]


def test_one_fatal_finding_gives_exit_code_two(tmp_path: Path, capsys):
    assert doctor.main(["--runs-dir", "/dev/null/runs"]) == 2
    assert capsys.readouterr().out.endswith("a search cannot run yet\n")


def test_a_finding_says_ok_note_or_fail():
    assert str(Finding(what="x", found="y")).split() == ["ok", "x", "y"]
    assert str(Finding(what="x", found="y", do="z")).startswith("note")
    assert str(Finding(what="x", found="y", do="z", fatal=True)).startswith("FAIL")
