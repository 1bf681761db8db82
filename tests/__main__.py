"""All tests, in two lanes at once: the long ones wait for processes to start, which leaves a core to the others.

python -m tests [WORDS FOR PYTEST]      # what `make test` runs; `python -m pytest` runs one test after another

The first lane is told as it goes, the second when both have ended. Tests that share a fixture, or a place on this
machine such as Ray's default address, are in one lane.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LANE = (
    "test_array_jobs test_cluster test_end_to_end test_faults test_final test_interruptions test_launcher_aws"
    " test_launcher_local test_launcher_slurm test_own_end_to_end test_soak"
    " test_workers_end_to_end"
).split()
"""Half of the time."""
ELSEWHERE = (
    "test_docs_end_to_end test_own_kills test_examples_end_to_end test_questions_end_to_end test_mps_end_to_end"
    " test_kuberay_end_to_end"
).split()
"""In `make test-extras`."""


def lanes(words: list[str]) -> tuple[list[str], list[str]]:
    """The commands of both lanes: together they run every test but those of `ELSEWHERE` once."""
    files = [f"tests/{name}.py" for name in LANE]
    command = [sys.executable, "-m", "pytest", *words]
    others = [*files, *(f"tests/{name}.py" for name in ELSEWHERE)]
    return [*command, *files], [*command, "-p", "no:cacheprovider", *(f"--ignore={file}" for file in others), "tests"]


def main(words: list[str]) -> int:
    """The exit code of the first lane that failed, or 0."""
    first, second = lanes(words)
    with tempfile.TemporaryFile("w+") as log:
        beside = subprocess.Popen(second, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, env=_one_thread())
        try:
            codes = [subprocess.run(first, cwd=ROOT, check=False).returncode, beside.wait()]
        finally:
            beside.terminate()
            beside.wait()
            log.seek(0)
            print(log.read(), flush=True)
    return next((code for code in codes if code), 0)


def _one_thread() -> dict[str, str]:
    """Two threads of a small network would wait for each other where the other lane has one of two cores."""
    return {"OMP_NUM_THREADS": "1", **os.environ}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
