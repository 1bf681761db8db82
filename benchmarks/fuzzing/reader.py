"""A second reader of CSV files, for comparison: it shares no code with Rungwise.

It is told what it would otherwise have to guess: encoding, separator, and how each column writes its numbers.
"""

from decimal import Decimal, InvalidOperation

MISSING = ("", "na", "n/a", "#n/a", "nan", "null", "none", "-", "?")


def read_rows(data: bytes, *, encoding: str, separator: str) -> list[list[str]] | None:
    """The rows that are not empty, the header first, or None if the file is damaged: bytes, quotes or widths."""
    width = {"utf-16": 2, "utf-32": 4}.get(encoding[:6], 1)
    if len(data) % width and data[-1:] in (b"\n", b"\0"):
        data = data[:-1]  # a line end of one byte after wide characters
    try:
        text = data.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError:
        return None
    rows = _split(text, separator)
    if rows is None or "\0" in text:
        return None
    rows = [[cell.strip() for cell in row] for row in rows if any(cell.strip() for cell in row)]
    if not rows or any(len(row) != len(rows[0]) for row in rows) or len(set(rows[0])) < len(rows[0]):
        return None
    return rows


def _split(text: str, separator: str) -> list[list[str]] | None:
    """Rows and cells by RFC 4180, a quote within a cell being a letter; None if a quote stays open."""
    rows, row, cell, quoted, place = [], [], "", False, 0
    while place < len(text):
        letter = text[place]
        place += 1
        if quoted:
            if letter != '"':
                cell += letter
            elif text[place : place + 1] == '"':
                cell, place = cell + '"', place + 1
            else:
                quoted = False
        elif letter == '"' and not cell:
            quoted = True
        elif letter == separator:
            row, cell = [*row, cell], ""
        elif letter in "\r\n":
            place += letter == "\r" and text[place : place + 1] == "\n"
            rows, row, cell = [*rows, [*row, cell]], [], ""
        else:
            cell += letter
    if quoted:
        return None
    return [*rows, [*row, cell]] if row or cell else rows


def number(text: str, *, mark: str) -> Decimal | None:
    """The number in a cell, exactly; None where there is none.

    Args:
        text: of the cell.
        mark: the decimal mark; the other one, blanks and apostrophes stand between thousands.
    """
    text = text.replace("\u2212", "-")
    sign, text = ("-", text[1:]) if text.startswith("-") else ("", text)
    whole, point, rest = (sign + text.strip("$\u20ac% ")).partition(mark)
    for between in (" ", "\xa0", "'", "," if mark == "." else "."):
        first, *groups = whole.split(between)
        digits = first.lstrip("+-")
        if groups and len(digits) in (1, 2, 3) and digits[0] != "0" and all(len(group) == 3 for group in groups):
            whole = first + "".join(groups)
    text = whole + ("." if point else "") + rest
    try:
        return Decimal(text) if text and "_" not in text and not (mark == "," and "." in whole) else None
    except InvalidOperation:
        return None
