"""Files of predictions, written block by block; a file has its name only once it is whole."""

import csv
import io
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from analysis.model.files import STDIN
from search.process.answer import add_to_answer
from search.process.text import printable
from trainables.files.whole import writing

if TYPE_CHECKING:
    from analysis.model.tables import TableAnswers

PARQUET = (".parquet", ".pq")


class Writer(Protocol):
    """Writes columns, a block of rows after the other."""

    def write(self, columns: Mapping[str, Sequence[Any]]) -> None:
        """Write some rows; all calls have the same columns."""
        ...

    def write_table(self, answers: "TableAnswers", added: Mapping[str, Sequence[Any]]) -> None:
        """Write rows of a file with their predictions; `check_added` has shown that their names differ."""
        ...

    def close(self) -> None:
        """Write what is left."""
        ...


@contextmanager
def writer_to(path: Path) -> Iterator[Writer]:
    """Write a CSV file, or a Parquet file if its name ends so. A pipe or a terminal is written directly.

    Raises:
        ValueError: it cannot be written.
    """
    try:
        with ExitStack() as stack:
            direct = path.exists() and not path.is_file()
            file = stack.enter_context(path.open("wb") if direct else writing(path.resolve()))
            writer: Writer = _Parquet(file) if path.suffix.lower() in PARQUET else _Csv(file)
            try:
                yield writer
            finally:
                writer.close()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise ValueError(f"--out {str(path)!r} cannot be written: {error.strerror or error}") from None


class _Csv:
    def __init__(self, file: BinaryIO) -> None:
        self._file, self._has_header = file, False

    def write(self, columns: Mapping[str, Sequence[Any]]) -> None:
        text = io.StringIO(newline="")
        rows = csv.writer(text)
        if not self._has_header:
            rows.writerow(columns)
            self._has_header = True
        rows.writerows(zip(*columns.values(), strict=True))
        self._file.write(text.getvalue().encode())

    def write_table(self, answers: "TableAnswers", added: Mapping[str, Sequence[Any]]) -> None:
        self.write({**answers.block.texts, **added})

    def close(self) -> None:
        pass


class _Parquet:
    def __init__(self, file: BinaryIO) -> None:
        self._file, self._writer = file, None

    def write(self, columns: Mapping[str, Sequence[Any]]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.table({name: v if isinstance(v, pa.Array) else pa.array(v) for name, v in columns.items()})
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._file, table.schema)
        self._writer.write_table(table)

    def write_table(self, answers: "TableAnswers", added: Mapping[str, Sequence[Any]]) -> None:
        batch, texts = answers.block.batch, answers.block.texts
        cells = texts if batch is None else dict(zip(texts, batch.columns, strict=True))
        self.write({**cells, **added})

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


def check_single(files: Sequence[str]) -> None:
    """Raise ValueError unless there is one input file."""
    if len(files) != 1:
        raise ValueError(f"--out takes one input file, got {len(files)}")


def check_output(files: Sequence[str], output: Path, *, is_table: bool) -> None:
    """Raise ValueError unless the predictions can be written, and beside the files that they are of."""
    if is_table:
        check_single(files)
    for source in files:
        if source != STDIN and output.exists() and output.resolve() == Path(source).resolve():
            raise ValueError(f"--out must not be one of the input files, got {str(output)!r}")
    if output.is_dir():
        raise ValueError(f"--out must be a file, {str(output)!r} is a folder")
    if not output.parent.is_dir():
        raise ValueError(f"--out {str(output)!r} cannot be written: there is no folder {str(output.parent)!r}")


def check_added(names: Sequence[str], added: Sequence[str], *, way: str) -> None:
    """Raise ValueError if two columns of the written file would have the same name.

    Args:
        names: columns that are there.
        added: columns that are added.
        way: what to do about it, for the message.
    """
    known = set(names)
    taken = next((name for name in added if name in known or known.add(name)), None)
    if taken is not None:
        raise ValueError(f"--out cannot have two columns with the name {taken!r}, got a second one; {way}")


def say_error(cause: str) -> None:
    add_to_answer(error=printable(cause))
    print(f"error: {printable(cause)}", file=sys.stderr)


def say_notes(file: str, notes: Sequence[str]) -> None:
    for note in notes:
        print(f"note: {printable(file)}: {printable(note)}", file=sys.stderr)
