"""The preview of a search (--dry-run): first configurations with their sizes, the rungs, and a forecast of the time."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from optuna import Study
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from search.forecast.begun import Begun
from search.forecast.calibration import CALIBRATION_SECONDS
from search.forecast.forecast import BLIND, Ahead, Forecast, Percentiles, first_draws, make_forecast
from search.forecast.retraining import asked, cost
from search.process.allotted import load
from search.process.arguments import command
from search.process.silence import doing
from search.process.text import counted, describe_saving, duration, printable
from search.runtime.resources import Resources
from search.scheduling.baseline import describe_reduction
from search.scheduling.configurations import at_most, describe_few
from search.scheduling.constraints import Examine
from search.storage.run import Run
from search.storage.trials import is_repeat
from spaces.objectives import DEFAULT_GOALS
from spaces.ranges import describe_changes
from spaces.space import Space
from trainables.data.dataset import Dataset
from trainables.data.gaps import missing_shares
from trainables.data.split import describe_input, describe_split
from trainables.files.whole import write_whole
from trainables.sources.catalogue import FOLDER

NUM_SHOWN = 9
_COSTS = {"macs": "multiply-adds"}
NUM_NAMED = 12
RARE = 0.4
"""A class is rare if it has less than this share of the rows that it would have if all classes had equally many."""
FEW_ROWS = 100
"""With fewer validation rows than this, an accuracy is uncertain by about ten points."""
_DECISIVE = """space fingerprint dataset_checksum train_size validation_fraction epochs min_epochs reduction_factor
pruner sampler seed trials max_weights max_macs slots cpus_per_trial gpus_per_trial"""


def describe(dataset: Dataset) -> str:
    """What was detected in the data, in one line: the classes of images, or the columns of a table."""
    return describe_table(dataset) if dataset.columns else describe_images(dataset)


def describe_images(dataset: Dataset) -> str:
    """How many classes and images of each there are, without the test rows, and what the images are like."""
    channels, height, width = dataset.image_shape
    y = torch.cat([dataset.train.y, dataset.validation.y])
    counts = torch.bincount(y, minlength=dataset.num_classes).tolist()
    named = [f"{name}: {count:,}" for name, count in zip(dataset.classes, counts, strict=True)]
    names = ", ".join(named[:NUM_NAMED]) + ", ..." * (dataset.num_classes > NUM_NAMED)
    return printable(
        f"{dataset.num_classes} classes ({names}); {'grey' if channels == 1 else 'colour'} images of {height}x{width}"
        " pixels"
    )


def describe_table(dataset: Dataset) -> str:
    """What is predicted from what."""
    kinds = [*{column.reads: column.reads_as for column in dataset.columns}.values()]
    found = f"{kinds.count('number')} of numbers, {kinds.count('category')} of categories"
    found += f", {kinds.count('text')} of text" * ("text" in kinds)
    shares = missing_shares(dataset.train.x.numpy(), dataset.columns)
    gaps = {name: share for name, share in sorted(shares.items(), key=lambda item: -item[1]) if share > 0}
    named = ", ".join(f"{name} {max(0.1, 100 * share):.1f} %" for name, share in list(gaps.items())[:NUM_NAMED])
    named = f" (missing: {named}{', ...' * (len(gaps) > NUM_NAMED)})" if gaps else ""
    classes = f" of {dataset.num_classes} classes" if dataset.classes else ""
    return printable(
        f"predicting {dataset.target} ({dataset.task}{classes}) from {len(kinds)} columns: {found},"
        f" {len(gaps)} with gaps{named}"
    )


def describe_columns(dataset: Dataset) -> str:
    """The detected type of each column, in one line: `numbers: size, age; categories: city (4)`."""
    by_kind = {
        "numbers": [c.name for c in dataset.columns if c.reads_as == "number" and not c.dates],
        "dates": [column.name for column in dataset.columns if column.dates],
        "categories": [f"{c.name} ({len(c.categories)})" for c in dataset.columns if c.kind == "category"],
        "texts": list(dict.fromkeys(c.text for c in dataset.columns if c.text)),
    }
    shown = [
        f"{kind}: {', '.join(names[:NUM_NAMED])}" + (f" and {len(names) - NUM_NAMED} more" * (len(names) > NUM_NAMED))
        for kind, names in by_kind.items()
        if names
    ]
    return printable("; ".join(shown))


def show_preview(
    run: Run, space: Space, dataset: Any, resources: Resources, *,
    examine: Examine, console: Console, study: Study | None = None,
) -> tuple[Forecast | None, list[Ahead]]:  # fmt: skip
    """Print the first few trials with their sizes, then how far trials will get and how long it takes.

    Args:
        study: of the search that would be resumed, opened for reading; None for a new one.

    Returns:
        The forecast, to be kept for the run that follows, and what is trained first; None if nothing is left to train.
    """
    begun = None if study is None else Begun.read(study, run, space, examine)
    draws = first_draws(run, space, examine, number=NUM_SHOWN, begun=begun)
    _show_subject(run, space, dataset, console=console)
    reduction = describe_reduction(run, space) if begun is None else ""
    for line in (*describe_changes(space), *describe_few(run, space), *asked(run), *filter(None, [reduction])):
        console.print(escape(printable(line)), soft_wrap=True)
    if begun is not None:
        console.print(begun.describe(run, is_over=not draws), soft_wrap=True)
        if not draws:
            return None, []
    console.print()
    _show_configurations(run, space, draws, examine, console=console)
    if begun is not None and run.sampler not in BLIND:
        console.print("(as drawn now; what is learnt from each trial changes those after it)")
    run = at_most(run, space) if begun is None else run
    forecast = _measure(run, space, dataset, resources, examine=examine, console=console, begun=begun)
    _show_forecast(run, forecast, resources, console=console, begun=begun)
    return forecast, draws


def _show_subject(run: Run, space: Space, dataset: Any, *, console: Console) -> None:
    if space.own:
        console.print(f"{escape(run.subject)}: {run.metric}, to {run.direction}", soft_wrap=True)
    else:
        total = len(dataset.train) + len(dataset.validation)
        rows = f"{len(dataset.train):,} training rows, {len(dataset.validation):,} held out"
        rows = f"{total:,} rows in {len(dataset.folds)} folds" if dataset.folds else rows
        console.print(f"{escape(run.space)} on {run.dataset}: {rows}", soft_wrap=True)
        show_data(dataset, console=console)


def _measure(
    run: Run, space: Space, dataset: Any, resources: Resources, *,
    examine: Examine, console: Console, begun: Begun | None,
) -> Forecast:  # fmt: skip
    busy = f", longer because other programs are running ({load()})" if load() else ""
    measured = "one epoch of each trial that fits into" if space.own else "the speed of this machine, about"
    slow = "" if space.own else ", up to a minute for large networks"
    console.print(f"\nmeasuring {measured} {CALIBRATION_SECONDS + 2:.0f} seconds{slow}{busy} ...")
    with doing("measuring the speed and simulating searches"):
        return make_forecast(run, space, dataset, resources, examine=examine, begun=begun)


def _show_forecast(
    run: Run, forecast: Forecast, resources: Resources, *, console: Console, begun: Begun | None = None
) -> None:
    total = run.trials if begun is None else begun.num_in_all
    for rung, count in zip(run.rungs, forecast.reaching, strict=True):
        already = 0 if begun is None else sum(rung in t.intermediate_values for t in begun.trials if not is_repeat(t))
        said = "" if begun is None else f", {already} of them already"
        console.print(f"  about {count:.0f} of {total} trials are trained to epoch {rung}{said}")
    saved = describe_saving(forecast.epochs[1], full=run.trials * run.epochs) if begun is None else " are left"
    again = ", those of repeats included" * (run.repeats > 1)
    console.print(f"  about {forecast.epochs[1]:,.0f} epochs{saved}{again}")
    first = "the baseline" if run.baseline and begun is None else "the first trial"
    console.print(
        f"  an epoch takes {first} {forecast.baseline_epoch_seconds:.2g} s, a random configuration"
        f" {forecast.draw_epoch_seconds[1]:.2g} s ({forecast.draw_epoch_seconds[0]:.2g} to"
        f" {forecast.draw_epoch_seconds[2]:.2g}; {forecast.num_measured} were measured)",
        soft_wrap=True,
    )
    if forecast.failures:
        tried = forecast.num_measured + len(forecast.failures)
        console.print(
            f"  {len(forecast.failures)} of {counted(tried, 'configuration')} could not be trained, the first with"
            f" {escape(printable(forecast.failures[0]))}",
            soft_wrap=True,
        )
    console.print(
        f"\nforecast: {'at most ' * bool(run.until_gain)}{in_words(forecast.wall_seconds)} with"
        f" {resources.at_once}, {in_words(forecast.trial_seconds)} of training",
        style="bold",
    )
    if run.until_gain:
        console.print(
            f"no new trial begins once less than {run.until_gain:g} is expected to be gained (--until-gain)",
            soft_wrap=True,
        )
    if run.questions:
        each = forecast.trial_seconds[1] / max(1.0, forecast.epochs[1])
        console.print(
            f"then the answer, with {command('analysis.ask')}: {cost(run, epoch_seconds=each)}", soft_wrap=True
        )


def show_data(dataset: Dataset, *, console: Console) -> None:
    """Print what the data are, and the notes about their files."""
    console.print(escape(describe(dataset)), soft_wrap=True)
    if dataset.columns:
        console.print(escape(describe_columns(dataset)), soft_wrap=True)
    if not dataset.split.is_random or dataset.folds or dataset.name in ("csv", FOLDER):
        console.print(escape(printable(describe_rule(dataset))), soft_wrap=True)
    if 0 < dataset.num_judged < FEW_ROWS:
        rows = f"{dataset.num_judged} validation rows"
        console.print(f"note: trials are compared on only {rows}, so small differences are chance", soft_wrap=True)
    if imbalance := describe_imbalance(dataset):
        console.print(escape(printable(f"note: {imbalance}")), soft_wrap=True)
    for note in dataset.notes:
        console.print(escape(printable(f"note: {note}")), soft_wrap=True)


def describe_imbalance(dataset: Dataset) -> str:
    """What accuracy hides where a class is rare, and the metrics that do not; empty for other data and metrics."""
    if not dataset.classes or dataset.metric not in ("", "accuracy"):
        return ""
    counts = dataset.train.y.bincount(minlength=dataset.num_classes)
    rarest = int(counts.argmin())
    share = float(counts[rarest]) / max(1, len(dataset.train))
    if share * dataset.num_classes >= RARE:
        return ""
    return (
        f"the rarest class ({dataset.classes[rarest][:40]}) has {100 * share:.1f} % of the training rows, so accuracy"
        " says little about it; --metric balanced_accuracy, macro_f1 or auc counts it like the others"
    )


def describe_rule(dataset: Dataset) -> str:
    """How the rows are split, and whether the column that decides it is an input."""
    rule = dataset.split
    column = describe_input(rule, is_input=rule.by in [column.reads for column in dataset.columns])
    text = describe_split(rule, images=not dataset.columns, apart=dataset.apart, folds=max(1, len(dataset.folds)))
    parts = [text, *([column] if dataset.columns and column else [])]
    return f"split: {'; '.join(parts)}"


def in_words(seconds: Percentiles) -> str:
    """`14m05s (11m20s to 19m02s)`."""
    low, middle, high = map(duration, seconds)
    return f"{middle} ({low} to {high})"


def keep_forecast(runs_dir: Path, run: Run, forecast: Forecast) -> None:
    """Store the forecast for a later run with the same search on the same machine."""
    path = _path(runs_dir, run)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(asdict(forecast), indent=1) + "\n")


def kept_forecast(runs_dir: Path, run: Run) -> dict[str, Any] | None:
    """The forecast that a preview left for such a run, if there is one."""
    try:
        return json.loads(_path(runs_dir, run).read_text())
    except (OSError, ValueError):
        return None


def _path(runs_dir: Path, run: Run) -> Path:
    decisive = {name: getattr(run, name) for name in _DECISIVE.split()} | {"host": run.machine.get("host")}
    if run.fixed or run.questions:
        decisive |= {"fixed": run.fixed, "questions": [asdict(question) for question in run.questions]}
    if run.ranges:
        decisive["ranges"] = [one.option for one in run.ranges]
    if run.priors:
        decisive["priors"] = [one.option for one in run.priors]
    if run.earlier:
        decisive["earlier"] = [str(one) for one in run.earlier]
    if run.second is not None:
        decisive["second"] = run.second.option
    if not run.split.is_random:
        decisive["split"] = run.split.option
    if run.folds > 1:
        decisive["folds"] = run.folds
    if run.metric not in DEFAULT_GOALS.values():
        decisive["metric"] = run.metric
    if run.decided is not None:
        decisive["types"] = dict(run.decided.types)
    return runs_dir / ".forecasts" / f"{hashlib.sha256(json.dumps(decisive).encode()).hexdigest()[:16]}.json"


def _show_configurations(run: Run, space: Space, draws: Sequence[Ahead], examine: Examine, *, console: Console) -> None:
    table = Table(box=None, pad_edge=False)
    costs = [examine(space.decode(one.params)).attrs for one in draws]
    names = list(dict.fromkeys(name for found in costs for name in found))
    for name in ("configuration", *(_COSTS.get(name, name) for name in names)):
        table.add_column(escape(name), justify="left" if name == "configuration" else "right")
    for one, attrs in zip(draws, costs, strict=True):
        shown = " ".join(f"{k}={v:.3g}" if isinstance(v, float) else f"{k}={v}" for k, v in one.params.items())
        name = f"trial {one.trial}" + ", the baseline" * (one.params == run.baseline)
        name += f", after epoch {one.reported}" * (one.reported > 0)
        table.add_row(escape(f"{name}: {shown}"), *(f"{attrs[cost]:,}" if cost in attrs else "-" for cost in names))
    console.print(table)
