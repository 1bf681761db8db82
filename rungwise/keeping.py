"""The commands that take runs elsewhere, or away.

rungwise export NAME --out trials.csv
rungwise rm NAME
"""

import os
import secrets
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from search.process.answer import add_to_answer
from search.process.arguments import DONE, Flag, answering, parse, report_error
from search.storage.folder import find_run
from search.storage.lock import is_held

_RUNS_DIR = Path("runs")
_FORMATS = (".csv", ".json", ".parquet")


@dataclass(frozen=True, kw_only=True)
class Export:
    """Write the trials of a run as a table: one row per trial, with its state, value, epochs and hyperparameters."""

    run: Annotated[str, tyro.conf.Positional]
    """Name of the run, or its folder."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    """File to write, which ends in .csv, .json or .parquet. Default: CSV on standard output."""
    epochs: Flag = False
    """One row per trial and epoch instead, with everything that was reported."""
    json: Flag = False
    """Print one JSON object, and everything else on stderr; needs --out."""
    runs_dir: Path = _RUNS_DIR
    """Folder that holds all runs."""


@dataclass(frozen=True, kw_only=True)
class Remove:
    """Remove runs with all their files. Asks first."""

    runs: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN [RUN ...]")]
    """Names of the runs, or their folders."""
    yes: Flag = False
    """Do not ask."""
    json: Flag = False
    """Print one JSON object, and everything else on stderr; needs --yes."""
    runs_dir: Path = _RUNS_DIR
    """Folder that holds all runs."""


@answering
def main(words: list[str]) -> int:
    """The command named by the first word; 0 when done, 2 for bad input."""
    kind = {"export": Export, "rm": Remove}[words[0]]
    try:
        options: Any = parse(kind, words[1:], prog=f"rungwise {words[0]}")
        if isinstance(options, Export):
            _export(options)
        else:
            _remove(options)
    except (ValueError, OSError) as error:
        return report_error(error)
    return DONE


def _export(options: Export) -> None:
    if options.out is not None and options.out.suffix not in _FORMATS:
        raise ValueError(f"--out must end in {', '.join(_FORMATS)}, got {str(options.out)!r}")
    if options.out is None and options.json:
        raise ValueError("--json needs --out, because standard output would have the table as well")
    folder = find_run(options.run, options.runs_dir)
    from analysis.studies.export import write_csv, write_json, write_parquet
    from analysis.studies.tradeoff import with_second
    from analysis.studies.trials import read_trials
    from search.process.disk import writable
    from search.storage.run import read_run
    from search.storage.study import open_study

    study, run = open_study(folder), read_run(folder)
    found = read_trials(study, run)
    table = found.epochs if options.epochs else with_second(found.trials, run, study.get_trials(deepcopy=False))
    if options.out is None:
        write_csv(table, sys.stdout)
        return
    path = writable(options.out.parent, "the table") / options.out.name
    partial = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    {".csv": write_csv, ".json": write_json, ".parquet": write_parquet}[path.suffix](table, partial)
    os.replace(partial, path)
    print(f"{len(table):,} rows: {path}")
    add_to_answer(rows=len(table), path=str(path))


def _remove(options: Remove) -> None:
    if not options.runs:
        raise ValueError("RUN is missing: the name of a run, or its folder; `rungwise runs` lists the names")
    folders = [find_run(name, options.runs_dir) for name in dict.fromkeys(options.runs)]
    for folder in folders:
        if folder.resolve() in Path.cwd().resolve().parents or folder.resolve() == Path.cwd().resolve():
            raise ValueError(f"{str(folder)!r} contains the current folder; leave it first")
        if is_held(folder) is not False:
            raise ValueError(f"run {folder.name!r} is in use by a search; stop it first")
    for folder in folders:
        print(_description(folder), flush=True)
    if options.json and not options.yes:
        raise ValueError("rm asks before it removes a run, which --json does not allow; add --yes")
    if not options.yes and not _agreed(len(folders)):
        print("nothing was removed")
        return
    for folder in folders:
        _remove_folder(folder)
    print(f"removed {', '.join(folder.name for folder in folders)}")
    add_to_answer(removed=[folder.name for folder in folders])


def _description(folder: Path) -> str:
    """What is lost with a run, in one line, and what stays elsewhere."""
    from search.process.text import counted
    from search.storage.run import read_run

    size = sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())
    try:
        run = read_run(folder)
    except ValueError as error:
        return f"{folder}: {size / 1e6:,.1f} MB; {str(error)[:200]}"
    stays = [f"its study in {run.study_url}"] * bool(run.study_url)
    stays += [f"its checkpoints in {run.storage}"] * bool(run.storage)
    rest = f"; {' and '.join(stays)} will stay" if stays else ""
    return f"{folder}: {run.subject}, {counted(run.trials, 'trial')}, {size / 1e6:,.1f} MB{rest}"


def _agreed(count: int) -> bool:
    if not sys.stdin.isatty():
        raise ValueError("rm asks before it removes a run, but this is not a terminal; add --yes")
    what = "this run" if count == 1 else f"these {count} runs"
    try:
        return input(f"Remove {what} for good? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _remove_folder(folder: Path) -> None:
    """Remove a run, which is no longer there under its name as soon as this begins."""
    if folder.is_symlink():
        folder.unlink()
        return
    aside = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.removed")
    os.rename(folder, aside)
    shutil.rmtree(aside)
