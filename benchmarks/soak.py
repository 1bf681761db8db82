"""Breaks a search at random until it is finished all the same, and checks after every round that nothing was lost.

python -m benchmarks.soak --seeds 10

Each round starts or resumes the search and every 3 to 20 seconds kills the driver, kills a worker, sends SIGTERM or
flips a bit in the newest checkpoint, until the search has ended. Half of the rounds count from the start of the
process, half from the first epoch. Prints a line for each round; exit code 1 tells of a broken promise.
"""

import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import optuna
import psutil
import tyro
from optuna.trial import FrozenTrial, TrialState

from search.process.arguments import DONE, SOME_FAILED
from search.storage.run import read_run
from search.storage.standings import best_trial
from search.storage.study import open_study
from search.storage.trials import epochs_reached

ROOT = Path(__file__).resolve().parent.parent
SLOTS = "--name soak --concurrent 2 --cpus-per-trial 1 --max-failures 100".split()
"""As many new workers as it takes: on a slow machine one trial meets more than two kills."""
WORDS = ("--trials", "150", "--max-epochs", "9")
ACTIONS = ("kill the driver", "kill a worker", "SIGTERM", "damage a checkpoint")
DEADLY = {"kill the driver", "SIGTERM"}
GONE_SECONDS = 60
"""15 s where nothing else runs."""
MAX_ROUNDS = 60
ROUND_SECONDS = 300


@dataclass(kw_only=True)
class Memory:
    """What was acknowledged before a round, and must be there after it."""

    values: dict[tuple[int, int], float] = field(default_factory=dict)
    started: dict[tuple[int, int], float] = field(default_factory=dict)
    """When the epoch that was stored was trained: a second training of it would change this."""
    final: dict[int, str] = field(default_factory=dict)
    best: dict[int, tuple[float | None, str]] = field(default_factory=dict)
    """Best finished trial -> value and checksum of its checkpoint."""
    damaged: set[int] = field(default_factory=set)
    """Trials whose checkpoint was damaged on purpose."""


@dataclass(kw_only=True)
class Outcome:
    """One search that was broken until it was finished."""

    seed: int
    rounds: int = 0
    epochs: int = 0
    faults: list[str] = field(default_factory=list)
    """Every one that struck."""
    problems: list[str] = field(default_factory=list)


