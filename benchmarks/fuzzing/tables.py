"""Random CSV files, read as a search reads them and by `reader.py`: no traceback, and no value lost silently."""

import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fuzzing.making import Case, make_case
from benchmarks.fuzzing.reader import MISSING, number, read_rows
from search.process.arguments import BAD_INPUT
from trainables.data.options import TableOptions
from trainables.data.table import Column, encode
from trainables.sources.csv_table import read
from trainables.sources.load import load, load_test

TRACEBACK, LOST, REFUSED, READ, NEEDLESS = "traceback", "lost without a word", "refused", "read", "refused while intact"
_LARGEST = 3.4028234e38
"""Of float32."""


def run(*, num: int, seed: int, num_commands: int = 0) -> dict[str, Any]:
    """Read that many tables and compare each with a second reader.

    Args:
        num: of tables.
        seed: of the first; the others follow.
        num_commands: of refused files that are given to the command as well.

    Returns:
        Counts of outcomes, and the worst cases by seed.
    """
    outcomes: Counter[str] = Counter()
    faults, refused = [], []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        for one in range(seed, seed + num):
            case = make_case(one)
            outcome, said = check(case, path)
            outcomes[outcome] += 1
            if outcome in (TRACEBACK, LOST, NEEDLESS):
                faults.append({"seed": one, "case": case.name(), "outcome": outcome, "said": said[:300]})
            elif outcome == REFUSED:
                refused.append(case)
        commands = [ask_command(case, path) for case in refused[:num_commands]]
    return {"outcomes": dict(outcomes), "faults": faults, "commands": len(commands), "bad_commands": _bad(commands)}


def check(case: Case, path: Path) -> tuple[str, str]:
    """The outcome of one file, and what was said of it."""
    path.write_bytes(case.data)
    try:
        table = read(path, TableOptions(target="y"))
        dataset = load("csv", path, validation_fraction=0.2, table=TableOptions(target="y"))
        num_rows = len(dataset.train) + len(dataset.validation) + len(load_test("csv", path, like=dataset))
    except (ValueError, OSError) as error:
        intact = not case.damage and not case.wrong_target
        return (NEEDLESS if intact or "\n" in str(error) else REFUSED), str(error)
    except Exception as error:
        return TRACEBACK, repr(error)
    found = _compare(case, table, dataset.columns, num_rows, said=" ".join(dataset.notes))
    return (LOST, found) if found else (READ, "")


def _compare(case: Case, table: Any, columns: Sequence[Column], num_rows: int, *, said: str) -> str:
    """What is lost, in words; nothing if all that the second reader finds is there or was said."""
    rows = read_rows(case.data, encoding=case.encoding, separator=case.separator)
    if rows is None:
        return "" if "is not UTF-8" in said or "a quote missing" in said else "a damaged file was read"
    header, body = rows[0], rows[1:]
    if sorted(header) != sorted([*table.cells, table.target]):
        return "" if "without a name" in said else f"columns {header} became {list(table.cells)}"
    texts = dict(zip(header, zip(*body, strict=True), strict=True))
    kept = (table.places[:, 0] - 1).tolist()
    if num_rows != len(kept) or (len(kept) < len(body) and f"{len(body) - len(kept)} of {len(body)} rows" not in said):
        return f"{len(body)} rows became {num_rows}"
    lost = _compare_target([texts["y"][row] for row in kept], table, mark=case.marks.get("y", "."))
    x = encode(table.cells, tuple(columns))
    for index, column in enumerate(columns):
        cells = [texts[column.name][row] for row in kept]
        mark = next((mark for name, mark in case.marks.items() if name in column.name), None)
        lost = lost or _compare_column(cells, x[:, index], column, mark=mark, said=said)
    return lost


def _compare_target(cells: list[str], table: Any, *, mark: str) -> str:
    if table.classes:
        named = [table.classes[label] for label in table.y]
        wrong = [(a, b) for a, b in zip(cells, named, strict=True) if a != b and a.lower() != b.lower()]
        return f"label {wrong[0][0]!r} became {wrong[0][1]!r}" if wrong else ""
    return _compare_numbers(
        "y", [number(cell, mark=mark) for cell in cells], table.part(test=False).y.dtype.type(table.y)
    )


def _compare_column(cells: list[str], x: np.ndarray, column: Column, *, mark: str | None, said: str) -> str:
    if column.kind == "number":
        odd = [cell for cell, there in zip(cells, np.isfinite(x), strict=True) if not there and not _is_missing(cell)]
        if odd and not (repr(column.name) in said and repr(odd[0][:40]) in said):
            return f"{odd[0]!r} of {column.name!r} is missing without a word"
        if mark is None and any(number(cell, mark=".") is None and not _is_missing(cell) for cell in cells):
            return f"texts of {column.name!r} became numbers"
        return _compare_numbers(column.name, [number(cell, mark=mark or ".") for cell in cells], x)
    if mark is not None and sum(number(cell, mark=mark) is not None for cell in cells) > 0.9 * len(cells):
        return f"numbers of {column.name!r} became categories"
    named = ["" if not code else column.categories[int(code) - 1] for code in x]
    wrong = [(a, b) for a, b in zip(cells, named, strict=True) if a != b and b]
    return f"{wrong[0][0]!r} of {column.name!r} became {wrong[0][1]!r}" if wrong else ""


def _is_missing(cell: str) -> bool:
    return cell.lower() in MISSING


def _compare_numbers(name: str, exact: Sequence[Decimal | None], found: np.ndarray) -> str:
    """Whether each number is there to a thousandth of their spread, and no other."""
    known = [e is not None and e.is_finite() and abs(e) <= _LARGEST for e in exact]
    if known != np.isfinite(found).tolist():
        return f"a number of {name!r} is missing, or made of nothing"
    pairs = [(e, Decimal(float(f))) for e, f, there in zip(exact, found, known, strict=True) if there and e is not None]
    values = sorted(e for e, _ in pairs)
    spread = values[3 * len(values) // 4] - values[len(values) // 4] if values else Decimal(0)
    middle = values[len(values) // 2] if values else Decimal(0)
    off = [abs(e - f) for e, f in pairs if abs(e - f) > max(spread, abs(e - middle)) / 1000]
    return f"{name!r} is off by {max(off):.3g} of a spread of {spread:.3g}" if off else ""


def ask_command(case: Case, path: Path) -> tuple[int, str]:
    """Exit code and output of the search command for this file."""
    path.write_bytes(case.data)
    words = [
        "--space",
        "tabular_mlp",
        "--data-dir",
        str(path),
        "--target",
        "y",
        "--runs-dir",
        str(path.parent / "runs"),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "search.run", *words], capture_output=True, text=True, timeout=120, check=False
    )
    return done.returncode, done.stdout + done.stderr


def _bad(commands: Sequence[tuple[int, str]]) -> list[str]:
    """What was said where the answer is not one line with the exit code of bad input."""
    return [
        said[-500:]
        for code, said in commands
        if code != BAD_INPUT or not said.startswith("error: ") or said.count("\n") != 1
    ]
