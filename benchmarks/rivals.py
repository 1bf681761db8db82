"""Searches of several tools on learning curves that others recorded: what each finds for the same number of epochs.

    python -m benchmarks.rivals --seeds 10                  # the tuning half; an interrupted one continues
    python -m benchmarks.rivals --half confirmation         # the other half: open it once for each proposal
    python -m benchmarks.rivals --show                      # prints the tables of the last result

A search has the epochs of 30 full trainings; with many workers at least 1.25 full trainings one after another. Epochs
cost the same everywhere and choosing costs nothing. The incumbent is the configuration with the best value seen at any
epoch; its regret is 0 if its final value is the best that is known, and 1 if it is that of the median random
configuration. Needs `onnxruntime`; Syne Tune and the tools of
`benchmarks.continuing` are optional.
"""

import itertools
import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import optuna
from rich.console import Console
from scipy.stats import rankdata

from benchmarks.continuing import Dehb, Neps, Smac
from benchmarks.harness import RESULTS, describe_conditions, write_result
from benchmarks.kept import keeping
from benchmarks.peers import OptunaAlone, Peer, Problem, RayTune, SyneTune, hyperband
from benchmarks.public_tasks import CONFIRMATION, TUNING, PublicTask
from benchmarks.regret import NUM_MOMENTS, Cell, compute_factor
from benchmarks.replay import OURS, Course, make_run_of, regret_at, replay_peer
from search.forecast.simulate import simulate
from search.process.arguments import parse
from search.process.text import counted

FULL_TRAININGS, LEAST_ROUNDS = 30, 1.25
MOMENTS = 10, 25, 50, 100
"""Per cent of the compute."""
STUCK = 0.3
"""A search that ends with a greater regret has found no good region."""
HALVES = {"tuning": TUNING, "confirmation": CONFIRMATION}


@dataclass(frozen=True, kw_only=True)
class Options:
    """Replay searches on learning curves that others recorded."""

    half: Literal["tuning", "confirmation"] = "tuning"
    """Tasks on which rules are chosen, or those that are kept to confirm a choice."""
    seeds: int = 10
    """Searches of each tool."""
    first: int = 0
    """The first seed."""
    tasks: tuple[str, ...] = ()
    """Names of tasks of the half; all of them if none are given."""
    workers: tuple[int, ...] = (1, 4, 16)
    """Numbers of workers."""
    searches: tuple[str, ...] = ()
    """Which ones, by name; all of them if none are given."""
    keep: Path = Path("runs/rivals.jsonl")
    """Searches that have been replayed, one a line; those that are here are not replayed again."""
    show: bool = False
    """Only print the tables of the last result."""


class FirstEpoch(Peer):
    """Random configurations are trained for one epoch, with half of the compute, then the best of them to the end."""

    def __init__(self, task: Problem, seed: int) -> None:
        self._task, self._rng = task, np.random.default_rng(seed)
        self._left = FULL_TRAININGS * task.epochs // 2
        self._looks: dict[int, float] = {}
        self._params: list[dict[str, Any]] = []
        self._to_the_end: set[int] = set()
        """Trials that are trained again, to the end; their first epoch is charged twice."""

    def suggest(self, trial: int) -> dict[str, Any]:
        if self._left > 0 or not self._looks:
            self._left -= 1
            seed = int(self._rng.integers(2**31))
            params = self._task.ask(optuna.create_study(sampler=_random(seed)).ask()) if trial else self._task.baseline
        else:
            best = max(self._looks, key=self._looks.__getitem__)
            del self._looks[best]
            self._to_the_end.add(trial)
            params = self._params[best]
        self._params.append(dict(params))
        return self._params[-1]

    def report(self, trial: int, *, epoch: int, value: float, last: bool) -> bool:
        if trial in self._to_the_end:
            return not last
        self._looks[trial] = value
        return False


def _random(seed: int) -> optuna.samplers.BaseSampler:
    return optuna.samplers.RandomSampler(seed=seed)


