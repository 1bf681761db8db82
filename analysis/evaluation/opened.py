"""What an evaluation does once the test set is open: answers, scores, explanations, figures and the exported network.

All of it is written aside and put in place together, final.json last: an evaluation that is killed, or for which the
disk is too small, leaves the one before as it was.
"""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from analysis.evaluation import record
from analysis.evaluation.counterparts import main_metric
from analysis.evaluation.files import num_figures, write_figures, write_tables
from analysis.evaluation.front import with_front
from analysis.evaluation.greedy import Pool, evaluate_ensemble, export_ensemble, pool_of_networks, pool_of_trials
from analysis.evaluation.job import Job
from analysis.evaluation.networks import Failure, Network, restore, restore_kept
from analysis.model.conformal import Conformal
from analysis.model.write import export_model, export_onnx, verify_export
from analysis.pages.final import refresh_page
from analysis.progress import Advance, say, step
from analysis.prose.card import model_card, restate_card
from analysis.prose.discussion import discuss
from analysis.scores.answers import Views, predict_rows
from analysis.scores.baselines import Baseline
from analysis.scores.metrics import Evaluation
from analysis.scores.metrics import evaluate as score
from analysis.scores.tables import BaselineAnswers, answer_baselines, describe_baselines, describe_table
from analysis.studies.criterion import BASELINE
from analysis.studies.openings import times_opened
from analysis.studies.results import EVALUATION, PARTS, FinalResults
from search.process.faults import fault_point
from search.process.text import counted
from search.storage.run import Run, data_of
from trainables.data.dataset import Split
from trainables.files.whole import replacing, write_whole
from trainables.training.training import Training

AUGMENTED: tuple[Views, ...] = ("flip", "six views")
"""The rows of a test-time augmentation."""


def restate(run_dir: Path) -> None:
    """Let page and model card of an earlier evaluation count the opening that has just been recorded."""
    page = run_dir / "report" / "index.html"
    with suppress(OSError, ValueError):  # there is none, or it cannot be written: the log counts
        write_whole(page, refresh_page(page.read_text(encoding="utf-8"), run_dir))
    restate_card(run_dir / "final")


def evaluate(
    job: Job,
    test: Split,
    networks: Sequence[Network],
    failures: Sequence[Failure],
    baselines: Sequence[Baseline],
    *,
    conformal: Conformal | None = None,
) -> FinalResults:
    """Measure, compare, draw and export; returns what final.json holds.

    Args:
        test: the sealed rows.
        networks: to be evaluated.
        failures: trainings that gave no network.
        baselines: fitted before.
        conformal: the intervals of the exported network.
    """
    say(f"the test set is open: {counted(len(test), 'row')}, {counted(len(networks), 'network')}")
    measured = _measure(job, test, networks)
    with step("predictions of the other methods", total=len(baselines)) as advance:
        answers = answer_baselines(baselines, test, advance=advance)
    fault_point("final", 2)
    with step("scores and intervals"):
        parts = _score(job, test, measured, answers)
    winner = measured[0]
    trained = [_restore(job, network) for network in winner.networks if job.dataset.columns]
    parts |= describe_table(job.dataset, test, trained, winner.outputs, metric=parts["metric"], seed=job.run.seed)
    results = FinalResults(**parts, failures=record.describe_failures(failures))
    results = replace(results, discussion=discuss(results, job.study, job.run))
    fault_point("final", 3)
    with replacing(job.final_dir, EVALUATION, parts=PARTS) as new:
        results = _write(job, test, measured, results, new, methods=answers, conformal=conformal)
    fault_point("final", 7)
    return results


def _write(
    job: Job,
    test: Split,
    measured: Sequence[record.Measured],
    results: FinalResults,
    new: Path,
    *,
    methods: Sequence[BaselineAnswers],
    conformal: Conformal | None,
) -> FinalResults:
    """Write all parts of the evaluation into a new folder; returns the results with the facts of the export."""
    given: dict[str, Any] = {"methods": methods, "conformal": conformal}
    with step("exporting the winner and checking it on every test row"):
        results = replace(results, export=_export(job, test, measured, results, new, **given))
    fault_point("final", 4)
    y, exported = test.y.numpy(), measured[0].outputs[0]
    with step("figures", total=num_figures(results)) as advance:
        write_figures(results, new / "figures", x=test.x.numpy(), y=y, exported=exported, advance=advance)
    fault_point("final", 5)
    write_tables(results, new / "tables", y=y, exported=exported, origin=test.origin, groups=test.groups)
    results.write(new)
    fault_point("final", 6)
    return results


def _score(
    job: Job, test: Split, measured: Sequence[record.Measured], answers: Sequence[BaselineAnswers]
) -> dict[str, Any]:
    """Networks and baselines on the same draws of rows."""
    y, winner, classes, seed = test.y.numpy(), measured[0], job.dataset.classes, job.run.seed
    found: dict[str, Evaluation] = score(
        y,
        {m.name: m.outputs for m in measured} | {a.name: a.outputs for a in answers},
        task=job.dataset.task,
        seed=seed,
        same_networks={m.name: m.contender.name for m in measured if m.augmented},
        asked=(job.run.metric,),
        groups=test.groups,
    )
    metric = main_metric(job.run.metric, found[winner.name])
    parts = record.describe_search(job, metric=metric, winner=winner.name, test=test)
    parts |= {"task": job.dataset.task, "image_shape": list(job.dataset.image_shape)}
    parts["ahead"] = job.ahead_of(winner.name)
    parts["conditions"] = record.describe_conditions(test, winner, job.dataset)
    parts["entrants"] = record.describe_entrants(measured, found, y, metric=metric, classes=classes, groups=test.groups)
    parts = with_front(job, parts, found)
    parts["few_seeds"] = record.few_seeds(found[winner.name], metric, found.get(BASELINE))
    parts["baselines"] = describe_baselines(answers, found, winner=winner.name, metric=metric)
    train_y = job.dataset.train.y.numpy()
    described = {"classes": classes, "train_y": train_y, "seed": seed, "groups": test.groups}
    return parts | record.describe_winner(y, winner, **described)


