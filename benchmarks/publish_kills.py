"""Kills publications at random moments: the run and the earlier publication must be whole each time.

python -m benchmarks.publish_kills results/housing               # 20 kills, about two minutes

The folder is copied first, and only the copy is published.
"""

import hashlib
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from search.process.arguments import leave
from search.storage.folder import check_run

Sums = dict[str, str]
"""Checksum of every file, by path."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Kill publications of a run at random moments."""

    run: Annotated[Path, tyro.conf.Positional]
    """Folder of a run with its report; it is only read."""
    kills: int = 20
    """How many publications are killed."""
    seed: int = 0
    """Chooses the moments."""


def main(argv: list[str]) -> int:
    """Print the outcome; 0 if nothing was ever lost."""
    options = tyro.cli(Options, args=argv, prog="python -m benchmarks.publish_kills")
    with tempfile.TemporaryDirectory(prefix="publish-kills-") as scratch:
        found = kill_all(options, Path(scratch))
    print(json.dumps(found, indent=1))
    return 0 if found["lost"] == 0 and found["killed"] else 1


def kill_all(options: Options, scratch: Path) -> dict[str, float]:
    """Kill publications, each somewhere between its first file and its end, and count what was left.

    Returns:
        `killed` and `ended` (before the kill came) publications, of which `old` and `new` left the earlier or the new
        publication, and `remains` hidden files; `lost` counts every run or publication that was not whole.
    """
    run = Path(shutil.copytree(options.run, scratch / "runs" / "x"))
    results, draw = scratch / "results", random.Random(options.seed)
    _publish(run, results).wait()
    kept = next(results.iterdir())
    seconds = _writing_seconds(run, results)
    found: dict[str, float] = dict.fromkeys("killed ended old new remains lost".split(), 0)
    for number in range(options.kills):
        (run / "report" / "tables" / "kills.csv").write_text(f"kill\n{number}\n")  # each publication is another
        before, source = _sums(kept), _sums(run)
        process = _publish(run, results)
        _wait_for_files(process, results)
        time.sleep(draw.uniform(0, seconds))
        process.kill()
        found["killed" if process.wait() == -signal.SIGKILL else "ended"] += 1
        found["remains"] += any(path.name.startswith(".") for path in results.iterdir())
        check_run(kept)  # as every reader does
        left, whole = _sums(kept), _sums(run) == source
        whole &= _publish(run, results).wait() == 0 and [kept] == list(results.iterdir())
        found["old"] += left == before
        found["new"] += left == _sums(kept)
        found["lost"] += not whole or left not in (before, _sums(kept))
    return {**found, "seconds of writing": round(seconds, 2)}


def _publish(run: Path, results: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "analysis.publish", str(run), "--to", str(results)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def _wait_for_files(process: subprocess.Popen[bytes], results: Path) -> None:
    while process.poll() is None and not any(path.name.startswith(".") for path in results.iterdir()):
        time.sleep(0.001)


def _writing_seconds(run: Path, results: Path) -> float:
    process = _publish(run, results)
    _wait_for_files(process, results)
    began = time.monotonic()
    process.wait()
    return time.monotonic() - began


def _sums(folder: Path) -> Sums:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
