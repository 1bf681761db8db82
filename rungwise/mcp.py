"""The command `rungwise mcp` serves Rungwise to an assistant by the Model Context Protocol, on stdin and stdout.

Each tool runs a command with `--json` and returns its object. A search that a tool starts is a process of its own, and
goes on when the assistant leaves.
"""

import importlib.util
import inspect
import json
import signal
import subprocess
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rungwise.process import command_line, environment, flags
from search.process.arguments import DONE, SOME_FAILED, parse, report_error
from search.process.silence import doing
from search.storage.lock import is_held
from trainables.data.names import did_you_mean

Options = dict[str, str | int | float | bool | list[str]]
"""Options of a command by name, with underscores: `{"trials": 40, "fix": ["lr=0.1"]}`."""
INSTRUCTIONS = """Rungwise searches hyperparameters. Look up the options of a command with `help_on`. Try a search with
`forecast`, start it with `start_search`, follow it with `show_run`, and read `report` at its end. `final` opens the
sealed test set, which should happen once for a study: ask the person first."""


@dataclass(frozen=True, kw_only=True)
class Server:
    """Serve the commands to an assistant, by the Model Context Protocol on stdin and stdout."""

    runs_dir: Path = Path("runs")
    """Folder that holds all runs."""


class Tools:
    """What an assistant can call; the docstrings are what it reads."""

    def __init__(self, runs_dir: Path) -> None:
        self._runs_dir = runs_dir
        self._started: dict[str, subprocess.Popen[bytes]] = {}

    def help_on(self, command: str) -> str:
        """The options of a command, such as `search`, `report`, `ask`, `final`, `compare` or `ctl`."""
        return (found := _run(command_line("rungwise.cli", [command, "--help"]))).stdout or found.stderr

    def list_runs(self) -> Any:
        """All runs, with state, trials and best value."""
        return {"runs": self._call("runs", "--runs-dir", self._runs_dir)}

    def show_run(self, run: str, trial: int | None = None) -> Any:
        """The settings, the state and the trials of a run; or one trial, epoch by epoch."""
        return self._call("show", run, "--runs-dir", self._runs_dir, *([] if trial is None else [str(trial)]))

    def forecast(self, space: str, options: Options | None = None) -> Any:
        """The first configurations of a search, and how long it will take. Nothing is stored."""
        return self._call("search", "--space", space, "--dry-run", options=options)

    def start_search(self, space: str, name: str, options: Options | None = None) -> Any:
        """Start a search, or continue one with the option `resume`. It goes on by itself; see `show_run`."""
        if is_held(self._runs_dir / name):
            return {"error": f"a search of run {name!r} is running; see `show_run`, `steer` or `stop_search`"}
        events, kept = self._runs_dir / name / "events.jsonl", self._runs_dir / ".mcp"
        kept.mkdir(parents=True, exist_ok=True)
        result, log = (kept / f"{Path(name).name}.{kind}" for kind in ("json", "log"))
        began = time.time()
        words = ["--name", name, "--runs-dir", self._runs_dir]
        words += [] if (options or {}).get("resume") else ["--space", space]
        with result.open("wb") as out, log.open("wb") as errors:
            process = self._started[name] = subprocess.Popen(
                _words("search", words, options), env=environment(), stdin=subprocess.DEVNULL, stdout=out,
                stderr=errors, start_new_session=True,
            )  # fmt: skip
        while process.poll() is None and not (events.exists() and events.stat().st_mtime >= began):
            time.sleep(0.1)
        if process.poll() is not None:
            return _read(result.read_text(), log.read_text())
        return {"run": name, "folder": str(events.parent), "process": process.pid, "result_at_the_end": str(result)}

    def stop_search(self, run: str) -> Any:
        """Interrupt a search that was started here. Finished epochs are kept; the option `resume` continues it."""
        process = self._started.get(run)
        if process is None or process.poll() is not None:
            return {"error": f"no search of run {run!r} was started here and is running; `steer` others with finish"}
        process.send_signal(signal.SIGINT)
        return {"exit_code": process.wait()}

    def steer(self, run: str, request: list[str]) -> Any:
        """Ask something of a running search: ["stop", "7"], ["clone", "7", "lr=0.01"], ["slots", "2"], ["finish"]."""
        return self._call("ctl", self._runs_dir / run, *request)

    def report(self, run: str) -> Any:
        """Write the report page of a run, and return its summary in sentences."""
        return self._call("report", self._runs_dir / run)

    def ask(self, run: str, question: str, options: Options | None = None) -> Any:
        """Whether a hyperparameter matters: "batch_norm" or "depth=2,3,4". It trains; `dry_run` says how long."""
        return self._call("ask", self._runs_dir / run, "--question", question, options=options)

    def compare(self, runs: list[str]) -> Any:
        """The best of two or more runs against each other, with intervals, and the effects that hold in all."""
        return self._call("compare", *(self._runs_dir / run for run in runs))

    def final(self, run: str, options: Options | None = None) -> Any:
        """Train the best configurations again and score them on the sealed test set. Ask the person before."""
        return self._call("final", self._runs_dir / run, options=options)

    def _call(self, command: str, *words: str | Path, options: Options | None = None) -> Any:
        found = _run(_words(command, words, options))
        return _read(found.stdout, found.stderr)


