"""From options to a run: a new folder with run.json and an empty study, or an old one opened again."""

import math
import shlex
import sys
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.execution.loggers import check_logger
from search.process.arguments import words_of
from search.process.secrets import redact_command
from search.session import config, questions
from search.session.options import FIXED, Options
from search.session.rules import check_repeats, check_until_gain, parse_count, parse_types
from search.storage.folder import check_exists
from search.storage.run import KeptEpoch, Run, read_run
from search.storage.source_code import canonical, describe_source
from search.storage.study import check_database
from spaces import split_name
from spaces.fingerprint import fingerprint
from spaces.origin import is_own, short_name
from spaces.ranges import as_stated
from spaces.variants import describe_variant, variant_for_classes, variant_for_numbers
from trainables.data.options import ImageOptions, TableOptions
from trainables.data.split import SplitRule
from trainables.sources.catalogue import FOLDER, size_of

if TYPE_CHECKING:  # imports torch, and an old run is checked before that
    from spaces.space import Space

ROWS_OF_A_TRAINING = 32_000
"""Training rows that a full training sees at least, counted as often as it sees them: 250 steps of 128 rows."""
MOST_PASSES = 50
"""Passes of an epoch at most."""
_BOUNDS = "max_weights", "max_macs"


def stated_data(options: Options, space: "Space") -> dict[str, Any]:
    """What the options say of the user's own data, as `load_data` takes it."""
    images = options.images or ImageOptions() if space.dataset == FOLDER else options.images
    return {"table": options.table, "images": images, "split": options.rule, "folds": options.folds}


def decided_data(options: Options, dataset: Any) -> dict[str, Any]:
    """The fields of a run that say how the user's own data are read, so that every later reading is the same."""
    return {
        "table": options.table,
        "decided": decide_table(options.table, dataset),
        "images": getattr(dataset, "images", None),
        "split": options.rule,
        "folds": max(1, len(getattr(dataset, "folds", ()))),
    }


def decide_table(table: TableOptions | None, dataset: Any) -> TableOptions | None:
    """The options with the task and the types that were found in the table, so that every later reading is the same."""
    if table is None:
        return None
    return replace(table, task=dataset.task, types={column.reads: column.reads_as for column in dataset.columns})


def keep_epoch(options: Options, space: "Space") -> KeptEpoch:
    """The epoch that trials keep: as stated, or the best one for data of the user's own that Rungwise reads.

    Raises:
        ValueError: the user's own code trains, and decides this itself.
    """
    if space.own and options.keep_epoch is not None:
        raise ValueError("--keep-epoch is for built-in networks; your training code decides what it keeps")
    is_own_data = not space.own and size_of(space.dataset) is None
    return options.keep_epoch or ("best" if is_own_data else "last")


def asked_run(options: Options, space: "Space", dataset: Any, **settled: Any) -> Run:
    """A new run with these options.

    Args:
        settled: fields of the run that follow neither from the options nor from the space or the data.
    """
    objective = space.objective("" if space.own else dataset.task, metric=options.metric)
    return Run(
        space=canonical(options.space),
        fingerprint=fingerprint(as_stated(space)),
        dataset=space.dataset,
        dataset_checksum=dataset.checksum,
        data_dir=str(options.data_dir),
        train_size=options.train_size,
        validation_fraction=space.validation_fraction,
        seed=options.seed,
        reduction_factor=options.reduction_factor,
        pruner=options.pruner,
        sampler=options.sampler,
        metric=objective.metric,
        direction=objective.direction,
        trials=options.trials,
        keep_epoch=keep_epoch(options, space),
        passes=1 if space.own else dataset.passes,
        baseline=dict(space.baseline),
        **decided_data(options, dataset),
        **_limits(options),
        study_url=options.study_url,
        storage=options.storage,
        keep_best=options.keep_best,
        env=tuple(dict.fromkeys(options.env)),
        title=space.title,
        unit=space.unit,
        source=describe_source(options.space, test=space.test is not None),
        logger=options.logger,
        command=redact_command(shlex.join([*words_of("search.run"), *sys.argv[1 + (sys.argv[1:2] == ["search"]) :]])),
        config=config.used(options),
        **questions.resolve(options.words, space, trials=options.trials),
        **settled,
    )


