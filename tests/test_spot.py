"""Notices of AWS reach Ray, from a replacement for the metadata that AWS gives each machine."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest
import yaml
from ray.util import get_node_ip_address

from search.runtime import spot
from tests.hosts import wait_until
from tests.nodes import SMALL, free_port, private_folder, started, variables
from tests.searching import ROOT, patience

ACTION = json.dumps({"action": "terminate", "time": "2026-01-31T12:00:00Z"})
SAID = "AWS will terminate this machine at 2026-01-31T12:00:00Z"
ENDS_WELL = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(7))
print("started", flush=True)
time.sleep(60)
"""


class Metadata(ThreadingHTTPServer):
    """Answers as the metadata service does: with a token only, and 404 until there is a notice."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.notice = ""

    @property
    def address(self) -> str:
        """For the variable `spot.ADDRESS`."""
        return f"http://127.0.0.1:{self.server_port}/"


class _Answers(BaseHTTPRequestHandler):
    server: Metadata

    def do_PUT(self) -> None:
        assert self.path == "/latest/api/token"
        self._answer(200 if self.headers["X-aws-ec2-metadata-token-ttl-seconds"] else 400, "the token")

    def do_GET(self) -> None:
        if self.headers["X-aws-ec2-metadata-token"] != "the token":
            return self._answer(401, "")
        known = self.path == "/latest/meta-data/spot/instance-action" and self.server.notice
        return self._answer(200 if known else 404, self.server.notice)

    def _answer(self, code: int, text: str) -> None:
        self.send_response(code)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""


@pytest.fixture
def metadata(monkeypatch: pytest.MonkeyPatch) -> Iterator[Metadata]:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # metadata are never asked through a proxy
    with Metadata() as server:
        monkeypatch.setenv(spot.ADDRESS, server.address)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()


@contextmanager
def watched(folder: Path, code: str) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A command under `search.runtime.spot`, once it has begun, and what it has printed."""
    program = f"from search.runtime import spot; spot._PAUSE_SECONDS = 0.1; raise SystemExit(spot.main({_words(code)}))"
    output = folder / "said"
    with output.open("w") as said:
        process = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=said, stderr=said)
    try:
        wait_until(lambda: "started" in output.read_text(), "the command", seconds=patience(20), every=0.05)
        yield process, output
    finally:
        process.kill()
        process.wait()


def _words(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_a_machine_without_a_notice_runs_its_command_and_ends_as_it(metadata: Metadata):
    assert spot.notice() == ""
    assert spot.main(_words("raise SystemExit(5)")) == 5


def test_a_notice_ends_the_command_by_sigterm(metadata: Metadata, tmp_path: Path):
    with watched(tmp_path, ENDS_WELL) as (process, output):
        metadata.notice = ACTION
        assert process.wait(patience(20)) == 7
        assert output.read_text().splitlines()[1:] == [f"warning Ray: {SAID}"]


def test_sigterm_is_passed_on(metadata: Metadata, tmp_path: Path):
    with watched(tmp_path, ENDS_WELL) as (process, output):
        process.send_signal(signal.SIGTERM)
        assert process.wait(patience(20)) == 7
        assert "warning" not in output.read_text()


def test_a_machine_that_has_its_notice_starts_nothing(
    metadata: Metadata, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    metadata.notice = ACTION
    assert spot.main(_words(f"open({str(tmp_path / 'made')!r}, 'w')")) == 0
    assert capsys.readouterr().out == f"not started: {SAID}\n"
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("text", ["terminate", "[]", '{"action": "stop"}'])
def test_a_notice_that_cannot_be_read_is_still_a_notice(metadata: Metadata, text: str):
    metadata.notice = text
    assert spot.notice().startswith("AWS will take this machine back")


def test_a_machine_that_has_no_metadata_runs_its_command_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv(spot.ADDRESS, f"http://127.0.0.1:{free_port()}")
    code = "import time; print('started', flush=True); time.sleep(0.8); raise SystemExit(3)"
    with watched(tmp_path, code) as (process, output):
        assert process.wait(patience(20)) == 3
        assert output.read_text().count("cannot be read") == 1


@pytest.mark.cluster
@pytest.mark.slow
def test_the_command_of_the_workers_drains_their_node_when_aws_takes_it_back(metadata: Metadata):
    (command,) = (
        line
        for line in yaml.safe_load((ROOT / "cluster.yaml").read_text())["worker_start_ray_commands"]
        if "ray start" in line
    )
    host, port = get_node_ip_address(), free_port()
    with private_folder() as folder:
        (folder / ".rungwise-token").write_text((folder / "token").read_text())
        (folder / ".rungwise-token").chmod(0o600)
        (folder / "rungwise").symlink_to(ROOT)
        command = command.replace(":6379 --block", f":{port} --num-cpus=1 --temp-dir={folder}/w {SMALL}")
        head = f"ray start --head --node-ip-address={host} --port={port} --num-cpus=0 --temp-dir={folder}/h {SMALL}"
        with started(head.split(), folder, "head", RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S="0"):
            environment = variables(folder) | {"RAY_HEAD_IP": host}
            subprocess.run(["bash", "-c", f"true && ({command})"], env=environment, check=True, timeout=patience(20))
            log = folder / "ray-node.log"
            wait_until(lambda: "Ray runtime started" in log.read_text(), "the node", seconds=patience(60), every=0.2)
            (raylet,) = (one for one in psutil.process_iter() if _is_raylet(one, f"{folder}/w"))
            metadata.notice = ACTION
            raylet.wait(patience(60))  # at once, since nothing is left on it; the limit is 100 seconds
            wait_until(lambda: f"warning Ray: {SAID}" in log.read_text(), "the warning", seconds=1)
            assert "did not finish draining" not in log.read_text()


def _is_raylet(process: psutil.Process, folder: str) -> bool:
    with suppress(psutil.Error):
        return "raylet" in process.name() and any(folder in word for word in process.cmdline())
    return False
