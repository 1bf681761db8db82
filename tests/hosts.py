"""Hosts on this machine, made of Linux namespaces: each has its own network, processes, temporary files and SSH server.

They hang on one bridge in a namespace of its own, so that no packet leaves it, and die with the process that made them.
"""

import os
import pwd
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.searching import ROOT

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PROGRAMS = ("ip", "unshare", "nsenter", "setpriv", "mount", "sshd", "ssh", "ssh-keygen", "rsync", "openssl")
HOME = pwd.getpwuid(0).pw_dir
TREE = "/mnt/shared/rungwise"
"""Where every host sees this repository, as if its shared folder held it."""

# What is kept is put aside first, because /tmp and the home are covered and may hold the repository or the interpreter.
_INIT = """
set -e
name=$1 address=$2 folder=$3 shared=$4 home=$5; shift 5
mount -t proc proc /proc
echo "$name" > /proc/sys/kernel/hostname
mount -t tmpfs tmpfs /mnt
mkdir /mnt/shared
mount --bind "$shared" /mnt/shared
number=0
for path in "$@"; do
  number=$((number + 1)); mkdir -p /mnt/kept/$number
  mount --bind "$path" /mnt/kept/$number
  mount -o remount,bind,ro /mnt/kept/$number
done
mount --bind "$folder" "$home"
for place in /tmp /dev/shm /run; do mount -t tmpfs -o mode=1777 tmpfs $place; done
number=0
for path in "$@"; do
  number=$((number + 1)); mkdir -p "$path"
  mount --bind /mnt/kept/$number "$path"
done
mkdir -p /mnt/shared/rungwise
mount --bind /mnt/kept/1 /mnt/shared/rungwise
ip link set lo up
until ip link show eth0 >/dev/null 2>&1; do sleep 0.02; done
ip address add "$address/24" dev eth0
ip link set eth0 up
mkdir -m 0755 /run/sshd
ssh-keygen -q -t ed25519 -N '' -f /run/host_key
$(command -v sshd) -D -e -f /dev/null -h /run/host_key -o ListenAddress="$address" -o PidFile=none -o UsePAM=no \\
  -o PasswordAuthentication=no -o KbdInteractiveAuthentication=no -o PermitRootLogin=prohibit-password &
wait
"""


class NoHostsError(Exception):
    """Why hosts cannot be made here."""


@dataclass(kw_only=True)
class Host:
    """One host; `pid` is its first process."""

    name: str
    address: str
    home: Path
    """Its home as seen from outside."""
    process: "subprocess.Popen[bytes]" = field(repr=False)
    pid: int
    namespace: str
    """Of its processes."""

    def start(self, command: str) -> "subprocess.Popen[str]":
        """Begin a shell command on the host, in its home, with the environment of a new login."""
        environment = {"HOME": HOME, "PATH": f"{TREE}/.venv/bin:{PATH}", "LANG": "C.UTF-8", "USER": "root"}
        inside = ["nsenter", "-t", str(self.pid), "-m", "-u", "-i", "-n", "-p", f"--wdns={HOME}", "bash", "-c", command]
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        return subprocess.Popen(inside, env=environment, text=True, start_new_session=True, **pipes)

    def run(self, command: str, *, timeout: float = 60) -> str:
        """Run a shell command on the host to its end and return what it said.

        Raises:
            AssertionError: it failed; with all that it said.
        """
        process = self.start(command)
        said, _ = process.communicate(timeout=timeout)
        assert process.returncode == 0, f"{self.name}: {command}\n{said}"
        return said

    def processes(self) -> list[str]:
        """Command lines of all that runs on it beside its first process and its SSH server."""
        return [line for pid, line in self._everything() if pid != self.pid and "sshd" not in line.split(" ")[0]]

    def takes_connections(self) -> bool:
        """Whether its SSH server listens: only then it calls itself so."""
        return any(line.startswith("sshd: ") and "[listener]" in line for _, line in self._everything())

    def _everything(self) -> Iterator[tuple[int, str]]:
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if os.readlink(f"/proc/{process.pid}/ns/pid") == self.namespace and process.status() != "zombie":
                    yield process.pid, " ".join(process.cmdline())


