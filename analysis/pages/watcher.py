"""Follows a run: publishes a new page when the study has changed, and says when the search begins, stops or ends.

Building the page costs at most a twentieth of a core: after each page it waits for nineteen times what that one cost.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from analysis.pages.live import (
    FINISHED,
    INTERRUPTED,
    REPORT,
    SEARCHING,
    Progress,
    broken_page,
    live_page,
    num_ended,
    num_started,
    reading_page,
    waiting_page,
)  # fmt: skip
from analysis.pages.page import Poll
from analysis.pages.server import PageServer
from analysis.studies.tradeoff import tradeoff
from analysis.studies.trials import Trials, read_trials
from search.storage.folder import find_run
from search.storage.lock import is_held
from search.storage.requests import num_asked_for
from search.storage.run import Run, read_run
from search.storage.study import open_study

SHARE = 0.05
"""Of a core, that building the page may cost."""
POLL_SECONDS = 2.0
"""Between two questions of the page."""
SERVER_SECONDS = 10.0
"""Between two looks at a study on a database server, which no file tells about."""
ELSEWHERE_SECONDS = 60.0
"""A search on another host has ended if its study has not changed for so long."""


class Watcher:
    """Looks at a run, and publishes its page when it has changed; until the first look, a page that waits for it."""

    def __init__(
        self,
        name: str,
        runs_dir: Path,
        *,
        server: PageServer,
        say: Callable[[str], Any],
        now: Callable[[], float] = time.monotonic,
        spent: Callable[[], float] = time.process_time,
        report: Callable[[Path], Path],
    ) -> None:
        """
        Args:
            name: of the run, or its folder.
            say: is called with a line whenever the search begins, stops or ends.
            now: the clock.
            spent: the computing of this process so far.
            report: builds the full report of a run, and returns the path of its page.
        """
        self._name, self._runs_dir, self._server, self._say = name, runs_dir, server, say
        self._now, self._spent, self._build = now, spent, report
        self._began = time.time_ns()
        self._count = 0
        self._not_before = 0.0
        self._seen: tuple[Any, ...] = ()
        self._shown: tuple[Any, ...] = ()
        self._activity = ""
        self._due: tuple[Path, tuple[Any, ...]] | None = None
        """A finished run whose full report is still to be built, and its state."""
        self._reported: tuple[Any, ...] = ()
        """The state that was reported last, or could not be."""
        self._has_report = False
        self._publish(reading_page(name, poll=self._poll()))

    def step(self) -> None:
        """Publish a newer page if there is one, and it is not too early."""
        if self._due is not None:
            self._report(*self._due)
        now = self._now()
        if now < self._not_before:
            return
        place = self._place()
        seen = ("nowhere",) if place is None else _traces(place, now)
        if seen == self._seen:
            return
        self._seen, before = seen, self._spent()
        if place is None:
            self._wait()
        else:
            self._follow(place)
        cost = max(0.0, self._spent() - before)
        self._not_before = self._now() + cost * (1 / SHARE - 1)

    def _place(self) -> Path | None:
        try:
            return find_run(self._name, self._runs_dir)
        except ValueError:
            return None

    def _wait(self) -> None:
        self._shown = ()
        self._publish(waiting_page(self._name, str(self._runs_dir), poll=self._poll()))
        self._now_is("waiting", f"there is no run {self._name!r} in {str(self._runs_dir)!r} yet; waiting for it")

    def _follow(self, place: Path) -> None:
        searched = _is_searched(place)  # before the study is read: a search that ends in between has written its end
        try:
            run = read_run(place)
            study = open_study(place)
            trials = read_trials(study, run)
            front = None if run.second is None else tradeoff(run, study.get_trials(deepcopy=False))
        except (ValueError, OSError) as error:
            self._shown = ()
            self._publish(broken_page(self._name, " ".join(str(error).split()), poll=self._poll()))
            self._now_is("broken", f"the run cannot be read: {error}")
            return
        progress = _progress(run, trials, searched=searched, has_report=self._has_report)
        shown = (progress.activity, *_summed(trials))
        if shown != self._shown:
            self._shown = shown
            self._publish(live_page(place, run, trials, progress, poll=self._poll(), front=front))
        self._now_is(progress.activity, progress.line)
        if progress.activity == FINISHED and shown != self._reported:
            self._due = place, shown

    def _report(self, place: Path, shown: tuple[Any, ...]) -> None:
        """Build the full report, or take the one that is there and is not older than the study."""
        self._reported, self._due = shown, None
        self._shown, self._seen, self._not_before = (), (), 0.0  # the page is to name the report
        page = place / "report" / "index.html"
        try:
            if not _is_newer(page, place):
                self._say("building the full report")
                page = self._build(place)
            self._server.publish(REPORT, page.read_text(encoding="utf-8"))
            self._has_report = True
            self._say(f"the full report: {self._server.url.rstrip('/')}{REPORT}, also in {page}")
        except (ValueError, OSError) as error:
            self._say(f"the full report cannot be built: {error}")

    def _now_is(self, activity: str, line: str) -> None:
        if activity != self._activity:
            self._activity = activity
            self._say(line)

    def _poll(self) -> Poll:
        self._count += 1
        return Poll(version=f"{self._began}-{self._count}", seconds=POLL_SECONDS)

    def _publish(self, page: str) -> None:
        self._server.publish("/", page)
        self._server.publish_state("/state", {"version": f"{self._began}-{self._count}"})


def _traces(place: Path, now: float) -> tuple[Any, ...]:
    """What changes whenever there may be something new: a search that begins or ends, and files that are written."""
    held = is_held(place)
    files = [_stamp(place / name) for name in ("study.db", "study.db-wal", "run.json")]
    elsewhere = int(now // SERVER_SECONDS) if files[0] is None or held is None else 0
    return (str(place), held, elsewhere, *files)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _progress(run: Run, trials: Trials, *, searched: bool, has_report: bool) -> Progress:
    ended, asked = num_ended(trials), num_asked_for(run, trials.requests)
    activity = SEARCHING if searched else FINISHED if ended >= asked else INTERRUPTED
    return Progress(
        activity=activity,
        started=num_started(trials),
        ended=ended,
        asked=asked,
        as_of=time.strftime("%H:%M:%S"),
        reported=has_report and activity == FINISHED,
    )


def _is_searched(place: Path) -> bool:
    """Whether a search is under way; one on another host writes to the study every ten seconds."""
    held = is_held(place)
    if held is not None:
        return held
    stamps = [stamp for name in ("study.db", "study.db-wal") if (stamp := _stamp(place / name)) is not None]
    return not stamps or time.time() - max(stamp[2] for stamp in stamps) / 1e9 < ELSEWHERE_SECONDS


def _summed(trials: Trials) -> tuple[Any, ...]:
    """What changes with every epoch, every trial that ends and every request."""
    counts = trials.trials["state"].value_counts().sort_index()
    return len(trials.trials), len(trials.requests), int(trials.trials["epochs"].sum()), tuple(counts.items())


def _is_newer(page: Path, place: Path) -> bool:
    """Whether the page was written after the last change of the study."""
    written, studied = _stamp(page), _stamp(place / "study.db")
    return written is not None and studied is not None and written[2] > studied[2]
