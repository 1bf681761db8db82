"""Shows a search in the browser while it runs: python -m analysis.watch NAME.

The page is small (progress, the best, two figures, tables) and is built again when the study has changed, but so rarely
that it costs at most a twentieth of a core, measured by what the last building cost. The full report takes as long as
twenty such pages, so it is built once, when the search has finished.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from search.process.arguments import Flag, OptionalInt, command, parse, report_error, report_fault, run_command
from search.process.signals import raise_stopped
from search.process.text import visible
from search.storage.folder import find_run

if TYPE_CHECKING:
    from analysis.pages.live import Progress
    from analysis.pages.page import Poll
    from analysis.pages.server import PageServer
    from analysis.studies.trials import Trials
    from search.storage.run import Run

PORT = 8471
SHARE = 0.05
"""Of a core, that building the page may cost."""
POLL_SECONDS, LOOK_SECONDS = 2.0, 0.5
"""Between two questions of the page; between two looks at the study."""
SERVER_SECONDS = 10.0
"""Between two looks at a study on a database server, which no file tells about."""
ELSEWHERE_SECONDS = 60.0
"""A search on another host has ended if its study has not changed for so long."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Serve a page on a search to browsers on this machine. It updates itself while the search runs. Ctrl-C ends it."""

    run: Annotated[str, tyro.conf.Positional]
    """Name of the run, or its folder. It may begin later."""
    port: OptionalInt = None
    """Port of the page; 0 for any that is free. Default: 8471, or any if that is in use."""
    runs_dir: Path = Path("runs")
    """Folder that holds all runs."""
    debug: Flag = False
    """Show the traceback of an error."""

    def check(self) -> None:
        """Raise ValueError at the first option that makes no sense."""
        if self.port is not None and not 0 <= self.port <= 65535:
            raise ValueError(f"--port must lie in [0, 65535], got {self.port}")
        if not self.run.strip():
            raise ValueError("watch needs the name of a run, or its folder")


def main(argv: list[str]) -> int:
    """Serves the page until a signal ends it: 128 + n for signal n; 2 for bad input."""
    raise_stopped()
    try:
        options = parse(Options, argv, prog=command("analysis.watch"))
        options.check()
        watch(options)
    except (ValueError, OSError) as error:
        if "--debug" in argv:
            raise
        return report_error(error)
    except Exception as error:
        return report_fault(error, debug="--debug" in argv)
    return 0


def watch(options: Options) -> None:
    """Serve the page; returns never, a signal ends it.

    Raises:
        ValueError: the port is in use.
    """
    import matplotlib as mpl
    import optuna

    mpl.use("Agg")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    from search.process.silence import doing

    with doing(lambda: ""), _server(options.port) as server:
        watcher = Watcher(options.run, options.runs_dir, server=server, say=_say)
        watcher.step()
        print(f"{visible(options.run)}: {server.url}  (for browsers on this machine; Ctrl-C ends)", flush=True)
        while True:
            time.sleep(LOOK_SECONDS)
            watcher.step()


def _server(port: int | None) -> "PageServer":
    from analysis.pages.server import HOST, PageServer

    try:
        return PageServer(PORT if port is None else port)
    except OSError as error:
        if port is None:
            return PageServer(0)
        reason = error.strerror or str(error)
        raise ValueError(f"port {port} of {HOST} cannot be used ({reason}); give another --port, or 0") from None


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {visible(line)}", flush=True)


class Watcher:
    """Looks at a run, and publishes its page when it has changed."""

    def __init__(
        self,
        name: str,
        runs_dir: Path,
        *,
        server: "PageServer",
        say: Callable[[str], Any],
        now: Callable[[], float] = time.monotonic,
        spent: Callable[[], float] = time.process_time,
        report: Callable[[Path], Path] | None = None,
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
        self._now, self._spent, self._build = now, spent, report or _full_report
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
        from analysis.pages.live import waiting_page

        self._publish(waiting_page(self._name, str(self._runs_dir), poll=self._poll()))
        self._now_is("waiting", f"there is no run {self._name!r} in {str(self._runs_dir)!r} yet; waiting for it")

    def _follow(self, place: Path) -> None:
        from analysis.pages.live import FINISHED, broken_page, live_page
        from analysis.studies.trials import read_trials
        from search.storage.run import read_run
        from search.storage.study import open_study

        try:
            run = read_run(place)
            trials = read_trials(open_study(place), run)
        except (ValueError, OSError) as error:
            self._publish(broken_page(self._name, " ".join(str(error).split()), poll=self._poll()))
            self._now_is("broken", f"the run cannot be read: {error}")
            return
        progress = _progress(place, run, trials, has_report=self._has_report)
        shown = (progress.activity, *_summed(trials))
        if shown != self._shown:
            self._shown = shown
            self._publish(live_page(place, run, trials, progress, poll=self._poll()))
        self._now_is(progress.activity, progress.line)
        if progress.activity == FINISHED and shown != self._reported:
            self._due = place, shown

    def _report(self, place: Path, shown: tuple[Any, ...]) -> None:
        """Build the full report, or take the one that is there and is not older than the study."""
        from analysis.pages.live import REPORT

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

    def _poll(self) -> "Poll":
        from analysis.pages.page import Poll

        self._count += 1
        return Poll(version=f"{self._began}-{self._count}", seconds=POLL_SECONDS)

    def _publish(self, page: str) -> None:
        self._server.publish("/", page)
        self._server.publish_state("/state", {"version": f"{self._began}-{self._count}"})


def _full_report(place: Path) -> Path:
    from analysis.report import Options as ReportOptions
    from analysis.report import build

    return build(ReportOptions(run=place))


def _traces(place: Path, now: float) -> tuple[Any, ...]:
    """What changes whenever there may be something new: a search that begins or ends, and files that are written."""
    from search.storage.lock import is_held

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


def _progress(place: Path, run: "Run", trials: "Trials", *, has_report: bool) -> "Progress":
    from analysis.pages.live import FINISHED, INTERRUPTED, SEARCHING, Progress, num_ended

    ended = num_ended(trials)
    activity = SEARCHING if _is_searched(place) else FINISHED if ended >= run.trials else INTERRUPTED
    return Progress(
        activity=activity,
        ended=ended,
        asked=run.trials,
        as_of=time.strftime("%H:%M:%S"),
        reported=has_report and activity == FINISHED,
    )


def _is_searched(place: Path) -> bool:
    """Whether a search is under way; one on another host writes to the study every ten seconds."""
    from search.storage.lock import is_held

    held = is_held(place)
    if held is not None:
        return held
    stamps = [stamp for name in ("study.db", "study.db-wal") if (stamp := _stamp(place / name)) is not None]
    return not stamps or time.time() - max(stamp[2] for stamp in stamps) / 1e9 < ELSEWHERE_SECONDS


def _summed(trials: "Trials") -> tuple[Any, ...]:
    """What changes with every epoch and every trial that ends."""
    counts = trials.trials["state"].value_counts().sort_index()
    return len(trials.trials), int(trials.trials["epochs"].sum()), tuple(counts.items())


def _is_newer(page: Path, place: Path) -> bool:
    """Whether the page was written after the last change of the study."""
    written, studied = _stamp(page), _stamp(place / "study.db")
    return written is not None and studied is not None and written[2] > studied[2]


if __name__ == "__main__":
    run_command(main)
