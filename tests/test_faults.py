"""One search in which every kind of trial misbehaves, watched while it runs: processes, sockets, folders, secrets."""

import ipaddress
import os
import re
import stat
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from analysis import report
from search.process.signals import signals_restored
from search.storage.study import open_study
from tests.searching import Running, assert_sound, command, patience, search, trials_of

pytestmark = pytest.mark.slow

CANARY = "canary-5a1f"
SECRETS = {"AWS_SECRET_ACCESS_KEY": CANARY, "WANDB_API_KEY": CANARY, "RAY_MY_PASSWORD": CANARY, "SOMETHING": CANARY}
FAULTS = {
    "epoch@1:2:loop": "no progress for 15 s in epoch 2 (--trial-timeout)",
    "epoch@2:1:stop": "no progress for 15 s in epoch 1 (--trial-timeout)",
    "begin@3:3:raise": "RuntimeError: an injected fault",
    "epoch@4:2:raise": "RuntimeError: an injected fault",
    "epoch@5:3:raise": "RuntimeError: an injected fault",
    "epoch@6:1:exit": "SystemExit: 3",
    "epoch@7:2:quit": None,
    "epoch@8:1:crash": None,
    "epoch@9:2:shout": "RuntimeError: " + 486 * "x",
    "epoch@10:2:memory": "MemoryError",
}
"""Fault -> the cause that its trial fails with; None for a lost worker, which is replaced."""


@dataclass(kw_only=True)
class Observed:
    """What was seen of the search while it ran, and what it left."""

    run_dir: Path
    listening: set[str] = field(default_factory=set)
    programs: list[str] = field(default_factory=list)
    """Command lines."""
    folders: dict[str, int] = field(default_factory=dict)
    """Ray's folder -> mode."""
    addresses: set[str] = field(default_factory=set)
    environments: dict[str, dict[str, str]] = field(default_factory=dict)
    """Name of a process other than the driver -> its environment."""
    foreign: subprocess.CompletedProcess[str] | None = None
    second: subprocess.CompletedProcess[str] | None = None
    reads: int = 0
    said: str = ""
    code: int = 0
    left: list[psutil.Process] = field(default_factory=list)


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Observed:
    runs = tmp_path_factory.mktemp("misbehaving")
    words = ("--name", "x", "--trials", "12", "--max-epochs", "3", "--pruner", "none", "--train-size", "300")
    with planted_cluster():
        running = Running(
            command(runs, *words, "--concurrent", "2", "--trial-timeout", "15"),
            RUNGWISE_FAULT=",".join(FAULTS),
            RUNGWISE_FAULT_ONCE=str(runs / "struck"),
            **SECRETS,
        )
        running.until("trial 0 finished")
        seen = Observed(run_dir=runs / "x")
        observe(running, seen)
        seen.code = running.end()
    seen.said = running.said
    running.assert_gone()
    return seen


def planted_cluster() -> "Planted":
    return Planted(Path("/tmp/ray/ray_current_cluster"))