PEERS: dict[str, Callable[[Problem, int], Peer]] = {
    "Ray: OptunaSearch + ASHA": RayTune,
    "Ray: OptunaSearch + ASHA, first rung 3": lambda task, seed: RayTune(task, seed, first=3),
    "Ray: random + ASHA": lambda task, seed: RayTune(task, seed, sampler=_random(seed)),
    "Ray: random + ASHA, first rung 3": lambda task, seed: RayTune(task, seed, sampler=_random(seed), first=3),
    "Optuna: TPE + Hyperband": lambda task, seed: OptunaAlone(task, seed, pruner=hyperband(task)),
    "Optuna: GP + Hyperband": lambda task, seed: OptunaAlone(
        task, seed, pruner=hyperband(task), sampler=optuna.samplers.GPSampler(seed=seed, deterministic_objective=True)
    ),
    "Syne Tune: ASHA": lambda task, seed: SyneTune(task, seed, scheduler="ASHA"),
    "Syne Tune: BOHB": lambda task, seed: SyneTune(task, seed, scheduler="BOHB"),
    "SMAC": Smac,
    "DEHB": Dehb,
    "NePS: PriorBand": lambda task, seed: Neps(task, seed, algorithm="priorband", prior=True),
    "one epoch, then the best": FirstEpoch,
}
"""Of other tools, by name."""


def replay(task: PublicTask, search: str, *, workers: int, seed: int) -> list[float]:
    """The regrets of one search at a hundred moments."""
    until = horizon(task.epochs, workers)
    if search in OURS:
        run = make_run_of(task.space, name=task.name, metric="value", seed=seed, **OURS[search])
        outcome = simulate(run, task.space, task, slots=workers, until=until)
        course: Course = outcome.moments, [trial.params for trial in outcome.trials]
    else:
        peer = PEERS[search](task, seed)
        course = replay_peer(task, peer, workers=workers, until=until, decision_seconds=0.0)
    moments = np.linspace(0, until, NUM_MOMENTS + 1)[1:]
    known = task.best - task.median
    return [round(found / known, 4) for found in regret_at(task, course, list(moments))]


def horizon(epochs: int, workers: int) -> float:
    """The epochs that a search trains one after another."""
    return epochs * max(FULL_TRAININGS / workers, LEAST_ROUNDS)


def replay_all(options: Options) -> Iterator[tuple[Cell, list[float]]]:
    """Every search that is asked for with its regrets; seeds outermost, so that an early end has whole seeds."""
    tasks = {name: PublicTask(name) for name in options.tasks or HALVES[options.half]}

    def replayed(cell: Cell) -> list[float]:
        task, workers, search, seed = cell
        return replay(tasks[task], search, workers=workers, seed=seed)

    seeds = range(options.first, options.first + options.seeds)
    asked = itertools.product(seeds, options.workers, tasks, options.searches or (*OURS, *PEERS))
    cells = ((task, workers, search, seed) for seed, workers, task, search in asked)
    return keeping(cells, replayed, keep=options.keep)


def summarise(found: Mapping[Cell, Sequence[float]], *, ours: str, seed: int = 0) -> list[dict[str, Any]]:
    """What each tool reaches for every number of workers, over all tasks; intervals are 95 % over tasks and seeds.

    Returns:
        One dict per number of workers; under `searches`, by name: `rank` (1 the best, averaged over time), `behind` (by
        how much that is more than ours), `regret` after 10, 25, 50 and 100 % of the compute, `final` with its
        interval, `worse` (its final regret less ours), `stuck` (the share of searches that end above 0.3), `most_stuck`
        (the greatest such share of a task), `compute` (how many times more epochs it takes to its own final mean regret
        than ours).
    """
    results = []
    for workers in sorted({cell[1] for cell in found}):
        names = list(dict.fromkeys(cell[2] for cell in found if cell[1] == workers))
        tasks = sorted({cell[0] for cell in found if cell[1] == workers})
        seeds = sorted({cell[3] for cell in found if cell[1] == workers})
        regrets = np.array(
            [[[found[task, workers, name, seed] for name in names] for seed in seeds] for task in tasks]
        )  # (tasks, seeds, searches, moments)
        rng = np.random.default_rng(seed)
        compared = _compare(regrets, names, ours=names.index(ours), rng=rng)
        results.append({"workers": workers, "tasks": tasks, "seeds": len(seeds), "searches": compared})
    return results


