"""Random tables from a seed, in every notation, whole and damaged."""

import csv
import io
import random
from collections.abc import Callable
from dataclasses import dataclass

SEPARATORS = (",", ";", "\t", "|")
LINE_ENDS = ("\n", "\r\n", "\r")
ENCODINGS = ("utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "cp1252")
ODD = ("n.a.", "#DIV/0!", ".", "unknown", "inf", "1e400", "-1e39", "NA", "", "?")
NOTATIONS: dict[str, tuple[str, Callable[[str], str]]] = {
    "plain": (".", lambda text: text),
    "decimal comma": (",", lambda text: text.replace(".", ",")),
    "thousands": (".", lambda text: _grouped(text, ",", ".")),
    "dots between thousands": (",", lambda text: _grouped(text, ".", ",")),
    "apostrophes": (".", lambda text: _grouped(text, "'", ".")),
    "blanks": (",", lambda text: _grouped(text, " ", ",")),
    "currency": (".", lambda text: f"-${text[1:]}" if text.startswith("-") else f"${text}"),
    "euro behind": (",", lambda text: f"{text.replace('.', ',')} \u20ac"),
    "percent": (".", lambda text: f"{text} %"),
    "minus": (".", lambda text: text.replace("-", "\u2212")),
}
"""Name -> decimal mark, and how a number such as `-1234.50` is written."""
_WORDS = ("none", "mild", "severe"), ("+", "-"), ("NA", "EU", "US"), ("yes", "no"), ("caf\u00e9", "th\u00e9", "x" * 300)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One file, with what its maker knows of it."""

    data: bytes
    encoding: str
    separator: str
    marks: dict[str, str]
    """Decimal mark by column of numbers."""
    damage: str
    """What was done to the bytes; empty for an intact file."""
    wrong_target: bool
    """Whether a target is no finite number."""

    def name(self) -> str:
        """For messages."""
        return f"{self.encoding} {self.separator!r} {self.damage or 'intact'}"


def make_case(seed: int) -> Case:
    """The file of this seed."""
    draw = random.Random(seed)
    rows, separator = draw.randint(60, 140), draw.choice(SEPARATORS)
    columns, marks = {}, {}
    for name in ("size", "when")[: draw.randint(1, 2)]:
        marks[name], columns[name] = _numbers(draw, rows, odd=draw.random() < 0.4)
    columns["place"] = [draw.choice(("north", "south", "east; west", 'the "old" town', "")) for _ in range(rows)]
    wrong = False
    if draw.random() < 0.5:
        marks["y"], columns["y"] = _numbers(draw, rows, odd=False)
        wrong = draw.random() < 0.2
        if wrong:
            columns["y"][draw.randrange(rows)] = draw.choice(("Infinity", "n.a.", "1e39", "-inf", "+inf", "1e400"))
    else:
        columns["y"] = _labels(draw, rows)
    text = _write(columns, separator, draw.choice(LINE_ENDS))
    encoding = _encoding(draw, text)
    data, damage = text.encode(encoding), ""
    if draw.random() < 0.4:
        data, damage = _damaged(draw, data)
    return Case(data=data, encoding=encoding, separator=separator, marks=marks, damage=damage, wrong_target=wrong)


def _numbers(draw: random.Random, rows: int, *, odd: bool) -> tuple[str, list[str]]:
    """The decimal mark of a column, and its cells."""
    make: Callable[[], str] = draw.choice(
        (
            lambda: f"{draw.uniform(-3000, 30000):.2f}",
            lambda: f"{draw.random():.3f}",
            lambda: str(10**12 + draw.randrange(30000)),
            lambda: f"{1700000000 + draw.randrange(100)}.5",
            lambda: str(draw.randrange(1_000_000, 9_000_000)),
            lambda: f"{5012345 + draw.random():.3f}",
        )
    )
    if draw.random() < 0.15:  # exponents, in no other notation
        return ".", [f"{draw.gauss(5, 1):.6f}e-14" for _ in range(rows)]
    mark, write = NOTATIONS[draw.choice(list(NOTATIONS))]
    cells = [write(make()) for _ in range(rows)]
    for row in draw.sample(range(rows), draw.randint(1, rows // 20)) if odd else ():
        cells[row] = draw.choice(ODD)
    return mark, cells


def _labels(draw: random.Random, rows: int) -> list[str]:
    kind = draw.randrange(4)
    if kind == 0:
        classes = draw.choice(_WORDS)
    elif kind == 1:
        start = draw.randrange(10 ** draw.randint(1, 18))
        classes = [str(start + i) for i in range(draw.randint(2, 12))]
    elif kind == 2:
        classes = [f"{i:03d}" for i in range(draw.randint(2, 9))]
    else:
        classes = ("True", "False")
    return [classes[row % len(classes)] if row < 5 * len(classes) else draw.choice(classes) for row in range(rows)]


def _write(columns: dict[str, list[str]], separator: str, line_end: str) -> str:
    content = io.StringIO(newline="")
    writer = csv.writer(content, delimiter=separator, lineterminator=line_end)
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return content.getvalue()


def _encoding(draw: random.Random, text: str) -> str:
    encoding = draw.choice(ENCODINGS)
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return "utf-8"
    return "utf-8" if encoding == "cp1252" and text.isascii() else encoding


def _damaged(draw: random.Random, data: bytes) -> tuple[bytes, str]:
    place = draw.randrange(1, len(data))
    ways: dict[str, Callable[[], bytes]] = {
        "cut off": lambda: data[:place],
        "a quote": lambda: data[:place] + b'"' + data[place:],
        "a return": lambda: data[:place] + b"\r" + data[place:],
        "a zero byte": lambda: data[:place] + b"\0" + data[place:],
        "a byte": lambda: data[:place] + bytes([draw.randrange(256)]) + data[place + 1 :],
        "a byte less": lambda: data[:place] + data[place + 1 :],
        "a byte more": lambda: data + draw.choice((b"\n", b"x", b"\0")),
        "a piece twice": lambda: data[:place] + data[max(0, place - 90) :],
        "a separator": lambda: data[:place] + draw.choice((b",", b";", b"\t")) + data[place:],
    }
    name = draw.choice(list(ways))
    return ways[name](), name


def _grouped(text: str, between: str, mark: str) -> str:
    sign, body = ("-", text[1:]) if text.startswith("-") else ("", text)
    whole, _, part = body.partition(".")
    return sign + f"{int(whole):,}".replace(",", between) + (mark + part if part else "")
