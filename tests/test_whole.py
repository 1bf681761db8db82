"""Files and folders are there whole or not at all: whatever is broken off, and wherever."""

import os
import signal
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from tests.disks import fill, small_disk
from tests.searching import ROOT
from trainables.files.whole import finish, moves, new_folder, replacing, sweep, write_whole

__all__ = ["small_disk"]
PARTS = ("figures", "model.bin", "extra.bin", "record.json")


def evaluate(folder: Path, label: str, *, extra: bool) -> None:
    """Replace all parts by ones that hold the label."""
    with replacing(folder, "evaluation", parts=PARTS) as new:
        fill_parts(new, label, extra=extra)


def fill_parts(new: Path, label: str, *, extra: bool) -> None:
    (new / "figures").mkdir()
    (new / "figures" / f"{label}.png").write_text(label)
    (new / "model.bin").write_text(label)
    if extra:
        (new / "extra.bin").write_text(label)
    (new / "record.json").write_text(label)


def labels(folder: Path) -> set[str]:
    """What the parts hold: one label if they belong together."""
    return {path.read_text() for path in folder.rglob("*") if path.is_file()}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def killed(program: str, *words: str) -> None:
    """Run a program that kills itself."""
    done = subprocess.run([sys.executable, "-c", program, *words], cwd=ROOT, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL


def test_a_file_is_replaced_in_one_step_and_nothing_else_is_left(tmp_path):
    write_whole(tmp_path / "a.json", "first")
    write_whole(tmp_path / "a.json", b"second")
    assert (tmp_path / "a.json").read_bytes() == b"second"
    assert names(tmp_path) == ["a.json"]
    assert (tmp_path / "a.json").stat().st_mode & 0o777 == 0o666 & ~current_umask()


def current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_file_that_cannot_be_written_leaves_the_one_before_and_no_remains(small_disk):
    write_whole(small_disk / "a.json", "first")
    fill(small_disk / "filler")
    with pytest.raises(OSError, match="No space left"):
        write_whole(small_disk / "a.json", "x" * 10**6)
    assert (small_disk / "a.json").read_text() == "first"
    assert names(small_disk) == ["a.json", "filler"]


def test_what_a_killed_writer_left_is_swept_by_the_next_one_and_what_a_living_one_holds_is_not(tmp_path):
    program = """
import os, signal, sys
from pathlib import Path
from trainables.files import whole
with whole.new_folder(Path(sys.argv[1])) as partial:
    (partial / "big").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    killed(program, str(tmp_path / "run"))
    (tmp_path / ".run.4711").write_text("as an earlier release left it")
    (tmp_path / ".run.txt").write_text("of the user")
    with new_folder(tmp_path / "run") as partial:
        assert names(tmp_path) == sorted([partial.name, ".run.txt"])
        sweep(tmp_path / "run")
        assert partial.is_dir()
    assert names(tmp_path) == [".run.txt", "run"]


def test_a_new_folder_never_takes_the_place_of_something(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine").touch()
    with pytest.raises(OSError, match="not empty"), new_folder(tmp_path / "run"):
        pass
    assert names(tmp_path / "run") == ["mine"]
    with pytest.raises(RuntimeError, match="no study"), new_folder(tmp_path / "other"):
        raise RuntimeError("no study")
    assert names(tmp_path) == ["run"]


@pytest.mark.parametrize("before", [False, True])
def test_parts_are_replaced_together_and_one_that_is_not_written_anew_goes(tmp_path, before):
    (tmp_path / "log").write_text("new")
    (tmp_path / ".record.json.123").write_text("left by an earlier release")
    if before:
        evaluate(tmp_path, "old", extra=True)
    evaluate(tmp_path, "new", extra=False)
    assert labels(tmp_path) == {"new"}
    assert names(tmp_path) == ["figures", "log", "model.bin", "record.json"]


@pytest.mark.parametrize("error", [RuntimeError("the network is strange"), KeyboardInterrupt()])
def test_parts_whose_writing_fails_leave_the_old_ones(tmp_path, error):
    evaluate(tmp_path, "old", extra=True)
    with pytest.raises(type(error)), replacing(tmp_path, "evaluation", parts=PARTS) as new:  # noqa: PT012
        fill_parts(new, "new", extra=False)
        raise error
    assert labels(tmp_path) == {"old"}
    assert names(tmp_path) == sorted(PARTS)


def test_a_full_disk_leaves_the_old_parts(small_disk):
    evaluate(small_disk, "old", extra=True)
    fill(small_disk / "filler")
    with pytest.raises(OSError, match="No space left"), replacing(small_disk, "evaluation", parts=PARTS) as new:
        (new / "model.bin").write_bytes(bytes(10**6))
    (small_disk / "filler").unlink()
    assert labels(small_disk) == {"old"}
    assert names(small_disk) == sorted(PARTS)


PROGRAM = """
import os, signal, sys
from itertools import islice
from pathlib import Path
from tests.test_whole import PARTS, fill_parts
from trainables.files import whole
folder, steps = Path(sys.argv[1]), int(sys.argv[2])
whole.finish = lambda folder, label: [*islice(whole.moves(folder, label), steps), steps and os.kill(os.getpid(), 9)]
steps, wanted = 0, steps  # nothing is ready before the parts are written
with whole.replacing(folder, "evaluation", parts=PARTS) as new:
    fill_parts(new, "new", extra=False)
    steps = wanted
"""


@pytest.mark.parametrize("steps", range(1, 5))
def test_a_kill_between_two_renames_is_finished_by_whoever_comes_next(tmp_path, steps):
    evaluate(tmp_path, "old", extra=True)
    killed(PROGRAM, str(tmp_path), str(steps))
    assert (tmp_path / ".evaluation.ready").is_dir(), "it was killed between two renames"
    finish(tmp_path, "evaluation")
    assert labels(tmp_path) == {"new"}
    assert names(tmp_path) == ["figures", "model.bin", "record.json"]


def test_the_next_replacement_finishes_the_one_before_first(tmp_path):
    evaluate(tmp_path, "old", extra=True)
    killed(PROGRAM, str(tmp_path), "2")
    with pytest.raises(RuntimeError, match="failed"), replacing(tmp_path, "evaluation", parts=PARTS):
        raise RuntimeError("failed")
    assert labels(tmp_path) == {"new"}
    assert names(tmp_path) == ["figures", "model.bin", "record.json"]


def test_a_link_in_the_place_of_a_part_is_replaced_and_not_followed(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "keep").write_text("mine")
    folder = tmp_path / "final"
    folder.mkdir()
    (folder / "figures").symlink_to(outside)
    (folder / "model.bin").symlink_to(outside / "keep")
    (folder / "extra.bin").symlink_to(outside)
    evaluate(folder, "new", extra=False)
    assert labels(folder) == {"new"}
    assert (outside / "keep").read_text() == "mine"
    assert names(folder) == ["figures", "model.bin", "record.json"]


def test_steps_of_nothing_are_none(tmp_path):
    assert list(islice(moves(tmp_path, "evaluation"), 3)) == []
