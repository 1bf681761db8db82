"""Stores of checkpoints: a folder, or a path in an object store through pyarrow's file systems.

    store = open_store("s3://bucket/searches/first?region=eu-central-1").child("trial-00005")
    store.write("epoch-0009", {"state.pt": state, "manifest.json": manifest})

An entry is a set of files that is complete or absent.
"""

import errno
import os
import re
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit, urlunsplit

from trainables.files.whole import remove, swap, sweep

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

MANIFEST = "manifest.json"
"""The file that is written last; in an object store an entry without it does not count."""
_TEMPORARY = ".writing-"
_NEXT = re.compile(r"\.(?P<entry>.+)\.next")
"""A complete entry that is about to replace an older one with the same name, by two renames; it already counts."""


class UnreachableError(RuntimeError):
    """The object store cannot be reached, or refuses access."""


class Store(Protocol):
    """Contains entries by name; one process writes to a store at a time."""

    @property
    def name(self) -> str:
        """The last part of its path."""
        ...

    def child(self, name: str) -> "Store":
        """A store inside this one, which need not exist yet."""
        ...

    def entries(self) -> list[str]:
        """Names of the entries, in any order; empty for a store that does not exist."""
        ...

    def write(self, entry: str, files: Mapping[str, bytes | memoryview]) -> None:
        """Write an entry, completely or not at all; it replaces one with the same name.

        Raises:
            OSError: the folder cannot be written; the old entry stays.
            UnreachableError: the object store cannot be written; the old entry stays.
        """
        ...

    def read(self, entry: str, file: str) -> bytes:
        """The content of a file of an entry.

        Raises:
            OSError: there is no such file, or it cannot be read.
            UnreachableError: the object store does not answer; the file may exist.
        """
        ...

    def remove(self, entry: str) -> None:
        """Remove an entry, or the store inside with this name; nothing if there is none."""
        ...


def open_store(where: str | Path, *, anchored: bool = False) -> Store:
    """The store at a path or a URI.

    Args:
        where: path of a folder, or URI such as s3://bucket/searches.
        anchored: for a folder, whether its parent must exist whenever something is written, so that a run folder that
            was removed is not created again.

    Raises:
        ValueError: pyarrow does not know this kind of URI.
        UnreachableError: the object store had to be asked (for the region of a bucket) and did not answer.
    """
    if "://" not in str(where):
        return Folder(Path(where), root=Path(where).parent if anchored else None)
    from pyarrow.fs import FileSystem, LocalFileSystem

    with _reaching(str(where)):
        files, path = FileSystem.from_uri(str(where))
    if not isinstance(files, LocalFileSystem):
        return ObjectStore(files, path)
    return Folder(Path(path), root=Path(path).parent if anchored else None)


def join(uri: str, name: str) -> str:
    """The URI of `name` inside a URI.

    >>> join("s3://bucket/searches?region=eu-central-1", "first")
    's3://bucket/searches/first?region=eu-central-1'
    """
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{name}"))


@dataclass(frozen=True)
class Folder:
    """A folder of a file system: entries are folders in it, written under another name and renamed."""

    path: Path
    root: Path | None = field(default=None, compare=False)
    """The folder that must exist when something is written: that of the run, or of --storage."""

    @property
    def name(self) -> str:
        return self.path.name

    def child(self, name: str) -> "Folder":
        return Folder(self.path / name, root=self.root)

    def entries(self) -> list[str]:
        names = [path.name for path in self.path.iterdir()] if self.path.is_dir() else []
        return list({found["entry"] if (found := _NEXT.fullmatch(name)) else name: None for name in names})

    def write(self, entry: str, files: Mapping[str, bytes | memoryview]) -> None:
        self._make()
        self._end_interrupted()
        sweep(self.path / entry)
        temporary, place = Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=self.path)), self.path / entry
        try:
            for name, data in files.items():
                (temporary / name).write_bytes(data)
            if os.path.lexists(place):  # a damaged entry, or one of a run that went back to an earlier epoch
                os.rename(temporary, self._next(entry))
                swap(self._next(entry), place)
            else:
                os.rename(temporary, place)
        finally:
            remove(temporary)

    def _end_interrupted(self) -> None:
        """Remove what a killed writer left incomplete, and move what it left complete to its place."""
        for unfinished in self.path.glob(f"{_TEMPORARY}*"):
            remove(unfinished)
        for found in map(_NEXT.fullmatch, os.listdir(self.path)):
            if found:
                swap(self.path / found[0], self.path / found["entry"])
                sweep(self.path / found["entry"])

    def _next(self, entry: str) -> Path:
        return self.path / f".{entry}.next"

    def _make(self) -> None:
        """Create the folder, but not the folder of the run if it was removed or moved."""
        if self.root is not None and not self.root.is_dir():
            raise FileNotFoundError(errno.ENOENT, f"{self.root} does not exist any more", str(self.root))
        self.path.mkdir(parents=True, exist_ok=True)

    def read(self, entry: str, file: str) -> bytes:
        found = self._next(entry) if self._next(entry).is_dir() else self.path / entry
        return _read_file(found / file)

    def remove(self, entry: str) -> None:
        for path in (self.path / entry, self._next(entry)):
            remove(path)


