"""The texts of a run as they are published: checked, without secrets and without the folders of a machine."""

import html
import json
import os
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from search.process.secrets import redact_text

if TYPE_CHECKING:
    from search.storage.run import Run

DATA_DIR = "data"
"""Stands for the folder of the data sets in what is kept."""


def text_of(source: Path, run_dir: Path) -> str:
    """The text of a file of the run; page and model card count the openings of the test set as their log does.

    Raises:
        ValueError: the file is damaged, or the page counts other openings.
    """
    from analysis.prose.card import restate_openings

    log = source.name == "openings.jsonl"  # each of its lines counts, readable or not
    try:
        text = source.read_text(encoding="utf-8", errors="replace" if log else "strict")
    except UnicodeDecodeError as error:
        raise ValueError(f"{source} is damaged ({error}); create it again") from None
    if source.name == "index.html":
        return _refreshed(text, run_dir)
    if source.name == "final.json":
        _check_results(text, source)
    return restate_openings(text, run_dir / "final") if source.name == "README.md" else text


def _refreshed(page: str, run_dir: Path) -> str:
    from analysis.pages.final import refresh_page
    from analysis.plots.drawing import explain

    try:
        return refresh_page(page, run_dir)
    except (OSError, ValueError):
        raise
    except Exception as error:  # the results lack something that the page shows
        raise _damaged(run_dir / "final" / "final.json", explain(error)) from None


def _check_results(text: str, path: Path) -> None:
    from analysis.studies.results import FinalResults, ResultsError

    try:
        FinalResults.of(json.loads(text))
    except ResultsError as error:  # those of another release are published as they are
        if error.damage:
            raise _damaged(path, error.damage) from None
    except (ValueError, RecursionError) as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, reason: object) -> ValueError:
    return ValueError(
        f"{path} is damaged ({reason}); restore it from a copy, or evaluate again: python -m analysis.final"
        f" {path.parent.parent} --again"
    )


def portable(text: str, run_dir: Path, folder: Path, run: "Run") -> str:
    """The text without the folders of a machine: the run's becomes that of what is kept, the data's plain `data`."""
    text = _without_secrets(text, run)
    places = {run_dir, run_dir.resolve()}
    stated = _option(run.command, "--runs-dir")  # where it was searched; it may have been moved since
    if stated:
        places.add(Path(stated) / run.name)
    for place in sorted(places):
        text = _moved(text, str(place), f"{folder.parent.name}/{folder.name}")
        for form in _forms(str(place.parent)):
            text = text.replace(f" --runs-dir {form}", "")
    text = redact_text(text)
    return _replaced(text, run.data_dir, DATA_DIR) if os.sep in run.data_dir else text


def _option(command: str, name: str) -> str | None:
    """The value of an option in a command."""
    try:
        words = shlex.split(command)
    except ValueError:  # commands were once kept without quotes
        words = command.split()
    return next((words[place + 1] for place, word in enumerate(words[:-1]) if word == name), None)


def _forms(text: str) -> list[str]:
    """A text as it is, and as commands, pages and JSON write it, the longest first."""
    quoted = shlex.quote(text)
    found = {text, quoted, html.escape(text), html.escape(quoted), json.dumps(text)[1:-1], json.dumps(quoted)[1:-1]}
    return sorted(found, key=lambda form: (-len(form), form))


def _replaced(text: str, old: str, new: str) -> str:
    for form in _forms(old):
        text = text.replace(form, new)
    return text


def _moved(text: str, old: str, new: str) -> str:
    """The text with another path for a folder, where the whole path stands: `runs/a` is not a part of `runs/ab`.

    A path that is only a name, such as `first`, may be any word of the text. It is a path in a command alone.
    """
    before = r"()(?<![\w-])" if os.sep in old else r"((?:rungwise |analysis\.)\w+ )"
    for form in _forms(old):
        lead = "()" if form.startswith(os.sep) else before
        text = re.sub(rf"{lead}{re.escape(form)}(?![\w-])", lambda found: found[1] + new, text)
    return text


def _without_secrets(text: str, run: "Run") -> str:
    """The text without the URLs of database and checkpoints, in which a password may stand, however they are quoted."""
    for url in filter(None, (run.study_url, run.storage)):
        text = _replaced(text, url, "***")
    return text
