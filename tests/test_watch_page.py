"""`rungwise watch`: a page on a search that runs, for browsers on this machine alone."""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
import pytest

from analysis import watch
from analysis.pages.page import Poll, Section, page_html, text
from analysis.pages.server import HOST, PageServer, is_local
from analysis.pages.watcher import SHARE, Watcher
from search.process.signals import signals_restored
from search.storage.lock import RunLock, is_held
from search.storage.run import Run, write_run
from tests.browser import CHROMIUM, Page, browser
from tests.searching import Running, patience, plain
from tests.stored import store
from tests.synthetic import make_run, make_study


@pytest.fixture
def server() -> Iterator[PageServer]:
    with PageServer(0) as one:
        one.publish("/", "<p>página</p>")
        one.publish_state("/state", {"version": "1"})
        yield one


def ask(server: PageServer, path: str = "/", *, method: str = "GET", host: str | None = None) -> Any:
    """The answer, with its content as `content`."""
    port = int(server.url.rsplit(":", 1)[1].strip("/"))
    connection = http.client.HTTPConnection(HOST, port, timeout=10)
    connection.putrequest(method, path, skip_host=host is not None)
    if host:
        connection.putheader("Host", host)
    connection.endheaders()
    answer: Any = connection.getresponse()
    answer.content = answer.read()
    connection.close()
    return answer


def test_the_page_and_its_state_are_served_with_their_types_and_nothing_is_kept(server: PageServer):
    page, state = ask(server), ask(server, "/state")
    assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert page.content.decode() == "<p>página</p>"
    assert state.headers["Content-Type"] == "application/json"
    assert json.loads(state.content) == {"version": "1"}
    for answer in (page, state):
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert "Python" not in answer.headers["Server"]


def test_a_head_has_the_length_and_no_content(server: PageServer):
    answer = ask(server, method="HEAD")
    assert (answer.status, answer.content) == (200, b"")
    assert int(answer.headers["Content-Length"]) == len("<p>página</p>".encode())


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "BREW"])
def test_only_get_and_head_are_allowed(server: PageServer, method: str):
    answer = ask(server, method=method)
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    "path",
    ["/../etc/passwd", "/..%2f..%2fetc/passwd", "//etc/passwd", "/%00", "/study.db", "/state/", "/report/../", "/a"],
)  # fmt: skip
def test_there_is_nothing_but_the_pages_that_were_published(server: PageServer, path: str):
    assert ask(server, path).status == 404


def test_a_query_does_not_hide_the_page(server: PageServer):
    assert ask(server, "/?x=1").status == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8471", "127.0.0.1.evil.example", "127.0.0.1@evil.example", "0.0.0.0", ""]
)
def test_a_page_of_another_site_that_resolves_to_this_machine_gets_nothing(server: PageServer, host: str):
    answer = ask(server, host=host or "")
    assert answer.status == 421
    assert b"p" in answer.content
    assert "página" not in answer.content.decode()


@pytest.mark.parametrize("host", ["127.0.0.1:1", "localhost", "LOCALHOST:9000", "[::1]:8471"])
def test_a_tunnel_may_have_another_port(server: PageServer, host: str):
    assert ask(server, host=host).status == 200


@pytest.mark.parametrize("hosts", [[], ["localhost", "evil.example"], ["localhost/x"], ["localhost:no"], ["[::1"]])
def test_a_host_that_is_none_is_refused(hosts: list[str]):
    assert not is_local(hosts)


