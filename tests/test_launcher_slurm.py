"""docs/examples/slurm.sbatch: bash accepts it, and Ray knows its options. SLURM itself is not at hand."""

import re
import subprocess
import sys
from pathlib import Path

from tests.searching import ROOT

FILE = ROOT / "docs" / "examples" / "slurm.sbatch"
TEXT = FILE.read_text()


def test_bash_accepts_the_file_and_ray_knows_its_options():
    subprocess.run(["bash", "-n", str(FILE)], check=True)
    ray = Path(sys.executable).with_name("ray")
    known = "".join(
        subprocess.run([str(ray), command, "--help"], capture_output=True, text=True, check=True).stdout
        for command in ("symmetric-run", "start")
    )
    (asked,) = re.findall(r"ray symmetric-run (.*?) -- ", TEXT)
    flags = re.findall(r"--[a-z-]+", asked)
    assert len(flags) == 3
    assert [flag for flag in flags if flag not in known] == []
