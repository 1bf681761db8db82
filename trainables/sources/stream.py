"""Reads a CSV or Parquet file in blocks of rows, in memory that does not grow with the number of rows.

    with open_rows("new.csv") as rows:
        print(rows.names, rows.num_rows, rows.notes)
        for block in rows.blocks(): ...

A CSV file is read twice: first all of it is checked, and the notation of each column's numbers is found, as
`trainables.sources.sheet` does; then its rows are read. Input that can be read only once is copied to a temporary file.
"""

import codecs
import io
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from copy import copy
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from trainables.data.names import clean_name
from trainables.data.notation import PLAIN, Reading, find_readings, is_plain
from trainables.sources.encoding import decode
from trainables.sources.forms import Forms, describe_contradictions, describe_readings
from trainables.sources.rows import Rows

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK = 10_000
"""Rows that are held at once."""
STDIN = "-"
"""A file name that stands for the standard input."""
_CHUNK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Block:
    """Some rows of a file."""

    texts: Mapping[str, Sequence[str]]
    """Cells of each named column as written in the file."""
    first: int
    """Number of the first of these rows in the file, from 1."""
    lines: Sequence[int] = ()
    """Line of each row in the file, from 1; empty if the file has no lines."""
    batch: "pa.RecordBatch | None" = None
    """The same rows as Parquet has them."""

    def __len__(self) -> int:
        return len(next(iter(self.texts.values()), ()))

    def place(self, row: int) -> str:
        """The name of a row of this block: `row 19 (line 20)`."""
        return f"row {self.first + row}" + (f" (line {self.lines[row]})" if self.lines else "")


class RowSource(Protocol):
    """The rows of a file, which can be read again and again."""

    names: tuple[str, ...]
    """Of the columns that have one."""
    num_rows: int
    notes: tuple[str, ...]
    """What was changed, is left out, or is doubtful."""

    def blocks(self, size: int = BLOCK) -> Iterator[Block]:
        """All rows in their order."""
        ...

    def reading(self, name: str) -> Reading | None:
        """How the numbers of this column are written; None for Python's notation."""
        ...

    def reading_as(self, known: Mapping[str, Reading]) -> "RowSource":
        """The same rows, in which the numbers of these columns are written as is known, whatever this file suggests."""
        ...


@contextmanager
def open_rows(file: str) -> Iterator[RowSource]:
    """The rows of a CSV or Parquet file; every row of a CSV file is checked.

    Args:
        file: its path, or - for the standard input.

    Raises:
        ValueError: there is no such file, it is no table, or its rows do not agree; one line names the place.
    """
    with ExitStack() as stack:
        try:
            opened = sys.stdin.buffer if file == STDIN else stack.enter_context(Path(file).open("rb"))
        except FileNotFoundError:
            raise ValueError(f"there is no file {file!r}; a CSV or Parquet file is needed") from None
        except IsADirectoryError:
            raise ValueError(f"{file!r} is a folder; a CSV or Parquet file is needed") from None
        if not opened.seekable():
            copy = stack.enter_context(_nameless())
            shutil.copyfileobj(opened, copy)
            opened = copy
        opened.seek(0)
        if opened.read(4) == b"PAR1":
            yield ParquetRows(opened, file)
            return
        opened, notes = _as_utf8(opened, file, stack)
        yield CsvRows(opened, file, notes)


class CsvRows:
    """The rows of a CSV file; see `RowSource`."""

    def __init__(self, source: BinaryIO, path: str, notes: Sequence[str] = ()) -> None:
        """Check every row.

        Args:
            source: text in UTF-8.
            path: for messages.
            notes: on the encoding.

        Raises:
            ValueError: as `open_rows`.
        """
        self._source, self._path = source, path
        with self._rows() as rows:
            self.names = tuple(filter(None, rows.names))
            forms, self.num_rows = {name: Forms() for name in self.names}, 0
            for _, columns in _columns(rows, BLOCK):
                for name, texts in columns.items():
                    forms[name].add(texts)
                self.num_rows += len(next(iter(columns.values()), ()))
            self._texts = {name: found.texts for name, found in forms.items()}
            self._readings = find_readings(self._texts, separator=rows.separator)
            self._other_notes = (*notes, *rows.notes)
        self.notes = self._notes()

    def reading(self, name: str) -> Reading | None:
        """How the numbers of this column are written; None for Python's notation."""
        return self._readings.get(name)

    def reading_as(self, known: Mapping[str, Reading]) -> "CsvRows":
        """The same rows, in which the numbers of these columns are written as is known, whatever this file suggests;
        but where the known notation is Python's, and a cell is not in it, this file decides."""
        known = {name: reading for name, reading in known.items() if name in self._texts}
        known = {n: one for n, one in known.items() if one != PLAIN or is_plain(self._texts[n])}
        same = copy(self)
        same._readings = self._readings | known
        same.notes = (*same._notes(), *describe_contradictions(self._texts, known))
        return same

    def _notes(self) -> tuple[str, ...]:
        return (*self._other_notes, *describe_readings(self._texts, self._readings))

    def blocks(self, size: int = BLOCK) -> Iterator[Block]:
        """All rows in their order."""
        first = 1
        with self._rows() as rows:
            for lines, columns in _columns(rows, size):
                yield Block(texts=columns, first=first, lines=lines)
                first += len(lines)

    @contextmanager
    def _rows(self) -> Iterator[Rows]:
        self._source.seek(0)
        text = io.TextIOWrapper(self._source, encoding="utf-8-sig", newline="")
        try:
            yield Rows(text, self._path)
        finally:
            text.detach()  # otherwise the source would be closed with it


