"""Official files: downloaded over https to a temporary name, checked against a pinned sha256, renamed into place."""

import fcntl
import hashlib
import logging
import os
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

_CONNECT_SECONDS = 12
"""Time for the look-up of a name and all its addresses; that a machine is offline must be reported within 15 s."""
_REFUSED: ContextVar[bool] = ContextVar("downloads are refused", default=False)
_logger = logging.getLogger(__name__)


@contextmanager
def downloads_refused() -> Iterator[None]:
    """Inside, nothing is downloaded, and a missing file is an error."""
    token = _REFUSED.set(True)
    try:
        yield
    finally:
        _REFUSED.reset(token)


def downloads_allowed() -> bool:
    """Whether a file that is missing may be downloaded."""
    return not _REFUSED.get()


@dataclass(frozen=True, kw_only=True)
class OfficialFile:
    """A file whose every byte is known."""

    name: str
    size: int
    """Bytes."""
    sha256: str
    url: str = ""
    """Where it is downloaded from; empty for a file that comes out of another one."""


def read_verified(path: Path, file: OfficialFile) -> bytes:
    """The content of the file.

    Raises:
        ValueError: it is not, byte for byte, the official one.
    """
    size = path.stat().st_size
    data = path.read_bytes() if size == file.size else b""
    _check(path, file, size=size, sha256=hashlib.sha256(data).hexdigest())
    return data


def check_size(path: Path, file: OfficialFile) -> None:
    """Raise ValueError unless the file has the size of the official one; it is not opened for that."""
    size = path.stat().st_size
    if size != file.size:
        _check(path, file, size=size, sha256="")


def fetch(file: OfficialFile, folder: Path) -> Path:
    """The path of the file in the folder; it is downloaded and verified if it is missing.

    Processes that need the same folder wait for each other, and one that is killed leaves no incomplete file.

    Raises:
        FileNotFoundError: it is missing and cannot be downloaded.
        ValueError: the downloaded file is not the official one, and is removed.
    """
    path = folder / file.name
    if path.exists():
        return path
    try:
        if not downloads_allowed():
            raise OSError(0, "this command does not download data")
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder):
            if not path.exists():
                _download(file, path)
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise FileNotFoundError(
            f"{file.name} ({file.size:,} bytes) is missing and could not be downloaded ({reason}); "
            f"put it into {folder} by hand, from {file.url}"
        ) from error
    return path


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock the folder against other processes; the lock of a process that dies is released."""
    with (folder / ".rungwise.lock").open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _logger.info("waiting for another process that is preparing %s", folder)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _download(file: OfficialFile, path: Path) -> None:
    _logger.info("downloading %s (%.0f MB)", file.url, file.size / 1e6)
    temporary = path.with_name(f".{path.name}.part")  # a killed process leaves one, the next writes over it
    digest, size = hashlib.sha256(), 0
    try:
        with _open(file.url) as response, temporary.open("wb") as target:
            while size <= file.size and (block := response.read(1 << 20)):
                target.write(block)
                digest.update(block)
                size += len(block)
        _check(temporary, file, size=size, sha256=digest.hexdigest())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _open(url: str) -> Any:
    """Open the address within `_CONNECT_SECONDS`; urllib's own time-out leaves out the look-up of the name."""
    _require_https(url)
    opener = urllib.request.build_opener(_HttpsRedirects)
    answer: dict[str, Any] = {}

    def connect() -> None:
        try:
            answer["response"] = opener.open(url, timeout=_CONNECT_SECONDS)
        except Exception as error:  # handed to the caller below
            answer["error"] = error

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(_CONNECT_SECONDS + 1)  # a connection that times out by itself comes first
    if "response" not in answer:
        raise answer.get("error") or TimeoutError(f"no answer in {_CONNECT_SECONDS} s")
    return answer["response"]


class _HttpsRedirects(urllib.request.HTTPRedirectHandler):
    """Refuses redirects from https to other protocols."""

    def redirect_request(self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, newurl: str) -> Any:  # noqa: PLR0917
        if not newurl.startswith("https://"):
            fp.close()
        _require_https(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _require_https(url: str) -> None:
    if not url.startswith("https://"):
        raise ValueError(f"downloads must use https, got {url}")


def _check(path: Path, file: OfficialFile, *, size: int, sha256: str) -> None:
    if size != file.size:
        problem = f"it has {size:,} bytes, the official file {file.size:,}"
    elif sha256 != file.sha256:
        problem = f"sha256 {sha256[:12]}..., the official file {file.sha256[:12]}..."
    else:
        return
    with path.open("rb") as handle:
        page = "; it is a web page" if handle.read(64).lstrip().startswith(b"<") else ""
    name = path.with_name(file.name)
    raise ValueError(f"{name} is damaged or not the official file: {problem}{page}; delete it to download it again")
