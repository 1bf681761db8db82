"""Kills searches of the programs in examples/ at random moments, and compares their studies to undisturbed ones.

    python -m benchmarks.own_kills                                   # 20 kills for each program that can run here
    python -m benchmarks.own_kills --programs speedrun --kills 3
    python -m benchmarks.own_kills --programs data_parallel --workers 2

A search is killed (`kill -9` of its driver, or of a worker that trains) and resumed several times until it is
finished. Each kill and each finished search is a line of results/own_kills.jsonl, written at once: the command goes on
where it was ended. Exit code 1 if anything was lost, recorded twice or other than undisturbed.
"""

import fcntl
import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import joblib
import optuna
import psutil
import torch
import tyro
from optuna.trial import FrozenTrial, TrialState

from benchmarks.soak import leftovers, members, name_of, read_from, wait_for
from search.process.arguments import BROKEN_OFF, DONE
from search.storage.run import read_run
from search.storage.standings import best_trial
from search.storage.study import open_study
from search.storage.trials import epochs_reached
from spaces.space import load
from trainables.files import checkpoint
from trainables.trainable import Selection, Setting, close

ROOT = Path(__file__).resolve().parent.parent
NEEDS = {"lightning_module": "lightning", "huggingface_trainer": "peft", "lightgbm_continued": "lightgbm"}
"""Packages that a program imports and an installation may lack."""
TRIALS = {"speedrun": 40, "sklearn_partial_fit": 24, "lightgbm_continued": 40}
"""Of each search; 12 of the slower programs."""
WORDS = ("--seed", "3", "--concurrent", "1", "--max-failures", "1000")
RESUMED = 3
"""How often a search that broke off by itself is resumed, as it asks for: on a busy machine Ray may start too late."""
FROM_START = 0.25
"""Share of the kills whose moment counts from the start of the process, and not from an epoch."""
TIMES = ("seconds", "runtime", "per_second", "started", "worker", "node")
"""Parts of the names of what differs between equal trainings."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Kill searches of the example programs at random moments."""

    programs: tuple[str, ...] = tuple(sorted(path.stem for path in (ROOT / "examples").glob("*.py")))
    """Names of files in examples/."""
    kills: int = 20
    """How many for each program."""
    per_search: int = 4
    """About as many hit one search, one after the other."""
    trials: int | None = None
    """Of each search; by default what takes a quarter of a minute."""
    workers: int = 1
    """That train each trial together."""
    seed: int = 0
    """Chooses the moments."""
    folder: Path = Path("runs/own_kills")
    """Where the searches are kept while the benchmark runs."""
    out: Path = Path(__file__).parent / "results" / "own_kills.jsonl"
    """The lines, old and new."""
    lock: Path | None = None
    """A file that is locked while a search runs, on a machine where other searches wait for it."""


