"""Sends a request to a running search, and prints the answer.

rungwise ctl NAME stop 7
rungwise ctl NAME clone 7 lr=0.01
rungwise ctl NAME                      # the requests so far
"""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from search.process.answer import add_to_answer
from search.process.arguments import (
    BAD_INPUT,
    DONE,
    Flag,
    answering,
    command,
    parse,
    report_error,
    run_command,
    say_error,
)
from search.process.text import printable
from search.storage.folder import find_run

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

    from search.storage.requests import Request
    from search.storage.run import Run

_LOOK_SECONDS = 0.2
_FORMS = {
    "pause": "pause TRIAL",
    "resume": "resume TRIAL",
    "stop": "stop TRIAL",
    "clone": "clone TRIAL [NAME=VALUE ...]",
    "add": "add FILE",
    "slots": "slots N",
    "budget": "budget +30m, budget 2h or budget none",
    "finish": "finish",
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """Steer a running search. Without a request, list the requests so far.

    pause TRIAL: train it no further for now

    resume TRIAL: let a paused trial continue

    stop TRIAL: end a trial for good

    clone TRIAL [NAME=VALUE ...]: train a copy with other values

    add FILE: train the configurations in a JSON file

    slots N: train N trials at once

    budget +30m, budget 2h, budget none: move, set or remove the time limit

    finish: sample no further configurations, and train the best ones to the end
    """

    run: Annotated[str, tyro.conf.Positional]
    """Name of the run, or its folder."""
    request: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[REQUEST ...]")] = ()
    """The request, such as: stop 7"""
    wait: float = 20.0
    """Seconds to wait for the answer. A request that is not answered by then stays, and is answered later."""
    json: Flag = False
    """Print one JSON object, and everything else on stderr."""
    runs_dir: Path = Path("runs")
    """Folder that holds all runs."""


@answering
def main(argv: list[str]) -> int:
    """The command; 0 when the request is accepted or stored, 2 when it is refused and for bad input."""
    try:
        options = parse(Options, argv, prog=command("search.ctl"))
        if not 0 <= options.wait <= 10**6:
            raise ValueError(f"--wait must lie in [0, 1000000] seconds, got {options.wait:g}")
        folder = find_run(options.run, options.runs_dir)
        if not options.request:
            return _list(folder)
        return _send(folder, _read(options.request), wait=options.wait)
    except (ValueError, OSError) as error:
        return report_error(error)


def _list(folder: Path) -> int:
    from search.process.tabular import print_table
    from search.storage.requests import requests_of
    from search.storage.study import open_study

    found = requests_of(open_study(folder))
    add_to_answer(requests=[one.facts for one in found])
    if not found:
        print(f"nothing was asked of {folder.name!r}")
        return DONE
    print_table(
        [
            {
                "request": "-" if one.number is None else str(one.number),
                "sent": one.sent[:19].replace("T", " "),
                "what": printable(one.text),
                "state": one.state,
                "answer": printable(one.answer),
            }
            for one in found
        ]
    )
    return DONE


def _send(folder: Path, request: "Request", *, wait: float) -> int:
    from search.storage.lease import is_searched
    from search.storage.presence import identify
    from search.storage.requests import send
    from search.storage.run import read_run
    from search.storage.study import open_for_requests

    run = read_run(folder)
    file = None if run.study_url is not None else identify(folder / "study.db")
    with open_for_requests(folder, run) as (storage, study_id):
        if not is_searched(storage, study_id, file=file):
            _check_unanswered(folder, run, request)
        sent = send(storage, study_id, request)
        end = time.monotonic() + wait
        while (searched := is_searched(storage, study_id, file=file)) and time.monotonic() < end:
            if _look_up(storage, study_id, sent).state != "waiting":
                break
            time.sleep(_LOOK_SECONDS)
        return _say(_look_up(storage, study_id, sent), run, folder, searched=searched)


def _look_up(storage: "BaseStorage", study_id: int, sent: "Request") -> "Request":
    from search.storage.requests import requests_in

    found = requests_in(storage.get_study_system_attrs(study_id))
    return next(one for one in found if one.key == sent.key)


def _check_unanswered(folder: Path, run: "Run", request: "Request") -> None:
    """Raise ValueError for a request that a search which does not run could only refuse, or would not need.

    If the code of the space is not here, or is somewhere else now, the search decides when it is resumed.
    """
    import optuna

    from search.forecast.begun import foreseen
    from search.storage.space import space_of
    from search.storage.study import open_study

    if request.verb == "budget":
        raise ValueError(f"{folder.name!r} is not being searched; give --time-budget when you resume it")
    study = open_study(folder)
    if request.trial is not None:
        trial = next((one for one in study.trials if one.number == request.trial), None)
        if trial is None:
            raise ValueError(f"{folder.name!r} has no trial {request.trial}")
        if request.verb != "clone" and trial.state.is_finished():
            raise ValueError(f"trial {request.trial} of {folder.name!r} has ended")
    try:
        space = space_of(run)
    except (ValueError, OSError):
        return
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if (answer := foreseen(request, study, run, space)).state == "refused":
        way = "; correct it, or change the range first: --resume --set" * (request.verb in ("add", "clone"))
        raise ValueError(f"{request.text}: {answer.answer}{way}")


def _say(request: "Request", run: "Run", folder: Path, *, searched: bool) -> int:
    add_to_answer(request=request.facts)
    if request.state == "refused":
        say_error(f"{request.text}: {request.answer}")
        return BAD_INPUT
    if request.state == "accepted":
        print(f"request {request.number}: {printable(request.answer)}")
        return DONE
    if searched:
        print("the request is stored; the search has not answered yet, and will when its current work allows")
        return DONE
    from search.session import options

    resume = options.resume_command(options.Options(runs_dir=folder.parent), run.name)
    print(f"the request is stored; {run.name!r} is not being searched, and applies it when you resume it: {resume}")
    return DONE


def _read(words: Sequence[str]) -> "Request":
    """The request in these words.

    Raises:
        ValueError: it has another form.
    """
    from search.storage.requests import Request
    from trainables.data.names import did_you_mean

    verb, rest = words[0], list(words[1:])
    if verb not in _FORMS:
        raise ValueError(f"unknown request {verb[:40]!r}; available: {', '.join(_FORMS)}{did_you_mean(verb, _FORMS)}")
    fields: dict[str, Any] = {"verb": verb}
    if verb in ("pause", "resume", "stop", "clone"):
        fields["trial"] = _number(rest.pop(0) if rest else "", verb)
    if verb == "clone":
        fields["changes"] = dict(_change(rest.pop(0)) for _ in list(rest))
    elif verb == "slots":
        fields["slots"] = _number(rest.pop(0) if rest else "", verb)
        if not fields["slots"]:
            raise ValueError(
                "slots must be at least 1, got 0; `finish` ends a search, and `pause` stops a trial for now"
            )
    elif verb == "budget" and rest:
        fields |= _budget(rest.pop(0))
    elif verb == "budget":
        raise ValueError(f"budget needs a time: {_FORMS['budget']}")
    elif verb == "add":
        fields["configurations"] = _configurations(rest)
        rest = []
    if rest:
        raise ValueError(f"unexpected word {rest[0][:80]!r} after {verb}; its form is: {_FORMS[verb]}")
    return Request(**fields)


def _number(text: str, verb: str) -> int:
    if not re.fullmatch(r"\d{1,9}", text):
        raise ValueError(f"{verb} needs a whole number, got {text[:80]!r}; its form is: {_FORMS[verb]}")
    return int(text)


def _change(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals or not value:
        raise ValueError(f"clone takes NAME=VALUE, such as lr=0.01, got {text[:80]!r}")
    return name, value


def _configurations(files: Sequence[str]) -> tuple[dict[str, Any], ...]:
    from search.session.tries import read_tries

    if not files:
        raise ValueError("add needs a JSON file with a configuration, such as runs/NAME/best.json")
    return tuple(one.params for one in read_tries(files, word="add"))


def _budget(text: str) -> dict[str, Any]:
    """The fields of a request that moves, sets or removes the time limit."""
    from search.storage.requests import MAX_MINUTES

    if text == "none":
        return {"minutes": None}
    found = re.fullmatch(r"(\+?)(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?", text)
    minutes = 60 * float(found[2] or 0) + float(found[3] or 0) if found else 0.0
    if not found or not 0 < minutes <= MAX_MINUTES:
        raise ValueError(f"budget must be a time such as +30m, 2h or 1h30m, or none, got {text[:80]!r}")
    return {"minutes": minutes, "adds": bool(found[1])}


if __name__ == "__main__":
    run_command(main)
