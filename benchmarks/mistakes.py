"""Time until a mistake at the prompt is answered: every one of `tests/mistakes.py` in a process of its own.

python -m benchmarks.mistakes
"""

import subprocess
import sys
import tempfile
import time

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.harness import describe_conditions, write_result
from search.process.arguments import BAD_INPUT
from tests.mistakes import MISTAKES
from tests.searching import ROOT

LIMIT_SECONDS = 2


def main() -> int:
    """Measure, print every line as a user reads it, the slowest last; 1 when one is no line with exit code 2."""
    console = Console(highlight=False, width=180)
    answers = sorted((answer(command, words) for command, words, _ in MISTAKES), key=lambda found: found[0])
    table = Table("s", "code", "answer", title=f"{len(answers)} mistakes")
    for seconds, code, said in answers:
        table.add_row(f"{seconds:.2f}", str(code), escape(said.strip()))
    console.print(table)
    seconds = [found[0] for found in answers]
    slow = sum(one >= LIMIT_SECONDS for one in seconds)
    median = seconds[len(seconds) // 2]
    console.print(f"median {median:.2f} s, at most {seconds[-1]:.2f} s, {slow} over {LIMIT_SECONDS} s")
    result = {"seconds": seconds, "required": LIMIT_SECONDS, "conditions": describe_conditions(seed=0)}
    console.print(f"written to {write_result('mistakes', result)}")
    return int(any(code != BAD_INPUT or said.count("\n") != 1 for _, code, said in answers))


def answer(command: str, words: list[str]) -> tuple[float, int, str]:
    """Seconds, exit code and all that is said."""
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", command, *words],
            cwd=folder, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return time.perf_counter() - began, done.returncode, done.stdout + done.stderr


if __name__ == "__main__":
    sys.exit(main())