def _limits(options: Options) -> dict[str, Any]:
    """The fields of a run that bound its configurations, and its length."""
    bounds = {name: parse_count(f"--{name.replace('_', '-')}", getattr(options, name)) for name in _BOUNDS}
    return {**bounds, "until_gain": options.until_gain or None, "repeats": options.repeats}


def with_passes(dataset: Any, space: "Space") -> Any:
    """Few rows of the user's own with as many passes in an epoch as make a training of the space's epochs long enough.

    They do not depend on --max-epochs, which makes trainings shorter.
    """
    if size_of(space.dataset) is not None:
        return dataset
    passes = math.ceil(ROWS_OF_A_TRAINING / (space.epochs * max(1, len(dataset.train))))
    return replace(dataset, passes=min(max(1, passes), MOST_PASSES))


def has_variants(space: "Space") -> bool:
    """Whether the parameters of a space can depend on the data: on those of the user's own that Rungwise reads."""
    return not space.own and size_of(space.dataset) is None


def fitted_space(options: Options, space: "Space", dataset: Any) -> tuple[Options, "Space", Any]:
    """Options, space and data with the variant of the space that fits data of the user's own, and a note about it."""
    if not has_variants(space):
        return options, space, dataset
    from spaces.space import load

    word = options.space.partition("@")[2]
    if word in (("amounts", "numbers") if dataset.classes else ("unequal",)):
        raise ValueError(
            f"{options.space} is for a {'regression' if dataset.classes else 'classification'}, but "
            f"this is a {dataset.task}; use --space {options.space.partition('@')[0]}"
        )
    parts: list[Any] = [part.y for part in (dataset.train, dataset.validation) if len(part)]
    counts: list[int] = []
    if dataset.classes:
        found = [y.bincount(minlength=dataset.num_classes).tolist() for y in parts]
        counts = [sum(column) for column in zip(*found, strict=True)]
        name = variant_for_classes(options.space, counts, metric=options.goal)
    else:
        lowest, highest = min(float(y.min()) for y in parts), max(float(y.max()) for y in parts)
        name = variant_for_numbers(options.space, lowest=lowest, highest=highest)
    note = describe_variant(name, counts, fixed=[word.partition("=")[0].strip() for word in options.fix])
    dataset = replace(dataset, notes=(*dataset.notes, note)) if note else dataset
    return replace(options, space=name), load(name), dataset


def with_test_notes(dataset: Any, data_dir: str) -> Any:
    """The data set with notes on its test files added; their pixels are not kept.

    Raises:
        ValueError: the final evaluation could not read them.
    """
    from trainables.sources import images

    more = images.check_test_files(dataset.name, data_dir, dataset.images, dataset.split)
    return replace(dataset, notes=(*dataset.notes, *more))


def resumed_run(options: Options, *, given: Collection[str]) -> Run:
    """The run that these options resume; see `old_run`.

    Args:
        given: names of the options that the user stated.
    """
    stated: dict[str, Any] = {name: getattr(options, name) for name in FIXED if name in given}
    if "space" in stated:
        stated["space"] = canonical(options.space)
    if options.max_epochs is not None:
        stated["epochs"] = options.max_epochs
    for name in _BOUNDS:
        if name in given:
            stated[name] = parse_count(f"--{name}", getattr(options, name))
    if options.metric is not None:
        stated["metric"] = options.goal
    if "drop" in given:
        stated["drop"] = options.dropped
    if "split" in given:
        stated["split"] = options.rule
    if "types" in given:
        stated["types"] = parse_types(options.types)
    run_dir = options.runs_dir / str(options.name)
    moved = stated.pop("space", None) if is_own(options.space) else None
    trials = options.trials if "trials" in given else None
    if trials is not None and options.config is not None and (run_dir / "run.json").is_file():
        trials = max(trials, read_run(run_dir).trials)  # the run may have been extended since the file was written
    run = old_run(run_dir, given=stated, trials=trials)
    run = replace(run, logger=options.logger) if "logger" in given else run
    run = replace(run, env=tuple(dict.fromkeys((*run.env, *options.env))))
    run = _with_end(run, options, given=given)
    run = _with_backbone(run, options) if "backbone" in given else run
    check_logger(run.logger)
    if moved is None:
        return run
    if short_name(moved) != short_name(run.space):
        raise ValueError(f"run {run.name!r} searches {run.space!r}, not {moved!r}; leave --space out")
    return replace(run, space=moved)