def _run(words: list[str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        words, env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


def _words(command: str, words: Iterable[str | Path], options: Options | None) -> list[str]:
    return command_line("rungwise.cli", [command, *map(str, words), *flags({**(options or {}), "json": True})])


def _read(answer: str, said: str) -> Any:
    """The object that a command printed; without one the last line that it said."""
    try:
        return json.loads(answer)
    except ValueError:
        lines = said.splitlines() or ["the command ended without an answer"]
        errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        return {"error": (errors or lines)[-1]}


def main(argv: list[str]) -> int:
    """Serve until stdin ends; 0 then, 2 for bad input."""
    try:
        options = parse(Server, argv, prog="rungwise mcp")
        if importlib.util.find_spec("mcp") is None:
            raise ValueError("this command needs the package mcp; pip install 'rungwise[mcp]'")
    except ValueError as error:
        return report_error(error)
    with doing(lambda: ""):  # waiting is not work
        make_server(Tools(options.runs_dir)).run()
    return DONE


def make_server(tools: Tools) -> Any:
    """The server of these tools. It refuses arguments that a tool has not, and marks answers with an error as such."""
    library: Any = importlib.import_module("mcp.server")
    wrong: Any = importlib.import_module("mcp.server.mcpserver.exceptions").ToolError

    class Strict(library.MCPServer):
        async def call_tool(self, name: str, arguments: dict[str, Any], context: Any = None) -> Any:
            if reason := unknown_argument(name, arguments):
                raise wrong(reason)
            result = await super().call_tool(name, arguments, context)
            return result.model_copy(update={"is_error": True}) if _is_error(result.content) else result

    server = Strict("rungwise", instructions=INSTRUCTIONS)
    for name in _names():
        server.add_tool(getattr(tools, name))
    return server


def _names() -> list[str]:
    return [name for name in vars(Tools) if not name.startswith("_")]


def unknown_argument(name: str, arguments: Iterable[str]) -> str:
    """What is wrong with the arguments of a tool, in one line; empty if it has them all."""
    if name not in _names():
        return ""
    known = list(inspect.signature(getattr(Tools, name)).parameters)[1:]
    for argument in arguments:
        if argument not in known:
            hint = did_you_mean(argument, known)
            options = f'; options of the command go into options: {{"{argument}": ...}}' if "options" in known else ""
            return f"{name} has no argument {argument!r}{hint}; it has {', '.join(known) or 'none'}{options}"
    return ""


def _is_error(content: Sequence[Any]) -> bool:
    """Whether an answer says why nothing came of it; a search of which some trials failed has a result."""
    with suppress(ValueError, AttributeError, IndexError):
        found = json.loads(content[0].text)
        return isinstance(found, dict) and bool(found.get("error")) and found.get("exit_code") != SOME_FAILED
    return False
