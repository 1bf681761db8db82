"""Replayed searches: what is charged, what counts as found, and what the tables say of it."""

import itertools
import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.grids import EPOCHS, GRIDS
from benchmarks.kept import comparable
from benchmarks.peers import PEERS, Peer
from benchmarks.regret import NUM_MOMENTS, compute_factor, summarise, tables
from benchmarks.replay import (
    Options,
    Recorded,
    make_run,
    regret_at,
    replay_all,
    replay_ours,
    replay_peer,
)
from search.forecast.simulate import simulate

MINE = "rungwise"
BASELINE = GRIDS["digits"].baseline


@pytest.fixture(scope="module")
def digits() -> Recorded:
    return Recorded("digits")


@pytest.mark.parametrize("grid", GRIDS)
def test_every_configuration_is_recorded_to_the_end_or_to_its_divergence(grid: str):
    curves = Recorded(grid)
    finals = [curves.final(params) for params in curves.grid.configurations()]
    assert max(finals) == curves.best < 1
    for params in curves.grid.configurations():
        numbers = [not np.isnan(curves.value_at(params, epoch)) for epoch in range(1, EPOCHS + 1)]
        assert numbers == sorted(numbers, reverse=True), "nothing comes after a divergence"
    assert np.mean([curves.epoch_seconds(params) for params in curves.grid.configurations()]) == pytest.approx(5)


def test_a_configuration_is_worth_the_mean_of_its_seeds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    grid = GRIDS["digits"]
    rows = [
        {**params, "macs": 7, "seed": seed, "epoch": epoch, "value": 0.4 + seed / 10, "seconds": 1.0}
        for seed in range(3)
        for params in grid.configurations()[: 1 if seed == 2 else None]
        for epoch in range(1, EPOCHS + 1 - seed * (params == grid.baseline))
    ]
    monkeypatch.setattr("benchmarks.replay.DATA", tmp_path)
    pd.DataFrame(rows).to_parquet(tmp_path / "digits.parquet")
    curves = Recorded("digits")
    assert curves.best == pytest.approx(0.45), "the third seed is not there for all"
    assert curves.value_at(grid.baseline, EPOCHS - 1) == pytest.approx(0.45)
    assert np.isnan(curves.value_at(grid.baseline, EPOCHS)), "one of its seeds diverged"
    assert curves.final(grid.baseline) == 0
    assert curves.examine(grid.make(grid.baseline)).attrs == {"macs": 7}


def test_a_tool_is_charged_for_its_thinking_and_for_every_epoch(digits: Recorded):
    class Slow(Peer):
        def suggest(self, trial: int) -> dict[str, object]:
            begin = time.process_time()
            while time.process_time() < begin + 0.05:
                pass
            return dict(BASELINE)

        def report(self, trial: int, *, epoch: int, value: float, last: bool) -> bool:
            return not last

    moments, params = replay_peer(digits, Slow(), workers=2, until=300.0)
    epoch_seconds = digits.epoch_seconds(BASELINE)
    assert len(params) == 2 * (1 + int(300 / (epoch_seconds * EPOCHS)))
    first, second = moments[:2]
    assert first[0] == pytest.approx(epoch_seconds + 0.05, abs=0.03)
    assert second[0] == pytest.approx(epoch_seconds + 0.1, abs=0.06), "one asks while the other waits"


def test_the_incumbent_is_the_best_value_seen_and_its_regret_that_of_the_full_budget(digits: Recorded):
    other = {**BASELINE, "lr_level": 0}
    moments = [(1.0, 1, 20), (2.0, 0, 1), (3.0, 0, EPOCHS)]
    course = (moments, [dict(BASELINE), other])
    found = regret_at(digits, course, [0.5, 1.5, 2.5, 3.5])
    worse, better = digits.best - digits.final(other), digits.best - digits.final(BASELINE)
    assert found == pytest.approx([digits.best, worse, worse, better], abs=1e-6)


