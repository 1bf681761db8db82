"""The rows of a CSV file one after another: finds the separator, checks every row, and leaves out repeated headers."""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice

from trainables.data.names import clean_name

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
_SEP_LINE = re.compile(r'"?sep=([^"\r\n])"?(?:\r\n|\r|\n|$)', re.IGNORECASE)
_LONGEST_CELL = 2**31 - 1
_HEAD, _COMPARED, _SHOWN, _NOTED = 2_000, 200, 40, 3


def is_blank(row: Sequence[str]) -> bool:
    """Whether no cell has a visible character."""
    return not any(cell and not cell.isspace() for cell in row)


class Rows:
    """Iterates once over the rows below the header; holds one row at a time.

    Iterating raises ValueError at a row with more or fewer cells than the header, and at a quote that is never closed;
    one line names the place.
    """

    def __init__(self, lines: Iterable[str], path: str) -> None:
        """Read the header.

        Args:
            lines: of the file, with their ends; a line ends at \\n, \\r\\n or \\r.
            path: for messages.

        Raises:
            ValueError: the file is empty, or two columns have the same name.
        """
        csv.field_size_limit(_LONGEST_CELL)
        self._path, self._lines = path, iter(lines)
        head = list(islice(self._lines, _HEAD))
        while head and not any(map(str.strip, head)) and (more := list(islice(self._lines, _HEAD))):
            head += more
        stated = _SEP_LINE.match(head[0]) if head else None
        self._number = 1 if stated else 0  # of lines that were read
        self._of_row: list[str] = []
        self.names: list[str] = []
        """Of every column; empty for one without a name."""
        try:
            self.separator = stated[1] if stated else _find_separator(head, path)
            rows = self._rows(chain(head[self._number :], self._lines))
            first = next(rows, None)
        except csv.Error as error:
            raise ValueError(f"{path} cannot be read as CSV: {error}") from None
        if first is None:
            raise ValueError(f"{path} is empty; a CSV file with a header and rows is needed")
        self._body, header = rows, first[1]
        self._header = [cell.strip() for cell in header]
        self.names = [clean_name(name) for name in header]
        twice = [name for name, count in Counter(self.names).items() if count > 1 and name]
        if twice:
            raise ValueError(f"every column must have a different name, but {path} has {twice[0]!r} twice; rename one")
        self._doubts, self._repeats = self._doubt(*first), list[int]()

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        """Each row with the number of its first line, from 1."""
        try:
            for line, row in self._body:
                if len(row) != len(self.names) and is_blank(row):
                    continue
                self._check(line, row)
                if row[0].strip() == self._header[0] and len(row) > 1 and [c.strip() for c in row] == self._header:
                    self._repeats.append(line)
                    continue
                if len(self._of_row) > 1 and len(self._doubts) < _NOTED:
                    self._doubts += self._doubt(line, row)
                yield line, row
        except csv.Error as error:
            raise ValueError(f"{self._path} cannot be read as CSV: {error}") from None

    @property
    def notes(self) -> list[str]:
        """What is doubtful or left out, once all rows are read."""
        notes, unnamed = list(self._doubts), self.names.count("")
        if unnamed:
            notes.append(f"{unnamed} column{'s' * (unnamed > 1)} without a name left out of {self._path}")
        if self._repeats:
            count = len(self._repeats)
            places = ", ".join(map(str, self._repeats[:4])) + ", ..." * (count > 4)
            verb = "repeats" if count == 1 else "repeat"
            notes.append(f"{count} row{'s' * (count > 1)} that {verb} the header left out (line {places})")
        return notes

    def _rows(self, lines: Iterator[str]) -> Iterator[tuple[int, list[str]]]:
        """The rows, without empty lines and those above the header; `_of_row` has the lines of the present one."""

        def remembered() -> Iterator[str]:
            for line in lines:
                self._of_row.append(line)
                yield line

        reader, last = csv.reader(remembered(), delimiter=self.separator), None
        while True:
            previous, self._of_row = self._of_row, []
            if (row := next(reader, None)) is None:
                break
            last = self._number + 1, row
            self._number += len(self._of_row)
            if is_blank(row) and (len(row) < 2 or not self.names):  # an empty line, or one above the header
                continue
            yield last
        self._of_row = previous
        if last is not None:
            self._check_quote(*last)

    def _check_quote(self, start: int, row: list[str]) -> None:
        """Raise ValueError if the row ends inside a quote, which only the last one can."""
        try:
            list(csv.reader(self._of_row, delimiter=self.separator, strict=True))
        except csv.Error as error:
            if "unexpected end" not in str(error):
                return
            line = max(start, self._number - len(list(io.StringIO(row[-1], newline=""))) + 1)
            raise ValueError(
                f"the quote that opens in line {min(line, self._number)} of {self._path} is never closed; close it, or"
                " write the quote twice inside quotes"
            ) from None

    def _check(self, line: int, row: list[str]) -> None:
        """Raise ValueError unless the row has as many cells as the header."""
        if len(row) == len(self.names):
            return
        self._check_quote(line, row)
        named = SEPARATORS.get(self.separator, repr(self.separator))
        shown = self.separator.join(row)[:_SHOWN]
        raise ValueError(
            f"every row of {self._path} must have the {len(self.names)} cells of its header, separated by a {named},"
            f" got {len(row)} in {shown!r}; use one separator, and quotes around a text that"
            f" contains it (line {line})"
        )

    def _doubt(self, line: int, row: list[str]) -> list[str]:
        """A note on a row that may really be several rows."""
        parts = [one for one in self._of_row if one.strip()]
        if len(row) < 2 or len(parts) < 2 or any(one.count(self.separator) != len(row) - 1 for one in parts):
            return []
        return [
            f"the row in line {line} of {self._path} continues to line {line + len(parts) - 1} within quotes, and each"
            " of these lines looks like a row; is a quote missing?"
        ]


def _find_separator(lines: list[str], path: str) -> str:
    """The separator with which most of the first rows have as many cells as the header."""
    scores = {}
    for separator in SEPARATORS:
        first = islice(csv.reader(lines, delimiter=separator), _COMPARED)
        rows = [len(row) for row in first if any(map(str.strip, row))]
        if not rows:
            raise ValueError(f"{path} is empty; a CSV file with a header and rows is needed")
        width, *widths = rows
        scores[separator] = (width > 1, widths.count(width), width)
    return max(scores, key=lambda separator: scores[separator])
