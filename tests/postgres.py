"""A real PostgreSQL server for the tests: on localhost, in a temporary folder, gone afterwards."""

import glob
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path


class NoServerError(Exception):
    """Why there is no server here."""


class PostgresServer:
    """One server with a database `studies`; `trust` authentication, because only this machine can reach it."""

    def __init__(self) -> None:
        self._bin = find_programs()
        self._user = unprivileged_user()
        self._folder = Path(tempfile.mkdtemp(prefix="rungwise-postgres-"))
        if self._user is not None:
            shutil.chown(self._folder, self._user)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        data = str(self._folder / "data")
        self._run("initdb", "-D", data, "-A", "trust", "-U", "rungwise", "--no-sync", "--no-locale", "-E", "UTF8")
        self.start()
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "rungwise", "studies")

    @property
    def url(self) -> str:
        """For --study-url."""
        return f"postgresql+psycopg://rungwise@127.0.0.1:{self.port}/studies"

    def start(self) -> None:
        options = f"-c listen_addresses=127.0.0.1 -p {self.port} -k {self._folder} -F"
        log = str(self._folder / "log")
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-l", log, "-w", "-o", options, "start")

    def stop(self) -> None:
        """At once, as in a crash: what was committed stays."""
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-m", "immediate", "-w", "stop")

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self._folder)

    def _run(self, program: str, *words: str) -> None:
        done = subprocess.run(
            [str(self._bin / program), *words],
            user=self._user, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "HOME": str(self._folder)}, cwd=self._folder, check=False,
        )  # fmt: skip
        if done.returncode:
            raise NoServerError(f"{program}: {done.stderr.strip()}")


def find_programs() -> Path:
    """The folder of the newest installation's programs."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"), key=lambda p: float(p.split("/")[4]))
    path = found[-1] if found else shutil.which("initdb")
    if path is None:
        raise NoServerError("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    return Path(path).parent


def unprivileged_user() -> str | None:
    """The user that runs the server where this is root, which may not."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    raise NoServerError("root may not run PostgreSQL, and there is no user postgres or nobody")
