"""Copies the results of a finished run, without checkpoints: its study, records, pages and figures.

python -m analysis.publish runs/NAME                  # into results/NAME

What is written is itself the folder of a run: report, notebooks, `search.rerun` and `analysis.final` read it.
"""

import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from analysis.pages.published import DATA_DIR, portable, text_of
from analysis.studies.results import EVALUATION
from search.process.answer import add_to_answer
from search.process.arguments import (
    BROKEN_OFF,
    Flag,
    OptionalStr,
    answering,
    command,
    parse,
    report_error,
    run_command,
    say_error,
)
from search.process.faults import fault_point
from search.process.signals import Stopped, raise_stopped
from trainables.files.whole import finish, replacing, write_whole

if TYPE_CHECKING:
    from search.storage.run import Run

TEXTS = (
    "report/index.html",
    "report/figures/*.txt",
    "report/tables/*.csv",
    "ask/answers.json",
    "confirm/results.csv",
    "final/README.md",
    "final/final.json",
    "final/openings.jsonl",
    "final/figures/*.txt",
    "final/tables/*.csv",
)
"""What is copied as text; for a figure that could not be drawn, the reason is beside it."""
FIGURES = ("report/figures/*.png", "final/figures/*.png")
LEFT_OUT = ("trials.csv", "epochs.csv", "predictions.csv")
"""Tables that repeat the study, and one with a line for every test row."""
_PUBLISHED = frozenset(("run.json", "study.db", "report", "ask", "confirm", "final"))
_NOT_PUBLISHED = ("ask/study.db", "confirm/study.db", "final/training", "final/model.safetensors")


@dataclass(frozen=True, kw_only=True)
class Options:
    """Keep the findings of a run; the run itself is only read."""

    run: Annotated[Path, tyro.conf.Positional]
    """Folder of a run with a report; its final evaluation is copied as well, if there is one."""
    to: Path = Path("results")
    """Folder for the published runs, each under its name; an earlier copy of the same run is replaced."""
    name: OptionalStr = None
    """Another name for the run, if a different run is already published under its name."""
    json: Flag = False
    """Print one JSON object, and everything else on stderr."""


@answering
def main(argv: list[str]) -> int:
    """Publish a run; 0 when it is written, 1 when it was broken off, 2 for bad input, 128 + n when stopped."""
    raise_stopped()
    try:
        options = parse(Options, argv, prog=command("analysis.publish"))
        folder = publish(options)
    except (ValueError, OSError, sqlite3.Error) as error:
        from search.session.trouble import explain, is_machine_fault

        if not is_machine_fault(error):
            return report_error(error)
        reason = explain(error, options.to).replace("the run cannot", f"{options.to} cannot", 1)
        say_error(f"{reason}; what was published before is unchanged")
        return BROKEN_OFF
    except Stopped as stop:
        print(f"{stop}; what was published before is unchanged", file=sys.stderr)
        return stop.code
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{folder}: {size / 1e6:.1f} MB")
    add_to_answer(folder=folder, bytes=size)
    return 0


def publish(options: Options) -> Path:
    """Write the folder and return its path; it is made aside, and what an earlier call wrote is removed at the end.

    Raises:
        ValueError: the run is none, or has no report that shows every opening of the test set; its place is inside the
            run, or holds something else by that name.
        OSError, sqlite3.Error: it cannot be written; what was there stays.
    """
    from search.storage.folder import check_name
    from search.storage.run import read_run

    run = read_run(options.run)
    if not (options.run / "report" / "index.html").is_file():
        raise ValueError(f"{options.run} has no report; create it with: {command('analysis.report')} {options.run}")
    name = options.name or run.name
    check_name(name)
    folder = options.to / name
    _check_apart(options.run, folder)
    options.to.mkdir(parents=True, exist_ok=True)
    finish(options.to, name)
    _check_replaceable(folder, run)
    finish(options.run / "final", EVALUATION)
    with replacing(options.to, name, parts=[name]) as aside:
        _write(options.run, aside / name, run, folder=folder)
    return folder


def _check_apart(run_dir: Path, folder: Path) -> None:
    """Raise ValueError if run and publication are one folder, or one is inside the other, by whatever path."""
    for inner, outer in ((folder, run_dir), (run_dir, folder)):
        inside = inner.resolve()
        if any(_is_same(place, outer) for place in (inside, *inside.parents)):
            where = "the run itself" if _is_same(folder, run_dir) else f"inside {outer}"
            raise ValueError(f"{inner} is {where}; publish to another folder with --to, or under another --name")


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:  # one of them does not exist
        return one == other.resolve()


