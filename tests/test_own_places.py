"""Where a space of the user's own may live, how it is found, kept, compared and imported; the command `rungwise`."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import spaces
from rungwise.notebook import write_space
from rungwise.searching import reference_of, search
from search.runtime.parcel import pack_code, pack_own_code
from search.storage.source_code import canonical, describe_change, describe_source, keep_source
from spaces.origin import locate, short_name
from spaces.sources import read_sources
from spaces.space import Space, load
from tests.disks import fill, small_disk
from tests.own_spaces import WHOLE, write_own
from tests.searching import ROOT

__all__ = ["small_disk"]
SPACE = load("digits_arch")


def test_a_space_is_named_by_its_file_with_or_without_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write_own(tmp_path, "by_file")
    path.write_text(path.read_text() + "\nOTHER = SPACE\n")
    monkeypatch.chdir(tmp_path)
    for reference in (str(path), "by_file.py", "./by_file.py", f"{path}:SPACE", "by_file.py:OTHER"):
        assert isinstance(load(reference), Space)
        assert short_name(reference) == "by_file"
        assert canonical(reference).startswith(str(path))
        assert load(canonical(reference)).metric == "loss"


def test_a_space_is_named_by_its_module_and_known_again_from_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    package = tmp_path / "ownpackage"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "sizes.py").write_text("WIDTH = 8\n")
    write_own(package, "tuned", text=WHOLE.replace('"width": 8}', '"width": WIDTH}') + "from .sizes import WIDTH\n")
    text = (package / "tuned.py").read_text().replace("from .sizes import WIDTH\n", "")
    (package / "tuned.py").write_text("from .sizes import WIDTH\n" + text)
    monkeypatch.chdir(tmp_path)
    reference = canonical("ownpackage.tuned:SPACE")
    files = sorted(read_sources(locate(reference)).files)
    assert files == [f"ownpackage/{name}.py" for name in ("__init__", "sizes", "tuned")]
    monkeypatch.chdir(ROOT)
    assert load(reference).baseline["width"] == 8
    assert short_name(reference) == "tuned"


@pytest.mark.parametrize(
    ("text", "reference", "message"),
    [
        (WHOLE, "gone.py", "--space: there is no file"),
        (WHOLE, "mine.py:OTHER", "defines no OTHER; it defines SPACE: add :SPACE"),
        ("x = 1\n", "mine.py", "defines no SPACE; write SPACE = rw.Space"),
        ("def f(:\n", "mine.py", "line 1 is not valid Python"),
        (WHOLE, "no_package.mine:SPACE", "names no module: no_package/mine.py is neither in"),
        (WHOLE, "mine.py:not-a-name", "must end with the name of a space"),
        (WHOLE, "folder/mine", "unknown space 'folder/mine'"),
        ("SPACE = 3\n", "mine.py", "must be a rungwise Space, got a int"),
        ("import nowhere_at_all\nSPACE = 3\n", "mine.py", "mine.py, line 1: ModuleNotFoundError"),
        ("import sys\nsys.exit(3)\nSPACE = 3\n", "mine.py", "ends the program while it is imported"),
        ("SPACE = 1 / 0\n", "mine.py", "mine.py, line 1: ZeroDivisionError: division by zero"),
    ],
)
def test_a_space_that_cannot_be_used_says_why_in_one_line(
    text: str, reference: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write_own(tmp_path, "mine", text=text)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        load(reference)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["search", "analysis", "spaces", "trainables"])
def test_a_module_of_the_users_with_the_name_of_a_package_of_ours_is_told_where_it_bites(name: str, tmp_path: Path):
    (tmp_path / f"{name}.py").write_text("x = 1\n")
    path = write_own(tmp_path, f"beside_{name}")
    assert load(str(path)).metric == "loss"  # it is not imported: it may stay
    path.write_text(f"import {name}\n" + path.read_text())
    with pytest.raises(
        ValueError, match=f"imports '{name}', which is a module in .* rename your module, for example to my_{name}"
    ):
        load(str(path))


def test_a_file_with_the_name_of_a_library_is_imported_beside_it(tmp_path: Path):
    path = write_own(tmp_path, "random")
    assert load(str(path)).metric == "loss"
    import random

    assert hasattr(random, "gauss")


def test_a_file_that_changed_is_read_again_with_the_modules_beside_it(tmp_path: Path):
    helper = tmp_path / "own_helper.py"
    helper.write_text("EPOCHS = 4\n")
    path = write_own(
        tmp_path, "changing", text="from own_helper import EPOCHS\n" + WHOLE.replace("epochs=4", "epochs=EPOCHS")
    )
    assert load(str(path)).epochs == 4
    helper.write_text("EPOCHS = 6\n")
    assert load(str(path)).epochs == 6


def test_what_a_file_states_is_read_without_importing_it(tmp_path: Path):
    path = write_own(tmp_path, "stated", text="raise RuntimeError\n" + WHOLE)
    assert spaces.stated(str(path)) == {"metric": "loss", "direction": "minimize", "epochs": 4, "own": True}


def test_sources_are_kept_and_a_change_is_told_once(tmp_path: Path):
    path, run_dir = write_own(tmp_path, "kept"), tmp_path / "run"
    run_dir.mkdir()
    first = describe_source(str(path), test=False)
    assert keep_source(run_dir, str(path)) is None
    assert (run_dir / "source" / "kept.py").read_text() == path.read_text()
    assert describe_change(run_dir, str(path)) is None
    path.write_text(path.read_text() + "# another comment\n")
    assert describe_source(str(path), test=False) != first
    line = describe_change(run_dir, str(path))
    assert line is not None
    assert line.startswith(
        "the training code has changed since this run was last used (kept.py); continuing with the new"
    )
    keep_source(run_dir, str(path))
    assert describe_change(run_dir, str(path)) is None
    assert (run_dir / "source.1" / "kept.py").exists()


def test_the_kept_source_stays_where_there_is_no_room_for_the_changed_one(small_disk: Path, tmp_path: Path):
    path = write_own(tmp_path, "kept")
    before = path.read_text()
    keep_source(small_disk, str(path))
    path.write_text(before + f"\nBIG = '{'x' * 300_000}'\n")
    fill(small_disk / "filler")
    with pytest.raises(OSError, match="No space left"):
        keep_source(small_disk, str(path))
    assert (small_disk / "source" / "kept.py").read_text() == before
    (small_disk / "filler").unlink()
    assert keep_source(small_disk, str(path)) is None
    assert (small_disk / "source" / "kept.py").read_text() == path.read_text()
    assert (small_disk / "source.1" / "kept.py").read_text() == before


def test_a_space_of_ours_keeps_no_source(tmp_path: Path):
    assert describe_source("digits_arch", test=False) is None
    assert keep_source(tmp_path, "digits_arch") is None
    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_the_space_travels_without_what_is_hidden_built_or_large(tmp_path: Path):
    home = tmp_path / "home"
    home.mkdir()
    path = write_own(home, "travels")
    (home / "table.txt").write_text("1,2\n")
    for folder in (".git", "__pycache__", "runs"):
        (home / folder).mkdir()
        (home / folder / "file.py").write_text("x = 1\n")
    with (home / "large.bin").open("wb") as file:
        file.truncate(20_000_000)
    line = pack_own_code(str(path), tmp_path / "parcel")
    assert line == "sending your code to the nodes: 2 files, 0.0 MB"
    found = sorted(p.name for p in (tmp_path / "parcel").rglob("*") if p.is_file())
    assert found == ["table.txt", "travels.py"]
    assert pack_own_code("digits_arch", tmp_path / "none") is None


def test_the_packages_that_a_worker_needs_travel_wherever_the_module_that_packs_them_lies(tmp_path: Path):
    pack_code(tmp_path, space="digits_arch")
    for package in ("rungwise", "search", "spaces", "trainables"):
        assert (tmp_path / package / "__init__.py").is_file()


# A notebook


def test_a_space_of_a_notebook_is_written_with_all_that_its_functions_need(tmp_path: Path):
    cells = WHOLE.replace("import rungwise as rw", "import rungwise as rw\nSTEP = 0.5").replace("0.5**", "STEP**")
    program = (
        "import linecache, sys\n"
        f"cells = {cells!r}\n"
        "linecache.cache['<cell>'] = (len(cells), None, cells.splitlines(True), '<cell>')\n"
        "main = sys.modules['__main__']\n"
        "exec(compile(cells, '<cell>', 'exec'), main.__dict__)\n"
        "from rungwise.notebook import write_space\n"
        "from pathlib import Path\n"
        f"print(write_space(SPACE, Path({str(tmp_path / 'written.py')!r})))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"{tmp_path / 'written.py'}:SPACE"
    assert "STEP = 0.5" in (tmp_path / "written.py").read_text()
    space = load(str(tmp_path / "written.py"))
    assert (space.metric, space.direction, space.epochs, space.baseline) == (
        "loss",
        "minimize",
        4,
        {"lr": 0.1, "width": 8},
    )


def test_a_function_that_cannot_be_written_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    nameless = lambda trial: {}  # noqa: E731
    monkeypatch.setattr(nameless, "__module__", "__main__")
    space = Space(suggest=nameless, train=write_space, baseline={}, metric="m", epochs=1)
    with pytest.raises(ValueError, match="suggest must be a plain function at the top of a cell, not a lambda"):
        write_space(space, tmp_path / "x.py")


def test_a_space_in_a_module_is_called_as_the_command_would(tmp_path: Path):
    load(str(write_own(tmp_path, "referred")))
    assert reference_of(sys.modules["referred"].SPACE, folder=tmp_path, name="n") == f"{tmp_path / 'referred.py'}:SPACE"
    assert reference_of(SPACE, folder=tmp_path, name="n") == "digits_arch"
    loose = Space(suggest=write_space, train=write_space, baseline={}, metric="m", epochs=1)
    with pytest.raises(ValueError, match="must be a variable at the top of your file or notebook"):
        reference_of(loose, folder=tmp_path, name="n")


def test_search_names_an_option_that_it_does_not_have():
    with pytest.raises(ValueError, match=r"search has no option 'trails' \(did you mean trials\?\)"):
        search("digits_arch", trails=3)


def test_a_search_that_is_called_while_its_file_is_imported_says_what_to_do(tmp_path: Path):
    path = write_own(tmp_path, "unguarded", text=WHOLE + "\nrw.search(SPACE, trials=2)\n")
    with pytest.raises(
        ValueError, match='rw.search is called while unguarded.py is imported, .*`if __name__ == "__main__":`'
    ):
        load(str(path))


# The command


def rungwise(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "rungwise.cli", *words],
        cwd=cwd, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_command_answers_beside_folders_with_the_names_of_ours(tmp_path: Path):
    for name in ("search", "analysis", "spaces", "rungwise"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong one')\n")
    assert rungwise("--version", cwd=tmp_path).stdout.startswith("rungwise ")
    assert "rungwise COMMAND [OPTIONS]" in rungwise("--help", cwd=tmp_path).stdout
    done = rungwise("serach", cwd=tmp_path)
    assert done.returncode == 2
    assert "did you mean search?" in done.stderr
    done = rungwise("search", "--space", "nothing.py", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: --space: there is no file")
    assert rungwise("runs", cwd=tmp_path).stdout == "no runs in 'runs'\n"


def test_importing_rungwise_imports_nothing_else():
    program = (
        "import sys; before = set(sys.modules); import rungwise; new = set(sys.modules) - before\n"
        "heavy = {'torch', 'ray', 'optuna', 'numpy', 'pandas', 'search.storage.study'} & new\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


def test_a_module_of_the_users_that_came_first_is_named(tmp_path: Path):
    (tmp_path / "analysis.py").write_text("x = 1\n")
    program = "import analysis, rungwise as rw\ntry: rw.Space\nexcept ImportError as e: print(e)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "which is also the name of a package of rungwise; rename your module (my_analysis)" in done.stdout


def test_runs_are_listed_and_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    from rungwise.listing import main

    results = str(ROOT / "results")
    assert main(["runs", "--runs-dir", results]) == 0
    assert "fashion" in capsys.readouterr().out
    assert main(["show", "fashion", "--runs-dir", results]) == 0
    assert "accuracy, to maximize" in capsys.readouterr().out
    assert main(["show", "fashion", "0", "--runs-dir", results]) == 0
    said = capsys.readouterr().out
    assert said.startswith("trial 0 of fashion: finished\n")
    assert re.search(r"epoch +accuracy +train_loss", said)
    assert not re.search("float32|evaluation_seconds", said), "what is the same in every epoch, or of the machine alone"
    assert main(["logs", "fashion", "--runs-dir", results]) == 0
    assert (
        capsys.readouterr().out == "'fashion' has no logs: no trial printed anything, or the run is a published copy\n"
    )
    assert main(["logs", "fashion", "first", "--runs-dir", results]) == 2
    assert "error: a number is needed, got 'first'; see" in capsys.readouterr().err
    assert main(["show", "fashon", "--runs-dir", results]) == 2
    assert "there is no run 'fashon'" in capsys.readouterr().err


def test_a_run_is_an_object():
    import rungwise as rw

    run = rw.open_run(ROOT / "results" / "fashion")
    assert run.best is not None
    assert run.best.value == run.trials.loc[run.best.number, "value"]
    assert {"trial", "epoch", "value"} <= set(run.epochs.columns)
    assert "fashion" in repr(run)
    with pytest.raises(ValueError, match="is not a run"):
        rw.open_run(ROOT)
    assert json.loads((run.folder / "run.json").read_text())["name"] == run.settings.name