class ParquetRows:
    """The rows of a Parquet file; see `RowSource`."""

    def __init__(self, source: BinaryIO, path: str) -> None:
        """Read the names of the columns.

        Raises:
            ValueError: the file is damaged, or two columns have the same name.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        source.seek(0)
        try:
            self._file = pq.ParquetFile(source)
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{path} is damaged Parquet: {str(error).splitlines()[0]}") from None
        self._path, found = path, [clean_name(name) for name in self._file.schema_arrow.names]
        twice = [name for name, count in Counter(found).items() if count > 1]
        if twice:
            raise ValueError(f"every column must have a different name, but {path} has {twice[0]!r} twice; rename one")
        self.names, self.num_rows, self.notes = tuple(found), self._file.metadata.num_rows, ()
        types = zip(found, self._file.schema_arrow.types, strict=True)
        self._written = {name for name, kind in types if _is_text(kind)}
        self._readings: Mapping[str, Reading] = {}

    def reading(self, name: str) -> Reading | None:
        """None for typed numbers; of numbers in texts, what is known."""
        return self._readings.get(name)

    def reading_as(self, known: Mapping[str, Reading]) -> "ParquetRows":
        """The same rows, in which the numbers in these columns of texts are written as is known."""
        same = copy(self)
        same._readings = {name: reading for name, reading in known.items() if name in self._written}
        forms = {name: Forms() for name in same._readings}
        for block in self.blocks() if forms else ():
            for name, found in forms.items():
                found.add(block.texts[name])
        same.notes = tuple(describe_contradictions({n: one.texts for n, one in forms.items()}, same._readings))
        return same

    def blocks(self, size: int = BLOCK) -> Iterator[Block]:
        """All rows in their order."""
        import pyarrow as pa

        first = 1
        try:
            for batch in self._file.iter_batches(batch_size=size):
                texts = {n: _as_texts(c.to_pylist()) for n, c in zip(self.names, batch.columns, strict=True)}
                yield Block(texts=texts, first=first, batch=batch)
                first += len(batch)
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{self._path} is damaged Parquet: {str(error).splitlines()[0]}") from None


def _is_text(kind: "pa.DataType") -> bool:
    """Whether a Parquet column holds texts; categories of pandas are numbers of texts in a dictionary."""
    import pyarrow as pa

    kind = kind.value_type if isinstance(kind, pa.DictionaryType) else kind
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _columns(rows: Rows, size: int) -> Iterator[tuple[list[int], dict[str, tuple[str, ...]]]]:
    """Blocks of rows by column, with the line of each row; the columns without a name are left out."""
    body = iter(rows)
    while block := list(islice(body, size)):
        lines, cells = zip(*block, strict=True)
        columns = zip(rows.names, zip(*cells, strict=True), strict=True)
        yield list(lines), {name: texts for name, texts in columns if name}


def _as_texts(values: list[Any]) -> list[str]:
    """The values of a Parquet column as a CSV file would have them."""
    return ["" if value is None else value if isinstance(value, str) else str(value) for value in values]


@contextmanager
def _nameless() -> Iterator[BinaryIO]:
    """A temporary file that has no name."""
    with tempfile.TemporaryFile() as file:
        yield file


def _as_utf8(source: BinaryIO, path: str, stack: ExitStack) -> tuple[BinaryIO, list[str]]:
    """The same text as UTF-8, and a note where its encoding is a guess. Text in another encoding is decoded whole.

    Raises:
        ValueError: as `decode`.
    """
    source.seek(0)
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        while data := source.read(_CHUNK):
            decoder.decode(data)
            if b"\0" in data:
                break
        else:
            decoder.decode(b"", final=True)
            return source, []
    except UnicodeDecodeError:
        pass
    source.seek(0)
    text, notes = decode(source.read(), path)
    copy = stack.enter_context(_nameless())
    copy.write(text.encode("utf-8", "surrogatepass"))
    return copy, notes