def _compare(regrets: np.ndarray, names: Sequence[str], *, ours: int, rng: np.random.Generator) -> dict[str, Any]:
    num_tasks, num_seeds = regrets.shape[:2]
    ranks = rankdata(regrets, axis=2).mean(axis=3)
    drawn_tasks = rng.integers(num_tasks, size=(1000, num_tasks, 1))
    drawn_seeds = rng.integers(num_seeds, size=(1000, num_tasks, num_seeds))

    def mean(values: np.ndarray) -> tuple[float, float, float]:
        """The mean of values of each task and seed, with its interval."""
        drawn = values[drawn_tasks, drawn_seeds].mean(axis=(1, 2))
        return float(values.mean()), *np.percentile(drawn, (2.5, 97.5)).tolist()

    summary: dict[str, Any] = {}
    for number, name in enumerate(names):
        final = regrets[:, :, number, -1]
        pair = regrets[:, :, [ours, number]]
        factors = [
            compute_factor(pair[one, other].mean(axis=(0, 1)))
            for one, other in zip(drawn_tasks, drawn_seeds, strict=True)
        ]
        summary[name] = {
            "rank": mean(ranks[:, :, number]),
            "behind": mean(ranks[:, :, number] - ranks[:, :, ours]),
            "regret": [float(regrets[:, :, number, at - 1].mean()) for at in MOMENTS],
            "final": mean(final),
            "worse": mean(final - regrets[:, :, ours, -1]),
            "stuck": float((final > STUCK).mean()),
            "most_stuck": float((final > STUCK).mean(axis=1).max()),
            "compute": (compute_factor(pair.mean(axis=(0, 1))), *np.percentile(factors, (2.5, 97.5)).tolist()),
        }
    return summary


def tables(results: Sequence[Mapping[str, Any]]) -> str:
    """The tables as Markdown, a search in each row, the best mean rank first."""
    heads = (
        "search",
        "mean rank",
        "ranks behind ours",
        "regret at 10/25/50/100 %",
        "stuck, worst task",
        "compute, over ours",
    )
    lines = []
    for one in results:
        lines += [f"**{counted(one['workers'], 'worker')}** ({len(one['tasks'])} tasks, {one['seeds']} seeds)", ""]
        lines += ["| " + " | ".join(heads) + " |", "| --- " * len(heads) + "|"]
        ranked = sorted(one["searches"].items(), key=lambda item: item[1]["rank"][0])
        lines += ["| " + " | ".join(_row(name, search)) + " |" for name, search in ranked]
        lines.append("")
    return "\n".join(lines)


def _row(name: str, search: Mapping[str, Any]) -> list[str]:
    _, low, high = search["final"]
    course = "/".join(f"{regret:.2f}" for regret in search["regret"]) + f" ({low:.2f} to {high:.2f})"
    stuck = f"{search['stuck']:.0%}, {search['most_stuck']:.0%}"
    return [name, _of(search["rank"], 2), _of(search["behind"], 2), course, stuck, _of(search["compute"], 1)]


def _of(values: Sequence[float], digits: int) -> str:
    value, low, high = (f"{one:.{digits}f}" for one in values)
    return f"{value} ({low} to {high})"


def main() -> None:
    """Replay everything, print the tables and keep them."""
    options = parse(Options, sys.argv[1:], prog="python -m benchmarks.rivals")
    known = (*OURS, *PEERS)
    if wrong := sorted(set(options.searches) - set(known)):
        raise SystemExit(f"error: --searches must be some of {', '.join(known)}, got {wrong[0]!r}")
    if options.searches and "rungwise" not in options.searches:
        raise SystemExit("error: --searches must include rungwise, with which the others are compared")
    console, path = Console(width=180, highlight=False), RESULTS / f"rivals_{options.half}.json"
    if not options.show:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        logging.disable(logging.CRITICAL)
        results = summarise(dict(replay_all(options)), ours="rungwise")
        conditions = describe_conditions(
            seed=options.first, seeds=options.seeds, full_trainings=FULL_TRAININGS, least_rounds=LEAST_ROUNDS
        )
        write_result(path.stem, {"results": results, "conditions": conditions})
    console.print(tables(json.loads(path.read_text())["results"]), soft_wrap=True)


if __name__ == "__main__":
    main()