def main(seeds: int = 10, first: int = 0) -> int:
    """Soak several searches.

    Args:
        seeds: how many.
        first: seed of the first one.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    outcomes = []
    for seed in range(first, first + seeds):
        with tempfile.TemporaryDirectory(prefix="soak-") as folder:
            outcomes.append(soak(Path(folder), seed=seed))
        print_outcome(outcomes[-1])
    broken = [outcome for outcome in outcomes if outcome.problems]
    rounds, epochs = (sum(getattr(o, name) for o in outcomes) for name in ("rounds", "epochs"))
    faults = sum(len(o.faults) for o in outcomes)
    print(f"{len(outcomes)} searches, {rounds} rounds, {faults} faults, {epochs} epochs: {len(broken)} broken")
    return 1 if broken else 0


def print_outcome(outcome: Outcome) -> None:
    """One line, and one for each broken promise."""
    print(
        f"seed {outcome.seed}: {outcome.rounds} rounds, {len(outcome.faults)} faults, {outcome.epochs} epochs",
        flush=True,
    )
    for problem in outcome.problems:
        print(f"  broken: {problem}", flush=True)


def soak(runs_dir: Path, *, seed: int, words: tuple[str, ...] = WORDS) -> Outcome:
    """Break one search, of the size that `words` say, until it is finished."""
    chance, memory, outcome = random.Random(seed), Memory(), Outcome(seed=seed)
    run_dir = runs_dir / "soak"
    while outcome.rounds < MAX_ROUNDS:
        outcome.rounds += 1
        began = time.monotonic()
        code, action, left = one_round(runs_dir, words=words, chance=chance, seed=seed, memory=memory)
        outcome.faults += [name for name in ACTIONS for _ in range(action.count(name))]
        outcome.problems += left
        print(f"  round {outcome.rounds}: {action}, exit {code}, {time.monotonic() - began:.0f} s", flush=True)
        if (run_dir / "run.json").exists():
            outcome.problems += check(run_dir, memory, action=action)
        if code in (DONE, SOME_FAILED) or outcome.problems:
            break
        if code not in (-signal.SIGKILL, 128 + signal.SIGTERM):
            outcome.problems.append(f"unexpected exit code {code} after {action}")
            break
    if not outcome.problems:
        outcome.problems += unfinished(run_dir)
        outcome.problems += [] if outcome.faults else ["no fault has struck: this was no soak"]
    outcome.epochs = len(memory.values)
    return outcome


def one_round(
    runs_dir: Path, *, words: tuple[str, ...], chance: random.Random, seed: int, memory: Memory
) -> tuple[int, str, list[str]]:
    """Start or resume, strike until it ends; exit code, what was done, and what was left running."""
    family = uuid.uuid4().hex
    resume = (runs_dir / "soak" / "run.json").exists()
    more = ["--resume"] if resume else [*words, "--seed", str(seed)]
    log = (runs_dir / "log").open("a+")
    began = log.seek(0, os.SEEK_END)
    process = subprocess.Popen(
        [sys.executable, "-m", "search.run", "--runs-dir", str(runs_dir), *SLOTS, *more],
        cwd=ROOT, env={**os.environ, "PYTHONUNBUFFERED": "1", "RUNGWISE_FAMILY": family}, stdout=log, stderr=log,
    )  # fmt: skip
    if chance.random() < 0.5:
        wait_for(lambda: " at epoch " in read_from(runs_dir / "log", began) or process.poll() is not None)
    actions = []
    while not DEADLY & set(actions):
        with suppress(subprocess.TimeoutExpired):
            process.wait(chance.uniform(2, 10))
        if process.poll() is not None:
            break
        actions.append(chance.choice(ACTIONS))
        strike(actions[-1], process, family=family, run_dir=runs_dir / "soak", chance=chance, memory=memory)
    code = process.wait(ROUND_SECONDS)
    log.close()
    return code, ", ".join(actions) or "left alone", leftovers(family)


def strike(
    action: str, process: subprocess.Popen, *, family: str, run_dir: Path, chance: random.Random, memory: Memory
) -> None:
    """The fault itself."""
    match action:
        case "kill the driver":
            process.kill()
        case "SIGTERM":
            process.terminate()
        case "kill a worker":
            workers = [p for p in members(family) if name_of(p).startswith("ray::") and "Agent" not in name_of(p)]
            if workers:
                with suppress(psutil.NoSuchProcess):
                    chance.choice(workers).kill()
        case "damage a checkpoint":
            damage_newest(run_dir, memory)


def damage_newest(run_dir: Path, memory: Memory) -> None:
    """Flip one bit in the middle of the newest checkpoint of a trial that is not finished."""
    if not (run_dir / "run.json").exists():
        return
    going_on = {t.number for t in open_study(run_dir).trials if t.state == TrialState.RUNNING}
    states = [p for p in run_dir.glob("checkpoints/*/epoch-*/state.pt") if int(p.parts[-3][-5:]) in going_on]
    with suppress(FileNotFoundError):
        newest = max(states, key=lambda p: p.stat().st_mtime, default=None)
        if newest is not None:
            data = bytearray(newest.read_bytes())
            data[len(data) // 2] ^= 1
            newest.write_bytes(bytes(data))
            memory.damaged.add(int(newest.parts[-3][-5:]))


def check(run_dir: Path, memory: Memory, *, action: str) -> list[str]:
    """What does not hold of the promises after a round; remembers what was acknowledged until now."""
    trials = open_study(run_dir).trials
    found = []
    values = {(t.number, e): v for t in trials for e, v in t.intermediate_values.items()}
    started = {(t.number, r["epoch"]): r["started"] for t in trials for r in t.user_attrs.get("history", [])}
    final = {t.number: t.state.name for t in trials if t.state.is_finished()}
    for name, before, now in (("value", memory.values, values), ("start", memory.started, started)):
        changed = [key for key, value in before.items() if now.get(key) != value and key in memory.values]
        found += [f"{action}: the {name} of epoch {e} of trial {n} changed" for n, e in changed]
    found += [f"{action}: trial {n} was {s}, is not" for n, s in memory.final.items() if final.get(n) != s]
    found += [f"trial {t.number} has epochs {sorted(t.intermediate_values)}" for t in trials if not whole(t)]
    leader = best_trial(trials, read_run(run_dir).objective)
    if leader is not None and leader.number not in memory.damaged:
        now = (leader.value, checksum(run_dir, leader))
        if memory.best.setdefault(leader.number, now) != now:
            found.append(f"{action}: the best trial {leader.number} or its checkpoint changed")
    memory.values, memory.started, memory.final = values, started, final
    return found


def whole(trial: FrozenTrial) -> bool:
    """Whether the epochs of a trial are 1, 2, 3 ... without a gap, each with its record."""
    epochs = sorted(trial.intermediate_values)
    recorded = [record["epoch"] for record in trial.user_attrs.get("history", [])]
    return epochs == list(range(1, len(epochs) + 1)) and recorded[: len(epochs)] == epochs


def checksum(run_dir: Path, trial: FrozenTrial) -> str:
    """sha256 of the checkpoint that a finished trial leaves."""
    folder = run_dir / "checkpoints" / f"trial-{trial.number:05d}" / f"epoch-{epochs_reached(trial):04d}"
    return hashlib.sha256((folder / "state.pt").read_bytes()).hexdigest()


def unfinished(run_dir: Path) -> list[str]:
    """What is missing from a search that says it is done."""
    run, trials = read_run(run_dir), open_study(run_dir).trials
    found = [] if len(trials) == run.trials else [f"{run.trials} trials were asked for, {len(trials)} are there"]
    found += [f"trial {t.number} is {t.state.name}" for t in trials if not t.state.is_finished()]
    failed = [t for t in trials if t.state == TrialState.FAIL and t.user_attrs.get("failure_kind") != "diverged"]
    found += [f"trial {t.number} failed: {t.user_attrs.get('failure')}" for t in failed]
    for trial in trials:
        if trial.state == TrialState.COMPLETE and len(trial.intermediate_values) != run.epochs:
            found.append(f"trial {trial.number} is complete after {len(trial.intermediate_values)} epochs")
    return found


def members(family: str) -> list[psutil.Process]:
    """The processes of one start, however Ray has rearranged them."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("RUNGWISE_FAMILY") == family and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def leftovers(family: str) -> list[str]:
    """Processes that are still there some time after the end."""
    wait_for(lambda: not members(family), seconds=GONE_SECONDS)
    return [f"process {name_of(p)} is left" for p in members(family)]


def name_of(process: psutil.Process) -> str:
    """Ray's title of a process, or its name; empty when it is gone."""
    with suppress(psutil.Error):
        return " ".join(process.cmdline())[:80] or process.name()
    return ""


def wait_for(condition: Callable[[], bool], *, seconds: float = ROUND_SECONDS) -> None:
    """Until the condition holds, or the time is over."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.2)


def read_from(path: Path, offset: int) -> str:
    """The text of a log after an offset."""
    with path.open() as file:
        file.seek(offset)
        return file.read()


if __name__ == "__main__":
    sys.exit(tyro.cli(main))