@pytest.mark.parametrize("name", [name for name in PEERS if "Syne" not in name and "random" not in name])
def test_a_peer_starts_with_the_baseline_unless_its_documentation_would_not(name: str, digits: Recorded):
    moments, params = replay_peer(digits, PEERS[name](digits.grid, 1), workers=2, until=400.0)
    assert (params[0] == BASELINE) == ("documented" not in name)
    assert {tuple(given) for given in params} == {tuple(BASELINE)}
    assert all(later[0] >= earlier[0] for earlier, later in itertools.pairwise(moments))


def test_our_own_search_is_the_same_whenever_it_is_replayed_where_thinking_costs_nothing(digits: Recorded):

    runs = [simulate(make_run("digits", seed=4), digits.grid.space, digits, slots=4, until=700.0) for _ in range(2)]
    assert runs[0].moments == runs[1].moments
    params = [tuple(sorted(trial.params.items())) for trial in runs[0].trials]
    assert len(set(params)) == len(params) > 20, "no configuration is tried twice"


def test_a_search_that_was_replayed_is_read_and_not_replayed_again(tmp_path: Path):
    search = "Optuna: TPE + Hyperband"
    options = Options(seeds=1, grids=("digits",), workers=(16,), searches=(search,), keep=tmp_path / "kept.jsonl")
    ((cell, regrets),) = replay_all(options)
    assert cell == ("digits", 16, search, 0)
    assert len(regrets) == NUM_MOMENTS
    options.keep.write_text(json.dumps([cell, [0.5] * NUM_MOMENTS]) + "\n")
    assert list(replay_all(options)) == [(cell, [0.5] * NUM_MOMENTS)]


def test_only_seeds_that_all_searches_have_are_compared():
    found = {("digits", 1, name, seed): [0.1] for name, seeds in (("a", (0, 1, 2)), ("b", (1, 2))) for seed in seeds}
    other = {("digits", 4, "a", 0): [0.2]}
    assert {cell[3] for cell in comparable(found)} == {1, 2}
    assert comparable({**found, **other})["digits", 4, "a", 0] == [0.2]


def test_a_tool_that_takes_twice_the_compute_has_the_factor_two():
    falling = np.linspace(1, 0.01, NUM_MOMENTS)
    ours = np.minimum.accumulate(np.concatenate([falling[1::2], np.full(NUM_MOMENTS // 2, 0.01)]))
    assert compute_factor(np.array([ours, falling])) == pytest.approx(2, abs=0.05)
    assert compute_factor(np.array([falling, ours])) == pytest.approx(0.5, abs=0.02)
    assert compute_factor(np.array([falling + 1, falling])) == 1, "where ours never gets there the end stands for it"


def test_ranks_count_every_moment_alike_and_the_table_has_the_best_first():
    found = {}
    for seed in range(6):
        for name, regret in (("a", 0.3), (MINE, 0.1), ("b", 0.2)):
            found["digits", 4, name, seed] = [0.9, *[regret + seed / 100] * (NUM_MOMENTS - 1)]
    (result,) = summarise(found, ours=MINE)
    ranks = {name: row["rank"][0] for name, row in result["searches"].items()}
    assert ranks[MINE] == pytest.approx(1.01)
    assert ranks["a"] == pytest.approx(2.99)
    assert result["searches"]["a"]["behind"][0] == pytest.approx(2.99 - 1.01)
    rows = [line for line in tables([result]).splitlines() if line.startswith("| ")][2:]
    assert [row.split(" | ")[0] for row in rows] == [f"| {MINE}", "| b", "| a"]


def test_a_course_of_ours_begins_with_the_baseline(digits: Recorded):
    moments, params = replay_ours(digits, grid="digits", seed=0, workers=2, until=100.0)
    assert params[0] == BASELINE
    assert moments[0][1] in {0, 1}