def _check_replaceable(folder: Path, run: "Run") -> None:
    """Raise ValueError if the folder holds anything but an earlier publication of this run, or what is left of one."""
    from search.storage.run import read_run

    if not os.path.lexists(folder):
        return
    found = {path.name for path in folder.iterdir()} if folder.is_dir() else {folder.name}
    if all(name.startswith(".run.json.") for name in found):  # nothing else was written by then
        return
    if "run.json" not in found or read_run(folder).created != run.created:
        raise ValueError(f"{folder} contains something else; move it away or give another folder with --to")
    own = [name for name in _NOT_PUBLISHED if os.path.lexists(folder / name)]
    own += sorted(name for name in found - _PUBLISHED if not name.startswith("."))
    if own:
        raise ValueError(
            f"{folder} contains {own[0]}, which is not part of a published run and would be lost; move it away or give "
            f"another folder with --to"
        )


def _write(run_dir: Path, new: Path, run: "Run", *, folder: Path) -> None:
    """Write what is published into a new folder.

    Args:
        new: where to write.
        folder: what it will be called in the end.
    """
    from search.storage.run import write_run

    new.mkdir()
    command = portable(run.command, run_dir, folder, run).replace(f"--name {run.name}", f"--name {folder.name}")
    kept = {
        "name": folder.name,
        "data_dir": DATA_DIR,
        "study_url": None,
        "storage": None,
        "config": None,
        "command": command,
    }
    write_run(new, replace(run, **kept))
    fault_point("publish", 1)
    _copy_study(run_dir, new / "study.db", run)
    for source in _matching(run_dir, TEXTS):
        text = portable(text_of(source, run_dir), run_dir, folder, run)
        _target(source, run_dir, new).write_text(text, encoding="utf-8")
    fault_point("publish", 2)
    for source in _matching(run_dir, FIGURES):
        shrink(source, _target(source, run_dir, new))
    fault_point("publish", 3)


def _matching(run_dir: Path, patterns: tuple[str, ...]) -> Iterator[Path]:
    found = (path for pattern in patterns for path in sorted(run_dir.glob(pattern)))
    return (path for path in found if path.name not in LEFT_OUT)


def _target(source: Path, run_dir: Path, folder: Path) -> Path:
    target = folder / source.relative_to(run_dir)
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


def _copy_study(run_dir: Path, path: Path, run: "Run") -> None:
    """The study as one SQLite file without its free pages and side files; from a server, copied trial by trial."""
    import optuna

    from search.session.trouble import is_machine_fault
    from search.storage.database import connect, file_storage
    from search.storage.expected import copy_expected
    from search.storage.requests import copy_requests
    from search.storage.study import open_study

    study = open_study(run_dir)  # a damaged one is refused
    if run.study_url is None:
        stored = run_dir / "study.db"
        try:
            with closing(sqlite3.connect(f"{stored.resolve().as_uri()}?mode=ro", uri=True)) as source:
                source.execute("VACUUM INTO ?", (str(path),))
        except sqlite3.Error as error:
            if is_machine_fault(error):
                raise
            raise ValueError(f"{stored} cannot be read or is damaged ({error}); restore it from a copy") from None
        return
    storage = file_storage(path, new=True)  # a path in a URL would be decoded
    copy = optuna.create_study(study_name=run.name, storage=storage, direction=run.direction)
    copy.add_trials(study.get_trials(deepcopy=False))
    attrs = study._storage.get_study_system_attrs(study._study_id)
    copy_requests(attrs, copy)
    copy_expected(attrs, copy)
    storage.engine.dispose()
    with closing(connect(path)) as written:
        written.execute("PRAGMA journal_mode=DELETE")  # one file, which a read-only folder can hold


def shrink(source: Path, path: Path, *, widest: int = 1_000) -> None:
    """A figure with 256 colours, at most as wide as a page.

    Args:
        source: a PNG file.
        path: the file to write.
        widest: pixels.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(BytesIO(source.read_bytes())) as image:
            small = image.convert("RGB")
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise ValueError(f"{source} is damaged ({error}); create it again: {command('analysis.report')} RUN") from None
    if small.width > widest:
        height = round(small.height * widest / small.width)
        small = small.resize((widest, height), Image.Resampling.LANCZOS)
    shrunk = BytesIO()
    small.quantize(256).save(shrunk, format="png", optimize=True)
    write_whole(path, shrunk.getvalue())


if __name__ == "__main__":
    run_command(main)
