"""Detects that the folder of a running search, or the file of its study, was removed, moved or replaced."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

FileIdentity = tuple[int, int]
"""Device and inode number of a file; another file with the same name has a different one."""


class StudyLostError(RuntimeError):
    """This search must no longer write to the study; the message says what is kept and what to do."""


def identify(path: Path) -> FileIdentity | None:
    """Device and inode number of this file; None if it does not exist."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


class Presence:
    """Remembers which file, or which folder, was opened."""

    def __init__(self, run_dir: Path, *, study: Path | None, keep: Callable[[Path], None]) -> None:
        """
        Args:
            study: the SQLite file; None for a study on a server.
            keep: writes the open study to a new file.
        """
        self._run_dir, self._study, self._keep = run_dir.absolute(), study and study.absolute(), keep
        self._watched = self._study or self._run_dir
        self._known = identify(self._watched)

    @property
    def known(self) -> FileIdentity | None:
        """Device and inode number of the file, or the folder, that was opened."""
        return self._known

    def check(self) -> None:
        """Raise StudyLostError unless the file is still the one that was opened. Costs microseconds."""
        if identify(self._watched) != self._known:
            raise StudyLostError(self._what_happened())

    def _what_happened(self) -> str:
        if not self._run_dir.is_dir():
            return self._where_the_folder_is()
        if self._study is None:
            return (
                f"the run folder {self._run_dir} was replaced by another while the search ran; the study is safe in its"
                " database; put the original folder back and resume"
            )
        done = "replaced by another file" if self._study.exists() else "removed"
        copy = self._study.with_name(f"study.kept-{os.getpid()}.db")
        try:
            self._keep(copy)
        except Exception as error:  # a file that is gone may cause any error
            return (
                f"{self._study} was {done} while the search ran, and what this search stored is lost ({error}); restore"
                " it from a copy and resume"
            )
        return (
            f"{self._study} was {done} while the search ran; the study of this search is kept in {copy.name}; remove"
            f" study.db, study.db-wal and study.db-shm, rename {copy.name} to study.db, and resume"
        )

    def _where_the_folder_is(self) -> str:
        moved = self._moved_to()
        if moved is None:
            kept = "its checkpoints are lost" if self._study is None else "its study and checkpoints are lost"
            return (
                f"the run folder {self._run_dir} was removed or moved while the search ran: unless you moved it, "
                f"{kept}; put it back or restore it from a copy and resume, or start again with another --name"
            )
        return (
            f"the run folder {self._run_dir} was moved to {moved} while the search ran; everything stored is there; "
            f"resume it from there (--runs-dir), or move it back and resume"
        )

    def _moved_to(self) -> Path | None:
        """The folder in which the open file now is, according to Linux; None if unknown."""
        with suppress(OSError):
            for entry in Path("/proc/self/fd").iterdir():
                with suppress(OSError):
                    if identify(entry) == self._known:
                        target = Path(os.readlink(entry))
                        return target.parent if target.exists() else None
        return None