@dataclass(frozen=True)
class ObjectStore:
    """A path in a file system of pyarrow, which need not be able to rename a folder: S3 is not."""

    files: "FileSystem"
    path: str

    @property
    def name(self) -> str:
        return PurePosixPath(self.path).name

    def child(self, name: str) -> "ObjectStore":
        return ObjectStore(self.files, f"{self.path.rstrip('/')}/{name}")

    def entries(self) -> list[str]:
        found = (path.split("/") for path in self._list(""))
        return list(dict.fromkeys(parts[0] for parts in found if parts[-1] == MANIFEST and len(parts) > 1))

    def write(self, entry: str, files: Mapping[str, bytes | memoryview]) -> None:
        """Write an entry; a new version goes into a numbered folder inside, then the old version is removed."""
        former = self._list(entry)
        latest = _latest(former)
        inside = "" if latest is None else f"{latest + 1}/"
        with _reaching(self.path):
            for name, data in sorted(files.items(), key=lambda item: item[0] == MANIFEST):
                with self.files.open_output_stream(f"{self.path}/{entry}/{inside}{name}") as stream:
                    stream.write(data)
            for path in set(former) - {f"{inside}{name}" for name in files}:
                self.files.delete_file(f"{self.path}/{entry}/{path}")

    def read(self, entry: str, file: str) -> bytes:
        latest = _latest(self._list(entry))
        inside = f"{entry}/{latest}" if latest else entry
        with _reaching(self.path), self.files.open_input_file(f"{self.path}/{inside}/{file}") as stream:
            return stream.readall()

    def remove(self, entry: str) -> None:
        with _reaching(self.path), suppress(FileNotFoundError):
            self.files.delete_dir(f"{self.path}/{entry}")

    def _list(self, entry: str) -> list[str]:
        """Paths of all files of an entry, or of the store if it is empty, relative to it."""
        from pyarrow.fs import FileSelector, FileType

        folder = f"{self.path.rstrip('/')}/{entry}".rstrip("/")
        with _reaching(self.path):
            found = self.files.get_file_info(FileSelector(folder, recursive=True, allow_not_found=True))
        return [file.path.removeprefix(f"{folder}/") for file in found if file.type == FileType.File]


def _latest(paths: list[str]) -> int | None:
    """Number of the newest complete version of an entry, 0 for the first; None if there is none."""
    ended = [PurePosixPath(path).parent.name for path in paths if PurePosixPath(path).name == MANIFEST]
    return max((int(name or 0) for name in ended if name.isdigit() or not name), default=None)


@contextmanager
def _reaching(where: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        reason = " ".join(str(error).split())[:300]
        raise UnreachableError(f"the storage {where} cannot be used: {reason}") from error


def _read_file(path: Path) -> bytes:
    """The content of a regular file.

    Others who can write to the folder may have put a pipe or a device there, from which reading would never end.
    """
    if not stat.S_ISREG(path.stat().st_mode):  # checked before opening, because opening a device can have effects
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        return file.read()