class Planted:
    """The address of a cluster that an attacker would like us to join."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._before = path.read_bytes() if path.exists() else None

    def __enter__(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text("203.0.113.1:6379")

    def __exit__(self, *_: object) -> None:
        if self._before is None:
            self._path.unlink(missing_ok=True)
        else:
            self._path.write_bytes(self._before)


def observe(running: Running, seen: Observed) -> None:
    for process in running.family():
        seen.programs.append(" ".join(process.cmdline()))
        for connection in process.net_connections(kind="inet"):
            if connection.status == psutil.CONN_LISTEN:
                seen.listening.add(connection.laddr.ip)
        if process.pid != running.process.pid:
            seen.environments[f"{process.name()} {process.pid}"] = process.environ()
        if process.name() == "gcs_server":
            words = process.cmdline()
            (log_dir,) = (w.split("=", 1)[1] for w in words if w.startswith("--log_dir"))
            folder = Path(*Path(log_dir).parts[:3])  # /tmp/rungwise-...
            seen.folders[str(folder)] = stat.S_IMODE(folder.stat().st_mode)
            seen.addresses |= {
                f"127.0.0.1:{c.laddr.port}" for c in process.net_connections(kind="tcp") if c.status == "LISTEN"
            }
    seen.foreign = attach_without_token(seen.addresses, seen.run_dir.parent)
    seen.second = search(seen.run_dir.parent, "--name", "x", "--resume")
    before = {p.name: p.stat().st_ino for p in seen.run_dir.iterdir()}
    for _ in range(50):
        open_study(seen.run_dir)
        seen.reads += 1
    assert before.items() <= {p.name: p.stat().st_ino for p in seen.run_dir.iterdir()}.items()


def attach_without_token(addresses: set[str], home: Path) -> subprocess.CompletedProcess[str]:
    (address,) = addresses
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_AUTH")}
    ray = Path(sys.executable).with_name("ray")
    return subprocess.run(
        [str(ray), "status", "--address", address],
        env={**environment, "HOME": str(home), "RAY_AUTH_MODE": "disabled", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"},
        capture_output=True,
        text=True,
        timeout=patience(120),
        check=False,
    )


def test_the_search_goes_on_and_says_of_each_trial_why_it_failed(observed: Observed):
    assert observed.code == 3, observed.said
    trials = trials_of(observed.run_dir)
    for fault, cause in FAULTS.items():
        trial = trials[int(re.findall(r"@(\d+)", fault)[0])]
        assert trial.state.name == ("COMPLETE" if cause is None else "FAIL"), fault
        assert trial.user_attrs.get("failure") == cause, fault
    assert [trials[i].state.name for i in (0, 11)] == ["COMPLETE", "COMPLETE"]
    assert_sound(observed.run_dir)
    assert "Traceback" not in observed.said
    assert max(map(len, observed.said.splitlines())) < 400 + len(str(observed.run_dir))


def test_failures_have_a_kind_and_lost_workers_alone_are_replaced(observed: Observed):
    kinds = [t.user_attrs.get("failure_kind") for t in trials_of(observed.run_dir)]
    assert kinds[1:11] == ["timeout"] * 2 + ["invalid"] + ["error"] * 3 + [None] * 2 + ["error", "out of memory"]
    assert observed.said.count("lost its worker (killed, or crashed); another worker continues after epoch") == 2
    assert "trial 7 lost its worker (killed, or crashed); another worker continues after epoch 1" in observed.said


def test_the_log_of_each_trial_that_failed_says_where_and_the_console_names_it(observed: Observed):
    logs = {path.stem: path.read_text() for path in (observed.run_dir / "logs").iterdir()}
    assert sorted(logs) == [f"trial-{number:05d}" for number in range(1, 11)]
    for number in (3, 4, 5, 6, 9, 10):
        assert "Traceback (most recent call last):" in logs[f"trial-{number:05d}"]
        assert f": {observed.run_dir}/logs/trial-{number:05d}.log" in observed.said
    for number in (1, 2):
        assert "no progress for 15 s in epoch" in logs[f"trial-{number:05d}"]
        assert f"; log: {observed.run_dir}/logs/trial-{number:05d}.log" in observed.said
    assert "Fatal Python error: Segmentation fault" in logs["trial-00008"]  # from C, after which the worker was gone
    for number in (7, 8):
        assert (
            "lost its worker (killed, or crashed); another worker continues after epoch" in logs[f"trial-{number:05d}"]
        )
    assert len(logs["trial-00009"]) < 300_000


def test_everything_listens_on_the_loopback_interface_alone(observed: Observed):
    assert observed.listening
    for ip in observed.listening:
        address = ipaddress.ip_address(ip)
        mapped = getattr(address, "ipv4_mapped", None)
        assert (mapped or address).is_loopback, ip
    assert [program for program in observed.programs if "dashboard/dashboard.py" in program] == []


def test_who_has_no_token_is_turned_away(observed: Observed):
    assert observed.foreign is not None
    assert observed.foreign.returncode != 0
    assert "InvalidAuthToken" in observed.foreign.stdout + observed.foreign.stderr


def test_ray_s_files_are_in_a_private_folder_that_is_gone_afterwards(observed: Observed):
    assert list(observed.folders.values()) == [0o700]
    assert not [folder for folder in observed.folders if Path(folder).exists()]


def test_a_planted_cluster_is_not_joined(observed: Observed):
    assert len(observed.addresses) == 1  # the GCS is our own child; nothing was ever sent to 203.0.113.1
    assert "203.0.113.1" not in observed.said


def test_no_secret_of_the_environment_reaches_workers_files_or_output(observed: Observed):
    assert observed.environments
    for name, environment in observed.environments.items():
        assert [key for key, value in environment.items() if value == CANARY] == [], name
        assert "PATH" in environment
    assert CANARY not in observed.said
    for path in observed.run_dir.rglob("*"):
        assert path.is_dir() or CANARY.encode() not in path.read_bytes(), path


def test_a_second_start_is_refused_with_the_owner_and_readers_are_not_in_the_way(observed: Observed):
    assert observed.second is not None
    assert observed.second.returncode == 2
    assert re.search(r"run 'x' is in use by pid \d+ on \S+ since \d{4}-", observed.second.stderr)
    assert observed.reads == 50


def test_a_report_is_built_from_what_is_left(observed: Observed, monkeypatch: pytest.MonkeyPatch):
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    with signals_restored():
        assert report.main([str(observed.run_dir)]) == 0
    assert CANARY not in (observed.run_dir / "report" / "index.html").read_text()
