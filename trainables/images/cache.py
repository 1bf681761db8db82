"""The cache of an image folder, kept in it: decoded arrays with their checksum, and small facts as JSON."""

import hashlib
import io
import json
import logging
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from trainables.files.download import locked
from trainables.files.whole import write_whole

_VERSION = 2
"""Version of the decoding; another one invalidates all caches."""
_logger = logging.getLogger(__name__)


def key_of(data_dir: Path, files: Iterable[Path], *facts: object) -> str:
    """The key of what is computed from these files and facts; another one once a size or a time of a file changes."""
    digest = hashlib.sha256(f"{_VERSION} {facts}".encode())
    for path in files:
        try:
            status = path.stat()
        except OSError:  # a broken link, which is reported when it is decoded
            continue
        digest.update(os.fsencode(path.relative_to(data_dir)))
        digest.update(f"\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:24]


def array(data_dir: Path, key: str, make: Callable[[], np.ndarray]) -> np.ndarray:
    """The array of this key from the cache; computed with `make` and stored if it is missing or damaged."""
    folder = cache_folder(data_dir)
    with locked(folder):
        path, manifest = folder / f"{key}.npz", folder / f"{key}.json"
        try:
            data = path.read_bytes()
            if hashlib.sha256(data).hexdigest() == _read_facts(manifest).get("sha256"):
                return np.load(io.BytesIO(data), allow_pickle=False)["x"]
            _logger.warning("the cache %s is damaged (sha256); decoding the images again", path)
        except FileNotFoundError:
            pass
        x = make()
        buffer = io.BytesIO()
        np.savez(buffer, x=x)
        write_whole(path, buffer.getvalue())
        _write_facts(manifest, {"sha256": hashlib.sha256(buffer.getvalue()).hexdigest()})
    return x


def facts(data_dir: Path, key: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The plain values of this key from the cache; computed with `make` and stored if missing or damaged."""
    folder = cache_folder(data_dir)
    with locked(folder):
        path = folder / f"{key}.facts.json"
        try:
            stored = _read_facts(path)
        except FileNotFoundError:
            stored = {}
        if stored.get("sha256") == _checksum(stored.get("facts")):
            return stored["facts"]
        made = make()
        _write_facts(path, {"facts": made, "sha256": _checksum(made)})
    return made


def cache_folder(data_dir: Path) -> Path:
    """The cache next to the images, or a private one in the temporary folder if that cannot be written."""
    try:
        folder = data_dir / ".rungwise-cache"
        folder.mkdir(exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        folder = Path(tempfile.gettempdir()) / f"rungwise-cache-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
        if status.st_uid != os.getuid() or status.st_mode & 0o077:  # planted by someone else
            folder = Path(tempfile.mkdtemp(prefix="rungwise-cache-"))
    return folder


def _read_facts(path: Path) -> dict[str, Any]:
    """The content of the file; empty if it is damaged."""
    try:
        found = json.loads(path.read_text())
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _write_facts(path: Path, found: dict[str, Any]) -> None:
    write_whole(path, json.dumps(found).encode())


def _checksum(found: object) -> str:
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()
