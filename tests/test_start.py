"""What happens between the command and the first epoch: Ray starts while this process imports, workers stand ready."""

import re
import shutil
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from search.runtime.private_ray import RayStartError, _patient, try_twice
from tests.searching import ROOT, Running, command, plain

READY = """
import psutil, ray
from search.runtime.cluster import RaySession, Resources

class Probe:
    def process(self):
        import os, sys
        return os.getpid(), "search.execution.worker" in sys.modules

one = Resources(slots=1, cpus_per_trial=1, gpus_per_trial=0.0)
with RaySession(one, address=None, debug=False, on_lost=print).up():
    from ray.tune.execution.class_cache import _ActorClassCache
    ready = {p.pid for p in psutil.Process().children(recursive=True) if p.name().startswith("ray::IDLE")}
    pid, warm = ray.get(_ActorClassCache().get(Probe).remote().process.remote())
print(pid in ready, warm)
"""
SIGNALLED_AT_THE_END = """
import os, signal
from ray._private.node import Node
from search.runtime.cluster import RaySession, Resources

received, kill = [], Node._kill_process_type

def kill_and_signal(*words, **options):
    kill(*words, **options)
    os.kill(os.getpid(), signal.SIGTERM)

one = Resources(slots=1, cpus_per_trial=1, gpus_per_trial=0.0)
with RaySession(one, address=None, debug=False, on_lost=print).up():
    signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))
    Node._kill_process_type = kill_and_signal
as_ray_ends = len(received)
os.kill(os.getpid(), signal.SIGTERM)
print(as_ray_ends > 1, len(received) - as_ray_ends)
"""
COMPILER = """
import inspect
import sys
import torch
from search.execution.warm import warm_up

warm_up()
weights = torch.nn.Parameter(torch.ones(3))
optimizer = torch.optim.SGD([weights], lr=0.5, fused=True)
weights.sum().backward()
optimizer.step()
optimizer.zero_grad()
assert weights.tolist() == [0.5, 0.5, 0.5] and weights.grad is None
inspect.getmodule(sys._getframe(), "nowhere")  # looks through all modules
assert "torch._dynamo.eval_frame" not in sys.modules
import torch.distributed._functional_collectives  # imports the compiler half-way
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


def test_a_signal_while_ray_ends_reaches_the_handler_of_this_process():
    assert _python(SIGNALLED_AT_THE_END).splitlines()[-1] == "True 1"


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
    assert plain(running.said).startswith("error: ")
    assert plain(running.said).count("\n") == 1
    assert not (tmp_path / "runs" / "none").exists()


@pytest.mark.parametrize("words", [["--target", "b"], ["--target", "a", "--drop", "b"]])
def test_a_mistake_in_a_file_of_ones_own_is_told_before_ray_is_imported(words: list[str], tmp_path: Path):
    table = tmp_path / "own.csv"
    table.write_text("a,c\n" + "1,2\n3,4\n" * 20)
    given = ["--space", "tabular_mlp", "--data-dir", str(table), "--runs-dir", str(tmp_path / "runs"), *words]
    assert _python(NO_RAY, *given) == "2 False"


LATE = Exception("The current node timed out during startup. This could happen because some of the raylet failed")


@pytest.mark.parametrize(
    ("failures", "attempts", "error"),
    [
        ([], [0], None),
        ([LATE], [0, 1], None),
        ([TimeoutError("no port")], [0, 1], None),
        ([LATE, LATE], [0, 1], "Ray could not start on this machine (The current node timed out"),
        ([ValueError("no such option")], [0], "Ray could not start on this machine (no such option)"),
        ([LATE, ValueError("other")], [0, 1], "Ray could not start on this machine (other)"),
    ],
)
def test_a_start_that_takes_too_long_is_tried_once_more_when_the_first_is_cleared_away(
    failures: list[Exception], attempts: list[int], error: str | None
):
    done: list[object] = []
    said: list[str] = []
    left = list(failures)

    def init(attempt: int) -> None:
        done.append(attempt)
        if left:
            raise left.pop(0)

    expected = nullcontext() if error is None else pytest.raises(RayStartError, match=re.escape(error))
    with expected:
        try_twice(init, clear=lambda: done.append("cleared"), say=said.append)
    assert [step for step in done if step != "cleared"] == attempts
    assert done == [0, "cleared", 1][: 2 * len(attempts) - 1]
    assert len(said) == len(attempts) - 1


def test_a_raylet_that_is_slow_is_waited_for_and_a_dead_one_is_not(tmp_path: Path):
    asked: list[None] = []

    def get_node() -> str:
        asked.append(None)
        if len(asked) < 4:
            raise RuntimeError("not registered yet")
        return "node"

    with pytest.raises(RuntimeError, match="not registered yet"):
        _patient(get_node)()
    assert len(asked) == 1
    raylet = str(tmp_path / "raylet")
    shutil.copy(shutil.which("sleep") or "", raylet)
    process = subprocess.Popen([raylet, "600"])
    try:
        assert _patient(get_node)() == "node"
    finally:
        process.kill()
        process.wait()


def test_a_limit_under_which_ray_would_abort_is_bad_input():
    limited = "import resource; resource.setrlimit(resource.RLIMIT_AS, (4_096_000_000, resource.RLIM_INFINITY))"
    program = f"{limited}\nimport sys\nfrom search.run import main\nsys.exit(main(['--name', 'none']))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ulimit -v allows 4.1 GB of address space, but Ray needs up to ")
    assert done.stderr.endswith("; first run: ulimit -v unlimited\n")