def test_the_server_listens_on_the_loopback_address_alone(server: PageServer):
    port = int(server.url.rsplit(":", 1)[1].strip("/"))
    others = {found[4][0] for found in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
    for address in others - {"127.0.0.1"}:
        with socket.socket() as one:
            one.settimeout(2)
            assert one.connect_ex((address, port)) != 0


def test_a_page_that_is_served_asks_its_own_server_and_a_file_asks_nobody():
    known: dict[str, Any] = {"title": "x", "summary": Section(id="a", title="A", blocks=(text("hi"),)), "sections": []}
    still, live = page_html(**known, footer=""), page_html(**known, footer="", poll=Poll(version="7", seconds=2.0))
    policy = r'http-equiv="Content-Security-Policy" content="(default-src \'none\'[^"]*)"'
    policies = [re.findall(policy, page)[0] for page in (still, live)]
    assert ["connect-src 'self'" in one for one in policies] == [False, True]
    assert ["fetch(" in page for page in (still, live)] == [False, True]
    assert 'data-version="7" data-poll="2.0"' in live
    assert "data-version" not in still


def test_until_the_run_is_read_the_page_says_so_and_reloads(tmp_path: Path):
    seen = Seen("x", tmp_path)
    assert "The run is being read" in seen.pages["/"]
    assert f'data-version="{seen.versions[-1]}"' in seen.pages["/"]
    seen.watcher.step()
    assert "There is no run x" in seen.pages["/"]
    assert seen.versions[0] != seen.versions[1], "by which the page knows that it is to reload"


class Seen:
    """A watcher with its own clock, and what it published and said."""

    def __init__(self, name: str, runs_dir: Path, *, report: Callable[[Path], Path] = Path) -> None:
        self.now, self.cost, self.spent = 0.0, 0.0, 0.0
        self.pages: dict[str, str] = {}
        self.versions: list[str] = []
        self.said: list[str] = []
        self.url = "http://127.0.0.1:1/"
        me: Any = self
        self.watcher = Watcher(
            name, runs_dir, server=me, say=self.said.append, now=lambda: self.now, spent=self._spend, report=report
        )

    def _spend(self) -> float:
        self.spent += self.cost
        return self.spent

    def publish(self, path: str, page: str) -> None:
        self.pages[path] = page

    def publish_state(self, path: str, state: dict[str, Any]) -> None:
        self.versions.append(state["version"])

    def step(self, seconds: float = 1.0) -> None:
        self.now += seconds
        self.watcher.step()


def running(folder: Path, *, trials: int = 60, left: int = 2) -> Path:
    """A stored run of a search that has more to do."""
    store(make_study(20, running=left), folder)
    fields = {k: v for k, v in vars(make_run(name=folder.name, trials=trials)).items() if k != "rungs"}
    write_run(folder, Run(**fields))
    return folder


def go_on(folder: Path) -> None:
    """One trial more in the study."""
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{folder}/study.db")
    study.add_trial(make_study(3, seed=9, stop=False).trials[1])


def test_a_run_that_begins_later_is_waited_for_and_then_shown(tmp_path: Path):
    seen = Seen("later", tmp_path)
    seen.step()
    assert "There is no run later in" in seen.pages["/"]
    assert seen.said == [f"there is no run 'later' in '{tmp_path}' yet; waiting for it"]
    seen.step()
    assert len(seen.versions) == 2, "nothing is new"
    running(tmp_path / "later")
    seen.step()
    assert "<title>Watching later</title>" in seen.pages["/"]
    assert len(set(seen.versions)) == 3


def test_the_page_shows_what_a_search_has_so_far(tmp_path: Path):
    seen = Seen("x", tmp_path)
    with RunLock(running(tmp_path / "x")):
        seen.step()
    page = seen.pages["/"]
    assert "The search is running: 20 of 60 trials have started, 18 have ended." in page
    for part in ("Validation accuracy", "Cost so far", 'id="table-best"', 'id="table-unfinished"', "trials-data"):
        assert part in page
    assert "could not be drawn" not in page
    assert not (tmp_path / "x" / "report").exists(), "a run is only read"
    assert sorted(path.name for path in (tmp_path / "x").iterdir()) == ["run.json", "run.lock", "study.db"]


def test_a_search_that_was_killed_and_resumed_is_followed(tmp_path: Path):
    folder, seen = running(tmp_path / "x"), Seen("x", tmp_path)
    with RunLock(folder):
        seen.step()
    seen.step()
    assert "It was interrupted, or has used up its time. Continue it with: " in seen.pages["/"]
    assert f"--resume --name x --runs-dir {tmp_path}" in seen.pages["/"]
    with RunLock(folder):
        go_on(folder)
        seen.step()
        assert "The search is running: 21 of 60 trials have started, 19 have ended." in seen.pages["/"]
    assert [line.partition(":")[0] for line in seen.said] == [
        "The search is running", "The search is not running", "The search is running",
    ]  # fmt: skip


def test_a_study_that_has_not_changed_costs_nothing(tmp_path: Path):
    folder, seen = running(tmp_path / "x"), Seen("x", tmp_path)
    seen.step()
    for _ in range(3):
        seen.step()
    assert len(seen.versions) == 2
    os.utime(folder / "study.db")  # the search renews its lease every ten seconds
    seen.step()
    assert len(seen.versions) == 2, "the study says the same"


def test_building_the_page_costs_at_most_its_share_of_a_core(tmp_path: Path):
    folder, seen = running(tmp_path / "x"), Seen("x", tmp_path)
    seen.cost = 0.8
    seen.step()
    begun = seen.now
    for second in range(100):
        if second % 15 == 0:
            go_on(folder)
        seen.step()
    built = len(seen.versions) - 1  # without the page that waits for the first
    assert built >= 3
    assert built * seen.cost <= SHARE * (seen.now - begun) + seen.cost


def test_a_run_that_cannot_be_read_is_said_on_the_page_and_followed_again(tmp_path: Path):
    folder, seen = running(tmp_path / "x"), Seen("x", tmp_path)
    kept = (folder / "study.db").read_bytes()
    seen.step()
    (folder / "study.db").write_bytes(b"SQLite format 3\x00 and no more")
    seen.step()
    assert "The run cannot be read: " in seen.pages["/"]
    (folder / "study.db").write_bytes(kept)
    seen.step()
    assert "20 of 60 trials" in seen.pages["/"]
    shutil.rmtree(folder)
    seen.step()
    assert "There is no run x" in seen.pages["/"]


def test_a_finished_search_gets_its_full_report_once(tmp_path: Path):
    folder, built = running(tmp_path / "x", trials=20, left=0), list[Path]()

    def build(place: Path) -> Path:
        built.append(place)
        page = folder / "report" / "index.html"
        page.parent.mkdir()
        page.write_text("the report")
        return page

    seen = Seen("x", tmp_path, report=build)
    seen.step()
    assert "The search has finished: 20 of 20 trials have started, 20 have ended." in seen.pages["/"]
    assert built == [], "the small page comes first"
    seen.step()
    assert seen.pages["/report"] == "the report"
    assert '<a href="report">The full report</a>' in seen.pages["/"]
    for _ in range(3):
        seen.step()
    assert built == [folder]
    again = Seen("x", tmp_path, report=build)
    again.step()
    again.step()
    assert again.pages["/report"] == "the report"
    assert built == [folder], "one that is newer than the study is taken as it is"


def test_a_report_that_cannot_be_written_is_said_once(tmp_path: Path):
    running(tmp_path / "x", trials=20, left=0)

    def build(place: Path) -> Path:
        raise ValueError("the report cannot be written to x (Read-only file system)")

    seen = Seen("x", tmp_path, report=build)
    for _ in range(4):
        seen.step()
    assert sum("Read-only file system" in line for line in seen.said) == 1
    assert "The full report</a>" not in seen.pages["/"]


def wait_for(page: Page, text: str) -> None:
    """Wait until the page shows a text; while it is loaded again it answers nothing."""
    deadline = time.monotonic() + patience(30)
    while time.monotonic() < deadline:
        with suppress(AssertionError):
            if text in page.evaluate("document.body.innerText"):
                page.settle()
                return
        time.sleep(0.2)
    raise AssertionError(f"the page never shows {text!r}")


@pytest.mark.browser
def test_a_real_browser_shows_new_results_by_itself_and_keeps_its_place(tmp_path: Path):
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    folder = running(tmp_path / "x")
    with PageServer(0) as server, browser() as page, RunLock(folder):
        watcher = Watcher("x", tmp_path, server=server, say=str, spent=lambda: 0.0, report=Path)
        watcher.step()
        page.size(1280, 700)
        page.open(server.url)
        assert "20 of 60 trials have started" in page.evaluate("document.body.innerText")
        assert page.evaluate("document.querySelectorAll('figure .plots svg').length") == 3
        page.evaluate("document.querySelector('details').open = true; scrollTo(0, 400)")
        go_on(folder)
        watcher.step()
        wait_for(page, "21 of 60 trials have started")
        assert page.evaluate("[scrollY, document.querySelector('details').open]") == [400, True]
        page.evaluate("setInterval(() => dispatchEvent(new PointerEvent('pointermove')), 100)")
        go_on(folder)
        watcher.step()
        wait_for(page, "There are new results.")
        assert "21 of 60" in page.evaluate("document.body.innerText"), "not while somebody uses the page"
        page.evaluate("document.querySelector('.live button').click()")
        wait_for(page, "22 of 60")
        assert {found for found in page.problems if not found.startswith(f"request: {server.url}")} == set()


def test_whether_a_search_holds_a_run_is_known_without_disturbing_it(tmp_path: Path):
    assert is_held(tmp_path) is False
    with RunLock(tmp_path):
        assert is_held(tmp_path) is True
    assert is_held(tmp_path) is False
    lock = tmp_path / "run.lock"
    for stamp, held in (
        ({"pid": 2**22 + 7, "host": socket.gethostname()}, False),
        ({"pid": os.getpid(), "host": socket.gethostname()}, False),
        ({"pid": 1, "host": "elsewhere"}, None),
        ({"pid": "x"}, False),
        ([], False),
    ):
        lock.write_text(json.dumps(stamp))
        assert is_held(tmp_path) is held, stamp


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["x", "--port", "70000"], "--port must lie in [0, 65535], got 70000"),
        (["x", "--port", "-1"], "--port must lie in [0, 65535], got -1"),
        (["x", "--port", "http"], "--port must be a whole number, got 'http'"),
        (["  "], "watch needs the name of a run, or its folder"),
        ([], "is missing"),
    ],
)
def test_a_mistake_is_one_line(words: list[str], said: str, capsys):
    with signals_restored():
        assert watch.main(words) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert said in err


def test_a_port_that_is_in_use_is_one_line(server: PageServer, capsys):
    port = server.url.rsplit(":", 1)[1].strip("/")
    with signals_restored():
        assert watch.main(["x", "--port", port]) == 2
    assert f"port {port} of 127.0.0.1 cannot be used (Address already in use); give another --port, or 0" in (
        capsys.readouterr().err
    )


def test_the_command_prints_its_address_is_silent_while_nothing_happens_and_ends_with_one_line(tmp_path: Path):
    words = [sys.executable, "-m", "analysis.watch", "later", "--port", "0", "--runs-dir", str(tmp_path)]
    command = Running(words)
    command.until(r"later: http://127\.0\.0\.1:\d+/  \(for browsers on this machine; Ctrl-C ends\)")
    command.process.send_signal(signal.SIGINT)
    assert command.end() == 130
    assert command.said.splitlines()[-1] == "stopped by SIGINT"
    assert len(plain(command.said).splitlines()) == 3