@contextmanager
def make_hosts(folder: Path, addresses: Sequence[str]) -> Iterator[list[Host]]:
    """A host for each address, in one network of its own, with one shared folder at /mnt/shared.

    Root on each may enter all others by the key ~/.ssh/rungwise.

    Raises:
        NoHostsError: why that is not possible here.
    """
    _check_possible()
    started: list[subprocess.Popen[bytes]] = []
    try:
        shared = folder / "shared"
        shared.mkdir()
        key = _make_key(folder)
        switch = _make_switch(started)
        hosts = []
        for number, address in enumerate(addresses):
            home = folder / f"host{number}"
            _furnish(home, key)
            hosts.append(_start_host(started, f"host{number}", address, home=home, shared=shared))
            _plug_in(switch, hosts[-1], number)
        for host in hosts:
            wait_until(host.takes_connections, f"the SSH server of {host.name}")
        yield hosts
    finally:
        for process in reversed(started):
            process.kill()
            process.wait()


def _check_possible() -> None:
    if sys.platform != "linux" or os.geteuid() != 0:
        raise NoHostsError("hosts are made of namespaces: that needs Linux and root")
    missing = [program for program in PROGRAMS if shutil.which(program, path=PATH) is None]
    if missing:
        raise NoHostsError(f"{', '.join(missing)} missing (Debian: apt-get install openssh-server rsync iproute2)")
    tried = subprocess.run(
        ["unshare", "--net", "--pid", "--mount", "--uts", "--ipc", "--fork", "ip", "link", "add", "type", "bridge"],
        env={"PATH": PATH},
        capture_output=True,
        check=False,
    )
    if tried.returncode:
        raise NoHostsError(f"namespaces are not allowed here ({tried.stderr.decode().strip()})")


def _make_key(folder: Path) -> Path:
    key = folder / "key"
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True, stdin=subprocess.DEVNULL
    )
    return key


def _furnish(home: Path, key: Path) -> None:
    """A home as a new user gets it, with the key of the cluster."""
    shutil.copytree("/etc/skel", home)
    (home / ".ssh").mkdir(mode=0o700)
    shutil.copy(key, home / ".ssh" / "rungwise")
    shutil.copy(key.with_suffix(".pub"), home / ".ssh" / "authorized_keys")


def _start(started: list["subprocess.Popen[bytes]"], words: Sequence[str]) -> "subprocess.Popen[bytes]":
    """A process that is killed when this one dies, and that knows nothing of this one's environment."""
    process = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", *words],
        env={"PATH": PATH, "HOME": HOME},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    started.append(process)
    return process


def _make_switch(started: list["subprocess.Popen[bytes]"]) -> int:
    """A network namespace with a bridge; returns the process that keeps it."""
    process = _start(started, ["unshare", "--net", "sleep", "infinity"])
    ours = os.readlink("/proc/self/ns/net")
    wait_until(lambda: os.readlink(f"/proc/{process.pid}/ns/net") != ours, "a network namespace")
    _in_network(process.pid, "ip link add bridge type bridge && ip link set bridge up")
    return process.pid


def _start_host(started: list["subprocess.Popen[bytes]"], name: str, address: str, *, home: Path, shared: Path) -> Host:
    namespaces = ["--net", "--pid", "--mount", "--uts", "--ipc", "--fork", "--kill-child"]
    kept = [str(ROOT), *sorted({str(Path(prefix).resolve()) for prefix in (sys.prefix, sys.base_prefix)})]
    process = _start(
        started,
        ["unshare", *namespaces, "bash", "-c", _INIT, "init", name, address, str(home), str(shared), HOME, *kept],
    )
    wait_until(lambda: psutil.Process(process.pid).children(), f"the first process of {name}")
    (first,) = psutil.Process(process.pid).children()
    return Host(
        name=name,
        address=address,
        home=home,
        process=process,
        pid=first.pid,
        namespace=os.readlink(f"/proc/{first.pid}/ns/pid"),
    )


def _plug_in(switch: int, host: Host, number: int) -> None:
    port = f"port{number}"
    _in_network(
        switch,
        f"ip link add {port} type veth peer name eth0 netns {host.pid} && ip link set {port} master bridge up",
    )


def _in_network(pid: int, command: str) -> None:
    subprocess.run(["nsenter", "-t", str(pid), "-n", "sh", "-c", command], env={"PATH": PATH}, check=True)


def wait_until(condition: Callable[[], object], what: str, *, seconds: float = 10, every: float = 0.05) -> None:
    """Return as soon as the condition holds.

    Raises:
        TimeoutError: it did not in time.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:g} s in vain for {what}")
        time.sleep(every)
