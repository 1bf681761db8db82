"""Keeps what a finished run has found: its study, its records, its pages and figures, without checkpoints.

python -m analysis.publish runs/NAME                  # into results/NAME

What is written is itself the folder of a run: report, notebooks, `search.rerun` and `analysis.final` read it.
"""

import os
import re
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from search.cli import OptionalStr, parse, report_error

if TYPE_CHECKING:
    from search.study import Run

TEXTS = (
    "report/index.html",
    "report/tables/*.csv",
    "confirm/results.csv",
    "final/README.md",
    "final/final.json",
    "final/openings.jsonl",
    "final/tables/*.csv",
)
FIGURES = ("report/figures/*.png", "final/figures/*.png")
LEFT_OUT = ("trials.csv", "epochs.csv", "predictions.csv")
"""Tables that repeat the study, and one with a line for every test row."""
DATA_DIR = "data"
"""Stands for the folder of the data sets in what is kept."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Keep the findings of a run; the run itself is only read."""

    run: Annotated[Path, tyro.conf.Positional]
    """Folder of a run with its report; with its final evaluation, if there is one."""
    to: Path = Path("results")
    """Folder for what is kept, each run under its name; what an earlier call kept of the same run is replaced."""
    name: OptionalStr = None
    """Another name for the run, where one by its own is kept already."""


def main(argv: list[str]) -> int:
    """Publishes a run; 0 when it is written, 2 for bad input."""
    try:
        folder = publish(parse(Options, argv, prog="python -m analysis.publish"))
    except (ValueError, OSError) as error:
        return report_error(error)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{folder}: {size / 1e6:.1f} MB")
    return 0


def publish(options: Options) -> Path:
    """Write the folder and return its path.

    Raises:
        ValueError: the run is none, or has no report; or its place holds another run by the same name.
    """
    from search.place import check_name
    from search.study import read_run, write_run
    from trainables import places

    run = read_run(options.run)
    if not (options.run / "report" / "index.html").is_file():
        raise ValueError(f"{options.run} has no report; make it with: python -m analysis.report {options.run}")
    name = options.name or run.name
    check_name(name)
    folder = options.to / name
    if folder.exists() and (not (folder / "run.json").exists() or read_run(folder).created != run.created):
        raise ValueError(f"{folder} holds something else by that name; move it away or give another folder with --to")
    places.remove(folder)
    folder.mkdir(parents=True)
    command = _portable(run.command, options.run, folder, run).replace(f"--name {run.name}", f"--name {folder.name}")
    kept = {"name": folder.name, "data_dir": DATA_DIR, "study_url": None, "storage": None, "command": command}
    write_run(folder, replace(run, **kept))
    _copy_study(options.run, folder / "study.db", run)
    for source in _matching(options.run, TEXTS):
        text = _portable(source.read_text(encoding="utf-8"), options.run, folder, run)
        _target(source, options.run, folder).write_text(text, encoding="utf-8")
    for source in _matching(options.run, FIGURES):
        shrink(source, _target(source, options.run, folder))
    return folder


def _matching(run_dir: Path, patterns: tuple[str, ...]) -> Iterator[Path]:
    found = (path for pattern in patterns for path in sorted(run_dir.glob(pattern)))
    return (path for path in found if path.name not in LEFT_OUT)


def _target(source: Path, run_dir: Path, folder: Path) -> Path:
    target = folder / source.relative_to(run_dir)
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


def _portable(text: str, run_dir: Path, folder: Path, run: "Run") -> str:
    """The text without the folders of a machine: the run's becomes that of what is kept, the data's plain `data`."""
    places = {run_dir, run_dir.resolve()}
    if told := re.search(r"--runs-dir (\S+)", run.command):  # where it was searched; it may have been moved since
        places.add(Path(told[1]) / run.name)
    for place in sorted(places):
        text = text.replace(str(place), f"{folder.parent.name}/{folder.name}")
        text = text.replace(f" --runs-dir {place.parent}", "")
    return text.replace(run.data_dir, DATA_DIR) if os.sep in run.data_dir else text


def _copy_study(run_dir: Path, path: Path, run: "Run") -> None:
    """The study as one SQLite file without its free pages and side files; from a server, copied trial by trial."""
    import optuna

    from search.study import open_study

    if run.study_url is None:
        with closing(sqlite3.connect(f"{(run_dir / 'study.db').resolve().as_uri()}?mode=ro", uri=True)) as source:
            source.execute("VACUUM INTO ?", (str(path),))
        return
    study = open_study(run_dir)
    optuna.create_study(study_name=run.name, storage=f"sqlite:///{path}", direction=run.direction).add_trials(
        study.get_trials(deepcopy=False)
    )


def shrink(source: Path, path: Path, *, widest: int = 1_000) -> None:
    """A figure with 256 colours, at most as wide as a page.

    Args:
        source: a PNG file.
        path: the file to write.
        widest: pixels.
    """
    from PIL import Image

    with Image.open(source) as image:
        small = image.convert("RGB")
    if small.width > widest:
        height = round(small.height * widest / small.width)
        small = small.resize((widest, height), Image.Resampling.LANCZOS)
    small.quantize(256).save(path, optimize=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
