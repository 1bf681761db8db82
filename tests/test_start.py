"""What happens between the command and the first epoch: Ray starts while this process imports, workers stand ready."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.searching import ROOT, Running, command

READY = """
import psutil, ray
from search.cluster import Resources, ray_session

class Probe:
    def process(self):
        import os, sys
        return os.getpid(), "search.worker" in sys.modules

one = Resources(slots=1, cpus_per_trial=1, gpus_per_trial=0.0)
with ray_session(one, address=None, debug=False, on_lost=print):
    from ray.tune.execution.class_cache import _ActorClassCache
    ready = {p.pid for p in psutil.Process().children(recursive=True) if p.name().startswith("ray::IDLE")}
    pid, warm = ray.get(_ActorClassCache().get(Probe).remote().process.remote())
print(pid in ready, warm)
"""
COMPILER = """
import sys
import torch
from search.warm import warm_up

warm_up()
weights = torch.nn.Parameter(torch.ones(3))
optimizer = torch.optim.SGD([weights], lr=0.5, fused=True)
weights.sum().backward()
optimizer.step()
optimizer.zero_grad()
assert weights.tolist() == [0.5, 0.5, 0.5] and weights.grad is None
assert "torch._dynamo.eval_frame" not in sys.modules
assert torch.compile(lambda x: x + 1, backend="eager")(torch.ones(1)).item() == 2
assert "torch._dynamo.eval_frame" in sys.modules and torch._dynamo is sys.modules["torch._dynamo"]
"""
NO_RAY = """
import sys
from search.run import main

code = main(sys.argv[1:])
print(code, "ray" in sys.modules)
"""


def _python(script: str, *words: str) -> str:
    done = subprocess.run([sys.executable, "-c", script, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_trial_begins_in_a_worker_that_stood_ready():
    assert _python(READY).splitlines()[-1] == "True True"


def test_an_optimizer_does_without_the_compiler_which_is_there_when_it_is_asked_for():
    _python(COMPILER)


def test_data_found_damaged_while_ray_starts_are_one_line_and_nothing_is_left(tmp_path: Path):
    raw = tmp_path / "data" / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / "train-images-idx3-ubyte.gz").write_bytes(b"not the images")
    words = ("--space", "fashion_arch", "--data-dir", str(tmp_path / "data"), "--name", "none")
    running = Running(command(tmp_path / "runs", *words))
    assert running.end() == 2
    running.assert_gone()
    assert running.said.startswith("error: ")
    assert running.said.count("\n") == 1
    assert not (tmp_path / "runs" / "none").exists()


@pytest.mark.parametrize("words", [["--target", "b"], ["--target", "a", "--drop", "b"]])
def test_a_mistake_in_a_file_of_ones_own_is_told_before_ray_is_imported(words: list[str], tmp_path: Path):
    table = tmp_path / "own.csv"
    table.write_text("a,c\n" + "1,2\n3,4\n" * 20)
    given = ["--space", "tabular_mlp", "--data-dir", str(table), "--runs-dir", str(tmp_path / "runs"), *words]
    assert _python(NO_RAY, *given) == "2 False"