def main(options: Options) -> int:
    """Print a line for each kill and each search; 1 if a promise was broken."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    broken = 0
    for program in options.programs:
        if program in NEEDS and find_spec(NEEDS[program]) is None:
            print(f"{program}: {NEEDS[program]} is not installed", flush=True)
            continue
        calm, number = undisturbed(program, options), 0
        while sum(row["kills"] for row in finished(program, options)) < options.kills:
            if number not in {row["search"] for row in finished(program, options)}:
                kill_one(program, number, calm=calm, options=options)
            number += 1
        broken += sum(not row["equal"] or row["lost"] + row["twice"] > 0 for row in finished(program, options))
    return 1 if broken else 0


def undisturbed(program: str, options: Options) -> dict[str, Any]:
    """What a search ends with that nobody disturbs, and the seconds that it trains."""
    folder = options.folder / program
    if not (folder / "calm.json").exists():
        shutil.rmtree(folder, ignore_errors=True)
        with locked(options.lock):
            search = Started(program, folder, name="calm", options=options)
            wait_for(search.trains)
            began = time.monotonic()
            assert search.process.wait() == DONE, search.said()
        seconds = time.monotonic() - began
        (folder / "calm.json").write_text(json.dumps({"seconds": seconds, "study": study_of(folder / "calm")}))
    return json.loads((folder / "calm.json").read_text())


def kill_one(program: str, number: int, *, calm: dict[str, Any], options: Options) -> None:
    """Kill one search until it has ended all the same, compare, and write down what was found."""
    folder, name = options.folder / program, f"killed-{number}"
    shutil.rmtree(folder / name, ignore_errors=True)
    chance = random.Random(f"{options.seed}/{program}/{number}")
    recorded: dict[tuple[int, int], Any] = {}
    found = {"program": program, "search": number, "kills": 0, "lost": 0, "twice": 0}
    with locked(options.lock):
        search = Started(program, folder, name=name, options=options)
        while (kill := strike(search, chance, window=2 * calm["seconds"] / options.per_search)) is not None:
            found["kills"] += 1
            kill |= {"program": program, "search": number, **survey(folder / name, recorded)}
            found["lost"] += kill["lost"]
            found["twice"] += kill["twice"]
            write(options.out, {"kill": found["kills"], **kill})
            if kill["target"] == "driver":
                left = leftovers(search.family)
                assert not left, left
                search = Started(program, folder, name=name, options=options)
        code = search.process.wait()
        for _ in range(RESUMED):
            if code != BROKEN_OFF:
                break
            search = Started(program, folder, name=name, options=options)
            code = search.process.wait()
    left = survey(folder / name, recorded)
    study = study_of(folder / name) if code == DONE else {}
    found |= {"lost": found["lost"] + left["lost"], "twice": found["twice"] + left["twice"]}
    found |= {"exit": code, "epochs": left["recorded"], "differs": differing(calm["study"], study)}
    write(options.out, {**found, "equal": code == DONE and not found["differs"]})
    if code == DONE and not found["differs"]:
        shutil.rmtree(folder / name)


class Started:
    """A search that was started, or goes on."""

    def __init__(self, program: str, folder: Path, *, name: str, options: Options) -> None:
        self.family, self.run_dir = uuid.uuid4().hex, folder / name
        self._log = folder / f"{name}.log"
        folder.mkdir(parents=True, exist_ok=True)
        trials = options.trials or TRIALS.get(program, 12)
        new = ["--space", str(ROOT / "examples" / f"{program}.py"), "--trials", str(trials)]
        more = ["--resume"] if (self.run_dir / "run.json").exists() else new
        several = [f"--{what}-per-trial={options.workers}" for what in ("cpus", "workers")]
        words = [sys.executable, "-m", "search.run", "--name", name, "--runs-dir", str(folder), *more, *WORDS, *several]
        with self._log.open("a") as log:
            self._began = log.tell()
            self.process = subprocess.Popen(
                words,
                cwd=ROOT,
                env={**os.environ, "PYTHONUNBUFFERED": "1", "RUNGWISE_FAMILY": self.family},
                stdout=log,
                stderr=log,
            )

    def said(self) -> str:
        """What it said since it was started."""
        return read_from(self._log, self._began)

    def trains(self) -> bool:
        """Whether a trial has got anywhere, or the search has ended."""
        return " at epoch " in self.said() or self.process.poll() is not None

    def workers(self) -> list[psutil.Process]:
        """Those that have begun to train."""
        return [process for process in members(self.family) if re.search("TrialWorker|Follower", name_of(process))]


def strike(search: Started, chance: random.Random, *, window: float) -> dict[str, Any] | None:
    """Kill the driver or a worker at a random moment; None if the search ends before."""
    target = chance.choice(("driver", "worker"))
    if chance.random() >= FROM_START:
        wait_for(search.trains)
    seconds = chance.uniform(0, window)
    with suppress(subprocess.TimeoutExpired):
        search.process.wait(seconds)
    processes: list[Any] = [search.process]
    while target == "worker" and not (processes := search.workers()) and search.process.poll() is None:
        time.sleep(0.1)
    if search.process.poll() is not None:
        return None
    for process in processes if len(processes) == 1 else [chance.choice(processes)]:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    if target == "driver":
        search.process.wait()
    return {"target": target, "seconds": round(seconds, 3)}


def survey(run_dir: Path, recorded: dict[tuple[int, int], Any]) -> dict[str, int]:
    """What became of the epochs that were recorded before, and of those recorded now; `recorded` then knows them all.

    Returns:
        `recorded` epochs; those `lost` (gone, or with another value) and recorded `twice` (trained again, or two
        records of one), and the trials without a checkpoint of their last recorded epoch as `behind`.
    """
    if not (run_dir / "run.json").exists():
        return {"recorded": 0, "lost": 0, "twice": 0, "behind": 0}
    trials = open_study(run_dir).trials
    now: dict[tuple[int, int], Any] = {}
    twice = behind = 0
    for trial in trials:
        records = trial.user_attrs.get("history", [])
        now |= {(trial.number, r["epoch"]): (trial.intermediate_values.get(r["epoch"]), r["started"]) for r in records}
        twice += len(records) - len({r["epoch"] for r in records})
        behind += trial.state == TrialState.RUNNING and newest(run_dir, trial) < epochs_reached(trial)
    lost = sum(key not in now or now[key][0] != value for key, (value, _) in recorded.items())
    twice += sum(key in now and now[key][1] != started for key, (_, started) in recorded.items())
    recorded |= now
    return {"recorded": len(now), "lost": lost, "twice": twice, "behind": behind}


def newest(run_dir: Path, trial: FrozenTrial) -> int:
    """Epochs in the newest whole checkpoint."""
    loaded = checkpoint.load_newest(run_dir / "checkpoints" / f"trial-{trial.number:05d}")
    return 0 if loaded is None else loaded.epoch


def study_of(run_dir: Path) -> dict[str, Any]:
    """All that must be equal between two searches that are the same, as it is after a way through JSON."""
    run, trials = read_run(run_dir), open_study(run_dir).trials
    best = best_trial(trials, run.objective)
    study = {
        "params": [[t.number, t.params, t.user_attrs.get("seed")] for t in trials],
        "values": [[t.state.name, t.value, sorted(t.intermediate_values.items())] for t in trials],
        "records": [[told(record) for record in t.user_attrs.get("history", [])] for t in trials],
        "weights": "" if best is None else weights_of(run_dir, best),
    }
    return json.loads(json.dumps(study))


def told(record: Mapping[str, Any]) -> dict[str, Any]:
    """An epoch's record without what no two trainings have in common."""
    return {name: value for name, value in record.items() if not any(word in name for word in TIMES)}


