"""`rungwise mcp`: what its tools return, and, where the package mcp is installed, a whole search by the protocol."""

import asyncio
import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from rungwise import mcp
from search.storage.lock import RunLock
from tests.own_spaces import WHOLE, write_own
from tests.searching import ROOT


@pytest.fixture
def tools(tmp_path: Path) -> mcp.Tools:
    return mcp.Tools(tmp_path / "runs")


def test_the_help_of_a_command_names_its_options(tools: mcp.Tools) -> None:
    assert "--wait" in tools.help_on("ctl")
    assert "did you mean search?" in tools.help_on("serach")


def test_without_runs_the_list_is_empty(tools: mcp.Tools) -> None:
    assert tools.list_runs() == {"runs": []}


def test_a_mistake_is_answered_in_one_line_and_nothing_starts(tools: mcp.Tools, tmp_path: Path) -> None:
    found = tools.start_search("digits_arch", "a", {"trails": 3})
    assert found["exit_code"] == 2
    assert found["error"] == "there is no option --trails (did you mean --trials?); see rungwise search --help"
    assert not (tmp_path / "runs/a").exists()


def test_a_run_that_is_at_work_is_not_started_again(tools: mcp.Tools, tmp_path: Path) -> None:
    folder = tmp_path / "runs/a"
    folder.mkdir(parents=True)
    with RunLock(folder):
        found = tools.start_search("digits_arch", "a")
    assert found == {"error": "a search of run 'a' is running; see `show_run`, `steer` or `stop_search`"}
    assert not (tmp_path / "runs/.mcp").exists()


def test_a_run_that_is_not_there_is_an_error_of_every_tool(tools: mcp.Tools) -> None:
    for found in (tools.show_run("no"), tools.steer("no", ["finish"]), tools.report("no"), tools.ask("no", "lr")):
        assert "no" in found["error"]
    assert tools.stop_search("no")["error"].startswith("no search of run 'no' was started here")


def test_an_argument_that_a_tool_has_not_is_refused_with_those_that_it_has() -> None:
    assert mcp.unknown_argument("start_search", {"space": "a", "name": "b", "options": {}}) == ""
    assert mcp.unknown_argument("show_run", ["run", "trail"]) == (
        "show_run has no argument 'trail' (did you mean trial?); it has run, trial"
    )
    assert mcp.unknown_argument("start_search", ["space", "trials"]) == (
        "start_search has no argument 'trials'; it has space, name, options; options of the command go into options:"
        ' {"trials": ...}'
    )


@pytest.mark.skipif(find_spec("mcp") is None, reason="needs the package mcp")
def test_the_server_marks_what_failed_as_an_error_and_starts_nothing(tools: mcp.Tools, tmp_path: Path) -> None:
    from mcp import Client  # pyright: ignore[reportMissingImports]

    async def ask() -> list[Any]:
        async with Client(mcp.make_server(tools)) as client:
            given = {"space": "digits_arch", "name": "a", "trials": 4}
            return [
                await client.call_tool("start_search", given),
                await client.call_tool("show_run", {"run": "no"}),
                await client.call_tool("list_runs", {}),
            ]

    refused, unknown, fine = asyncio.run(ask())
    assert [answer.is_error for answer in (refused, unknown, fine)] == [True, True, False]
    assert "start_search has no argument 'trials'" in refused.content[0].text
    assert json.loads(unknown.content[0].text)["error"].startswith("there is no run 'no' in ")
    assert not (tmp_path / "runs/a").exists()


def test_an_unknown_command_has_its_own_message() -> None:
    assert mcp._read("", "note\nerror: there is no command 'x'\n") == {"error": "there is no command 'x'"}
    assert mcp._read("", "") == {"error": "the command ended without an answer"}


def test_without_the_package_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(mcp.importlib.util, "find_spec", lambda name: None)
    assert mcp.main([]) == 2
    assert capsys.readouterr().err == "error: this command needs the package mcp; pip install 'rungwise[mcp]'\n"


async def drive(runs: Path, space: str) -> dict[str, Any]:
    """Start a search, show, steer, stop and resume it, and report; the answers by the name of the tool."""
    from mcp import ClientSession, StdioServerParameters  # pyright: ignore[reportMissingImports]
    from mcp.client.stdio import stdio_client  # pyright: ignore[reportMissingImports]

    words = ["-m", "rungwise.cli", "mcp", "--runs-dir", str(runs)]
    server = StdioServerParameters(command=sys.executable, args=words, cwd=str(ROOT))
    async with stdio_client(server) as streams, ClientSession(*streams) as session:
        await session.initialize()

        async def call(tool: str, **words: Any) -> Any:
            answer: Any = (await session.call_tool(tool, arguments=words)).content[0]
            return json.loads(answer.text)

        found = {"tools": [tool.name for tool in (await session.list_tools()).tools]}
        options = {"trials": 6, "max_epochs": 3, "concurrent": 1}
        found["start"] = await call("start_search", space=space, name="a", options=options)
        found["show"] = await call("show_run", run="a")
        found["steer"] = await call("steer", run="a", request=["slots", "1"])
        found["stop"] = await call("stop_search", run="a")
        found["again"] = await call("start_search", space=space, name="a", options={"resume": True})
        while (await call("show_run", run="a"))["running"]:
            await asyncio.sleep(0.5)
        found["report"] = await call("report", run="a")
        return found


@pytest.mark.slow
@pytest.mark.skipif(find_spec("mcp") is None, reason="needs the package mcp")
def test_a_search_by_the_protocol_is_started_steered_stopped_resumed_and_reported(tmp_path: Path) -> None:
    found = asyncio.run(drive(tmp_path / "runs", str(write_own(tmp_path, text=WHOLE))))
    assert found["tools"] == [name for name in vars(mcp.Tools) if not name.startswith("_")]
    assert found["start"]["run"] == found["again"]["run"] == "a"
    assert found["show"]["running"]
    assert found["show"]["state"].startswith("running, ")
    assert found["show"]["settings"]["trials"] == 6
    assert found["steer"]["request"]["state"] == "accepted"
    assert found["stop"] == {"exit_code": 130}
    assert found["report"]["error"] is None
    assert found["report"]["summary"]
    assert json.loads(Path(found["again"]["result_at_the_end"]).read_text())["trials"]["asked"] == 6
