"""The final evaluation of code of the user's own: its `test(model, run)` on every network, scores, and final.json."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from analysis.evaluation import record
from analysis.evaluation.counterparts import (
    counterparts,
    given_name,
    is_counterpart,
    main_metric,
    on_scale,
    scale_to_test,
)
from analysis.evaluation.files import num_figures, write_figures, write_tables
from analysis.evaluation.front import with_front
from analysis.evaluation.job import Job
from analysis.evaluation.networks import Failure, Network, rebuild
from analysis.progress import Advance, say, step
from analysis.prose.discussion import discuss
from analysis.scores.metrics import Evaluation, by_seeds
from analysis.scores.metrics import evaluate as score
from analysis.scores.predictions import Answered, Predictions, settle, settle_numbers, with_all_classes
from analysis.scores.score import own_scores
from analysis.studies.criterion import BASELINE
from analysis.studies.results import EVALUATION, PARTS, FinalResults
from analysis.studies.trials import read_trials
from search.process.faults import fault_point
from search.process.text import counted
from trainables.files.whole import replacing
from trainables.trainable import close

Found = list[Answered | dict[str, float]]


def evaluate(job: Job, networks: Sequence[Network], failures: Sequence[Failure]) -> FinalResults:
    """Test every network, compare, draw; returns what final.json holds.

    Raises:
        ValueError: what `test` returns cannot be scored; the line says why.
        Exception: what `test` raised.
    """
    say(f"the test set is open: {counted(len(networks), 'network')}")
    with step("test(model, run)", total=len(networks)) as advance:
        tested = _tested(job, networks, advance=advance)
    fault_point("final", 2)
    with step("scores and intervals"):
        results = FinalResults(**_score(job, tested), failures=record.describe_failures(failures))
    results = replace(results, discussion=discuss(results, job.study, job.run))
    fault_point("final", 3)
    with replacing(job.final_dir, EVALUATION, parts=PARTS) as new:
        _write(tested[0], results, new)
    return results


def _tested(job: Job, networks: Sequence[Network], *, advance: Advance) -> list[tuple[list[Network], Found]]:
    """What `test` returns for the networks, contender by contender; the winner first."""
    groups, found = list(job.by_contender(networks)), []
    for network in (network for members in groups for network in members):
        found.append(_test(job, network))
        advance()
    alike = iter(_alike(found))
    return [(members, [next(alike) for _ in members]) for members in groups]


def _test(job: Job, network: Network) -> Answered | dict[str, float]:
    assert job.space.test is not None
    training = rebuild(network, job.space, job.dataset, device=job.device)
    try:
        given = job.space.test(training.result(), training.run)
    finally:
        close(training)
    if isinstance(given, Predictions):
        return settle(given)
    if isinstance(given, Mapping):
        return settle_numbers(given)
    kind = type(given).__name__
    raise ValueError(f"test(model, run) must return rw.Predictions(...) or numbers by name, got a {kind}")


def _alike(found: Found) -> Found:
    """What `test` returned, with the same classes for all networks.

    Raises:
        ValueError: it is of different kinds, or about different rows.
    """
    if len({type(one) for one in found}) > 1:
        raise ValueError("test(model, run) returned predictions for some networks and numbers for others")
    found = [*with_all_classes([one for one in found if isinstance(one, Answered)])] or found
    first = found[0]
    for other in found[1:]:
        if isinstance(first, Answered) and isinstance(other, Answered):
            same = first.kind == other.kind and first.classes == other.classes and np.array_equal(first.y, other.y)
            if not same:
                raise ValueError(
                    "test(model, run) gave different rows (y_true) for two networks; test all of them on the same "
                    "rows, in the same order"
                )
        elif isinstance(first, dict) and isinstance(other, dict) and set(first) != set(other):
            raise ValueError(
                f"test(model, run) gave different numbers for two networks: {sorted(set(first) ^ set(other))}"
            )
    return found


def _score(job: Job, tested: Sequence[tuple[list[Network], Found]]) -> dict[str, Any]:
    measured = [_measured(networks, found) for networks, found in tested]
    winner, first = measured[0], tested[0][1][0]
    found = _evaluations(job, tested, measured)
    metric = main_metric(job.run.metric, found[winner.name])
    same = is_counterpart(metric, job.run.metric)
    factor = scale_to_test(read_trials(job.study, job.run), metric) if same else None
    measured = [replace(m, contender=on_scale(m.contender, factor)) for m in measured]
    sign = job.run.objective.sign if same else None
    shown = first.classes if isinstance(first, Answered) and first.kind == "classification" else ()
    y = first.y if isinstance(first, Answered) else np.zeros(0)
    results = record.describe_search(job, metric=metric, winner=winner.name)
    results |= {"own": True, "task": first.kind if isinstance(first, Answered) else "numbers", "sign": sign}
    if not isinstance(first, Answered):
        results["intervals"] = "Student's t over seeds"
    results["ahead"] = job.ahead_of(winner.name)
    results["few_seeds"] = record.few_seeds(found[winner.name], metric, found.get(BASELINE))
    results["conditions"] = _conditions(winner, first)
    results["entrants"] = record.describe_entrants(measured, found, y, metric=metric, classes=shown, sign=sign)
    results = with_front(job, results, found)
    if isinstance(first, Answered) and first.kind != "multilabel":
        parts = record.describe_winner(y, winner, classes=shown, train_y=None, seed=job.run.seed)
        results |= {
            name: part for name, part in parts.items() if first.scored or name not in ("calibration", "mistakes")
        }
    return results


def _measured(networks: list[Network], found: Found) -> record.Measured:
    outputs = [one.outputs if isinstance(one, Answered) else np.array([one[n] for n in sorted(one)]) for one in found]
    return record.Measured(
        contender=networks[0].contender, networks=networks, outputs=np.stack(outputs), images_per_second=0.0
    )


def _evaluations(
    job: Job, tested: Sequence[tuple[list[Network], Found]], measured: Sequence[record.Measured]
) -> dict[str, Evaluation]:
    first = tested[0][1][0]
    if not isinstance(first, Answered):
        every = [one for _, found in tested for one in found if isinstance(one, dict)]
        names = {name: given_name(name, [one[name] for one in every]) for name in first}
        numbers = {
            m.name: {names[name]: np.array([one[name] for one in found if isinstance(one, dict)]) for name in first}
            for m, (_, found) in zip(measured, tested, strict=True)
        }
        return by_seeds(numbers, seed=job.run.seed)
    asked = counterparts(job.run.metric)
    outputs = {m.name: m.outputs for m in measured}
    found = score(first.y, outputs, task=first.kind, seed=job.run.seed, asked=asked)
    unsure = () if first.scored else ("log_loss", "top2_accuracy", "auc", *own_scores("classification"))
    return {name: evaluation.without(unsure) for name, evaluation in found.items()}


def _conditions(winner: record.Measured, first: Answered | dict[str, float]) -> dict[str, Any]:
    """The `conditions` of final.json: what is known of them where Rungwise has not loaded the data."""
    last = winner.networks[0].trial.user_attrs["history"][-1]
    return {
        "epochs": winner.networks[0].stop_epoch,
        "seeds": len(winner.networks),
        "test_rows": len(first.y) if isinstance(first, Answered) else None,
        "device": last.get("device", "cpu"),
    }


def _write(winner: tuple[list[Network], Found], results: FinalResults, new: Path) -> None:
    first = winner[1][0]
    y, outputs = (first.y, first.outputs) if isinstance(first, Answered) else (np.zeros(0), np.zeros(0))
    with step("figures", total=num_figures(results)) as advance:
        write_figures(results, new / "figures", x=np.zeros(0), y=y, exported=outputs, advance=advance)
    scored = isinstance(first, Answered) and first.scored
    write_tables(results, new / "tables", y=y, exported=outputs, scored=scored)
    results.write(new)
    fault_point("final", 6)