def _measure(job: Job, test: Split, networks: Sequence[Network]) -> list[record.Measured]:
    """The answers of all networks, contender by contender; the winner first, its augmented rows last."""
    groups = list(job.by_contender(networks))
    views = AUGMENTED if job.options.tta else ()
    with step("predictions of the networks", total=len(networks) + len(views) * len(groups[0])) as advance:
        measured = [_answers(job, test, group, advance=advance) for group in groups]
        return measured + [_answers(job, test, groups[0], advance=advance, views=each) for each in views]


def _answers(
    job: Job, test: Split, networks: Sequence[Network], *, advance: Advance, views: Views = ""
) -> record.Measured:
    answers = []
    for network in networks:
        answers.append(predict_rows(_restore(job, network), test.x, views=views))
        advance()
    return record.Measured(
        contender=networks[0].contender,
        networks=networks,
        outputs=np.stack([found.outputs for found in answers]),
        images_per_second=float(np.median([found.images_per_second for found in answers])),
        augmented=views,
    )


def _restore(job: Job, network: Network) -> Training:
    return restore(network, job.space, job.dataset, device=job.device)


def _export(
    job: Job,
    test: Split,
    measured: Sequence[record.Measured],
    results: FinalResults,
    new: Path,
    *,
    methods: Sequence[BaselineAnswers],
    conformal: Conformal | None,
) -> dict[str, Any]:
    """The network of the winner's first seed, verified on every test row."""
    winner, network, by_seed = measured[0], measured[0].networks[0], results.entrants[0].by_seed
    ensemble, more = {}, {}
    if job.options.ensemble:
        ensemble, more = _ensemble(job, test, measured, new, methods=methods, metric=results.metric)
    intervals = None if conformal is None else conformal.coverage(winner.outputs[0], test.y.numpy(), groups=test.groups)
    if conformal is not None:
        more = {**more, "conformal": {"sha256": conformal.write(new), **(intervals or {})}}
    facts = export_model(new, _restore(job, network), facts=_facts(job, network, results) | more)
    exported: dict[str, Any] = {"seed": network.seed, "sha256": facts["sha256"], "onnx": None}
    exported |= {"intervals": intervals} if intervals else {}
    exported |= {"ensemble": ensemble} if ensemble else {}
    results = replace(results, export=exported)
    (new / "README.md").write_text(model_card(results, facts, opened=times_opened(job.final_dir, concluding=True)))
    exported["verified"] = verify_export(new, test.x, winner.outputs[0], device=job.device)
    if "accuracy" in by_seed:
        exported["accuracy"] = by_seed["accuracy"][0]
    if job.options.onnx:
        exported["onnx"] = export_onnx(new, test.x)
    return exported


def _ranges(run: Run) -> dict[str, Any]:
    """The ranges with which the parameters of the network are read; nothing where they are those of the space."""
    found = {"ranges": run.ranges, "replaced": run.replaced}
    return {name: json.loads(json.dumps([asdict(one) for one in ranges])) for name, ranges in found.items() if ranges}


def _facts(job: Job, network: Network, results: FinalResults) -> dict[str, Any]:
    """What model.json says of the exported network beside what follows from it."""
    return {
        "run": job.run.name,
        "space": job.run.space,
        **_ranges(job.run),
        "params": network.contender.params,
        "contender": network.contender.name,
        "seed": network.seed,
        "epochs": network.stop_epoch,
        "schedule_epochs": network.epochs,
        "versions": results.versions,
        "commit": results.commit,
        "created": results.created,
        "metrics": {name: values[0] for name, values in results.entrants[0].by_seed.items()},
    }


def _ensemble(
    job: Job,
    test: Split,
    measured: Sequence[record.Measured],
    new: Path,
    *,
    methods: Sequence[BaselineAnswers],
    metric: str,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What final.json and model.json say of the ensemble, whose weights are written."""
    pool = _pool(job, test, measured)
    told_of = {"task": job.dataset.task, "metric": metric, "seed": job.run.seed}
    members, told = evaluate_ensemble(pool, test, measured[0].outputs[0], methods=methods, **told_of)
    return {"of": job.options.ensemble, **told}, {"ensemble": export_ensemble(new, members, pool.restore)}


def _pool(job: Job, test: Split, measured: Sequence[record.Measured]) -> Pool:
    """The networks that can be members of the ensemble."""
    if job.options.ensemble == "networks":
        return pool_of_networks(measured, job.dataset, lambda network: _restore(job, network))
    searched = data_of(job.run, job.space)

    def restored(network: Network) -> Training:
        return restore_kept(network, job.run, job.space, searched, device=job.device)

    return pool_of_trials(job.kept, searched, test, restored)