def weights_of(run_dir: Path, trial: FrozenTrial) -> str:
    """A checksum of what `train` returns for a finished trial, made from its checkpoint."""
    run = read_run(run_dir)
    space = load(run.space)
    setting = Setting(epochs=run.epochs, seed=trial.user_attrs["seed"], trial=trial.number)
    training: Any = space.work.build(space.decode(trial.params), space.work.load(Selection()), setting)
    loaded = checkpoint.load_newest(run_dir / "checkpoints" / f"trial-{trial.number:05d}")
    assert loaded is not None
    assert loaded.state is not None
    training.restore(checkpoint.parted(loaded.state)[0])
    model = training.result()
    close(training)
    if not isinstance(model, torch.nn.Module):
        return str(joblib.hash(model))  # of its numbers: the bytes of equal pickles may differ
    parts = (f"{name}{tensor.shape}".encode() + tensor.numpy().tobytes() for name, tensor in model.state_dict().items())
    return hashlib.sha256(b"".join(parts)).hexdigest()


def differing(calm: Mapping[str, Any], killed: Mapping[str, Any]) -> list[str]:
    """The parts that are not equal, to the bit."""
    return [name for name in calm if killed.get(name) != calm[name]]


def finished(program: str, options: Options) -> list[dict[str, Any]]:
    """The lines of the searches of a program that were compared."""
    lines = options.out.read_text().splitlines() if options.out.exists() else []
    return [row for row in map(json.loads, lines) if row["program"] == program and "equal" in row]


def write(path: Path, row: Mapping[str, Any]) -> None:
    """Add a line to the file, and print it."""
    print(dict(row), flush=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(dict(row)) + "\n")


@contextmanager
def locked(path: Path | None) -> Iterator[None]:
    """Inside, this process alone holds the lock."""
    if path is None:
        yield
        return
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options)))
