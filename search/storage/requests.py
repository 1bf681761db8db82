"""Requests to a search, such as to stop a trial: `rungwise ctl` stores them in the study, and the search answers them.

A request is one system attribute of the study, and its answer replaces it: each is stored whole or not at all. What a
search does for its requests follows from the accepted ones, so that a resumed search does the same.
"""

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import optuna
from optuna.storages import BaseStorage

from search.process.faults import fault_point
from search.storage.checking import Range, build
from search.storage.database import reading
from search.storage.run import Run, Scalar

PREFIX = "rungwise:request:"
"""How the system attributes of a study that are requests begin; the time and a random number follow."""
BY_REQUEST = "request"
"""User attribute of a trial that a request began: the request, and which of its configurations."""
CLONED_FROM = "cloned_from"
"""User attribute of a trial that is a changed copy: the number of the original."""
MAX_MINUTES = 10.0**7
Verb = Literal["pause", "resume", "stop", "clone", "add", "slots", "budget", "finish"]
State = Literal["waiting", "accepted", "refused"]
Number = Annotated[int, Range(low=0, high=10**9)]


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a person asks of a search, and the answer."""

    verb: Verb
    trial: Number | None = None
    """The trial that is paused, resumed, stopped or cloned."""
    changes: dict[str, str] = field(default_factory=dict)
    """clone: the parameters that differ, as texts."""
    configurations: tuple[dict[str, Scalar], ...] = ()
    """add: what is trained; parameters that are left out are as in the baseline."""
    slots: Number | None = None
    """slots: how many trials run at once."""
    minutes: Annotated[float, Range(low=0, high=MAX_MINUTES)] | None = None
    """budget: minutes; None for no limit."""
    adds: bool = False
    """budget: whether the minutes are added to the limit that there is, or counted from now."""
    sent: str = ""
    """UTC, ISO 8601, as the other times."""
    state: State = "waiting"
    number: Number | None = None
    """Counts the answered requests of a study from 1, in the order of their answers."""
    answered: str = ""
    answer: str = ""
    """What happens, or why nothing does."""
    epoch: Number | None = None
    """pause, stop: the last epoch before it takes effect."""
    trials: tuple[Number, ...] = ()
    """clone, add: the trials that it began."""
    limit: Number | None = None
    """finish: how many trials the search has, in place of --trials."""
    of: Number | None = None
    """finish: what --trials was; a larger one takes its place."""
    key: str = ""
    """Name of the system attribute."""

    @property
    def text(self) -> str:
        """`clone 7 lr=0.1`: the request as it was written."""
        words: list[str] = [self.verb, *([] if self.trial is None else [str(self.trial)])]
        words += [f"{name}={value}" for name, value in self.changes.items()]
        if self.verb == "add":
            words.append(", ".join(" ".join(f"{k}={v}" for k, v in one.items()) for one in self.configurations))
        if self.verb == "slots":
            words.append(str(self.slots))
        if self.verb == "budget":
            words.append("none" if self.minutes is None else f"{'+' * self.adds}{self.minutes:g}m")
        return " ".join(words)

    @property
    def facts(self) -> dict[str, Any]:
        """The request and its answer for a program."""
        names = ("number", "text", "verb", "trial", "trials", "state", "answer", "sent", "answered")
        return {name: getattr(self, name) for name in names}

    @property
    def content(self) -> dict[str, Any]:
        """The request as its system attribute."""
        return {name: value for name, value in asdict(self).items() if name != "key"}


def new_key() -> str:
    """A name for a request, after those of all earlier ones."""
    return f"{PREFIX}{datetime.now(UTC):%Y%m%dT%H%M%S.%f}-{secrets.token_hex(4)}"


def send(storage: BaseStorage, study_id: int, request: Request) -> Request:
    """Store a request in one transaction, and return it with its key.

    Raises:
        ValueError: the study cannot be written.
    """
    sent = replace(request, key=new_key(), sent=now())
    fault_point("request", 0)
    with reading(getattr(storage, "where", "the study")):
        storage.set_study_system_attr(study_id, sent.key, sent.content)
    fault_point("request", 1)
    return sent


def requests_in(attrs: Mapping[str, Any]) -> list[Request]:
    """The requests among the system attributes of a study: the answered ones, then those that wait.

    One that this release cannot read, such as a verb of a newer one, is left out.
    """
    found = []
    for key, content in attrs.items():
        if not key.startswith(PREFIX) or not isinstance(content, dict):
            continue
        try:
            found.append(replace(build(Request, content), key=key))
        except (ValueError, TypeError):
            continue
    return sorted(found, key=lambda one: (one.number is None, one.number or 0, one.key))


def requests_of(study: optuna.Study) -> list[Request]:
    """The requests in a study that was opened for reading."""
    return requests_in(study._storage.get_study_system_attrs(study._study_id))


def copy_requests(attrs: Mapping[str, Any], study: optuna.Study) -> None:
    """Store the requests among the system attributes of a study in another study."""
    for key in (key for key in attrs if key.startswith(PREFIX)):
        study._storage.set_study_system_attr(study._study_id, key, attrs[key])


def num_asked_for(run: Run, requests: Iterable[Request]) -> int:
    """Number of trials that the search is to train: --trials, or fewer since a `finish`."""
    return next((min(run.trials, one.limit or 0) for one in requests if ends(run, one)), run.trials)


def ends(run: Run, request: Request) -> bool:
    """Whether the request was an accepted `finish`, and --trials is not larger since."""
    accepted = request.verb == "finish" and request.state == "accepted" and request.limit is not None
    return accepted and run.trials <= (request.of or 0)


def now() -> str:
    """UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")
