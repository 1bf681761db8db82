"""Shows a search in the browser while it runs: python -m analysis.watch NAME.

The page is small (progress, the best, tables, and figures that the browser draws) and is built again when the study has
changed, but so rarely that it costs at most a twentieth of a core. The full report takes a hundred times as long, so it
is built once, when the search has finished.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from search.process.arguments import Flag, OptionalInt, command, parse, report_error, report_fault, run_command
from search.process.signals import raise_stopped
from search.process.text import visible

if TYPE_CHECKING:
    from analysis.pages.server import PageServer

PORT = 8471
LOOK_SECONDS = 0.5
"""Between two looks at the run."""


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
    from analysis.pages.watcher import Watcher
    from search.process.silence import doing

    server = _server(options.port)
    watcher = Watcher(options.run, options.runs_dir, server=server, say=_say, report=_full_report)
    with doing(lambda: ""), server:
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


def _full_report(place: Path) -> Path:
    from analysis.report import Options as ReportOptions
    from analysis.report import build

    return build(ReportOptions(run=place))


if __name__ == "__main__":
    run_command(main)