def _with_end(run: Run, options: Options, *, given: Collection[str]) -> Run:
    """The run with what the user states of its end."""
    searched = {"asks": bool(run.questions), "weighs": bool(run.second)}
    if "until_gain" in given:
        check_until_gain(options.until_gain, sampler=run.sampler, **searched)
        run = replace(run, until_gain=options.until_gain or None)
    if "repeats" in given:
        check_repeats(options.repeats, **searched)
        run = replace(run, repeats=options.repeats)
    return run


def _with_backbone(run: Run, options: Options) -> Run:
    """The run with the new place of its pretrained network."""
    if run.images is None or run.images.backbone is None or options.images is None:
        raise ValueError(f"run {run.name!r} searches without a backbone; leave --backbone out, or give another --name")
    assert options.images.backbone is not None
    moved = replace(run.images.backbone, path=options.images.backbone.path)
    return replace(run, images=replace(run.images, backbone=moved))


def old_run(run_dir: Path, *, given: Mapping[str, Any], trials: int | None) -> Run:
    """Read a run that is to be continued, perhaps with more trials.

    Args:
        given: options that the user stated and that may not differ from those of the run.
        trials: number of trials in total that is asked for now; None keeps the stored number.

    Raises:
        ValueError: no such run, a damaged study, or a stated option that contradicts it.
    """
    check_exists(run_dir)
    run = read_run(run_dir)
    held = {**vars(run), **(vars(run.table) if run.table else {})}
    held |= {"image_size": run.images and run.images.size, "resize": run.images and run.images.resize}
    if given.get("space") == split_name(run.space)[0]:
        given = {**given, "space": run.space}  # the variant was chosen when the run began
    changed = [
        f"{name} is {_shown(held.get(name))}, not {_shown(value)}"
        for name, value in given.items()
        if held.get(name) != value
    ]
    if changed:
        raise ValueError(
            f"run {run.name!r} cannot change what it searches ({'; '.join(changed)}); leave these options out, or "
            f"give another --name{_longer(run, given.get('epochs'))}"
        )
    if trials is not None and trials < run.trials:
        raise ValueError(f"--trials must be at least {run.trials}, the number requested before, got {trials}")
    if run.study_url is None:
        check_database(run_dir / "study.db")
    return run


def _longer(run: Run, epochs: int | None) -> str:
    """How a search with more epochs begins with the best configurations of this one; empty if fewer are asked for."""
    if epochs is None or epochs <= run.epochs:
        return ""
    return f"; a new search with more epochs can begin with the best of this one: --from {run.name}"


def _shown(value: Any) -> str:
    return value.option if isinstance(value, SplitRule) else repr(value)


def check_same(run: Run, *, space: "Space", dataset: Any) -> None:
    """Raise ValueError if the space or the data are no longer those of the run."""
    if (now := fingerprint(as_stated(space))) != run.fingerprint:
        if space.own and fingerprint(replace(as_stated(space), direction=run.direction)) == run.fingerprint:
            raise ValueError(
                f"run {run.name!r} began with the direction {run.direction}, which space {run.space!r} does not state; "
                f"add direction={run.direction!r} to its Space"
            )
        raise ValueError(
            f"space {run.space!r} has changed since run {run.name!r} started (fingerprint {now}, not "
            f"{run.fingerprint});"
            " restore its file, or give another --name"
        )
    if dataset.checksum != run.dataset_checksum and not space.own:  # own code may read more, or other rows, each day
        raise ValueError(
            f"data set {dataset.name!r} has changed since run {run.name!r} started (sha256 {dataset.checksum[:12]}, not"
            f" {run.dataset_checksum[:12]}); give the original --data-dir, or another --name"
        )
