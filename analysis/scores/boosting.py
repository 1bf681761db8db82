"""Gradient boosting of well-known libraries, tuned on the rows of the search as long as the search trained.

    for baseline in tune_boosting(["lightgbm"], searched, dataset, seeds=[3, 5], core_seconds=600, folder=folder):
        outputs = baseline.predict(test.x)

Optuna's TPE proposes the configurations, after the library's own defaults. Each is fitted on the training rows of the
search and judged on its validation rows, by the metric of the search. The best one, with its number of trees, is fitted
on the rows that the final networks trained on.
"""

import importlib.util
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import optuna
import torch
from optuna.trial import FrozenTrial, TrialState

from analysis.progress import step
from analysis.scores.baselines import Baseline, Method, all_classes, num_threads
from analysis.scores.boosters import LIBRARIES, MOST_TREES, Boosted, Fit, Library, Params, as_rows
from search.process.signals import signals_kept
from search.process.text import counted, duration
from spaces.objectives import DEFAULT_GOALS, goal_named
from trainables.data.dataset import Dataset
from trainables.training.metrics import measure

MOST_CONFIGURATIONS, LEAST_CONFIGURATIONS = 100, 5
"""Configurations that are tried: at most, and even if the time is over."""


def check_libraries(text: str) -> tuple[str, ...]:
    """The libraries in the value of --boosting.

    Raises:
        ValueError: there is no such library, or it is not installed.
    """
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        if name not in LIBRARIES:
            raise ValueError(f"--boosting must name some of {', '.join(LIBRARIES)}, got {name[:80]!r}")
        package = LIBRARIES[name].package
        if importlib.util.find_spec(package) is None:
            raise ValueError(f"--boosting {name} needs {package}; pip install 'rungwise[boosting]', or leave it out")
    return names


def tune_boosting(
    names: Sequence[str],
    searched: Dataset,
    dataset: Dataset,
    *,
    seeds: Sequence[int],
    core_seconds: float,
    folder: Path,
) -> list[Baseline]:
    """Tune each library, and fit its best configuration on each seed.

    Args:
        names: of `LIBRARIES`.
        searched: training and validation rows as the search had them, perhaps in folds.
        dataset: the rows in `train` are those that the final networks trained on.
        seeds: of the fits.
        core_seconds: for which each library is tuned; less where it has tried `MOST_CONFIGURATIONS` by then.
        folder: keeps what was tried, so that an interrupted call continues.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found, seconds = [], core_seconds / num_threads(_folds(searched)[0])
    for name in names:
        library, study = LIBRARIES[name], _study(folder / f"{name}.log", searched, seed=seeds[0])
        with step(f"tuning {library.title} for up to {duration(seconds)}", total=MOST_CONFIGURATIONS) as advance:
            while not _is_over(study, seconds):
                with signals_kept():
                    _try_one(library, study, searched, seed=seeds[0])
                advance()
        found.append(_fitted(name, study, dataset, seeds=seeds))
    return found


def _study(path: Path, searched: Dataset, *, seed: int) -> optuna.Study:
    """What was tried so far on these rows for this metric; a damaged file is set aside."""
    name = json.dumps([searched.checksum, searched.metric])
    try:
        study = _load(path, name)
    except (ValueError, KeyError, TypeError):
        os.replace(path, path.with_suffix(".damaged"))
        study = _load(path, name)
    study.sampler = optuna.samplers.TPESampler(seed=seed + len(study.trials))
    return study


def _load(path: Path, name: str) -> optuna.Study:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    storage = JournalStorage(JournalFileBackend(str(path)))
    return optuna.create_study(storage=storage, study_name=name, direction="maximize", load_if_exists=True)


def _tried(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def _is_over(study: optuna.Study, seconds: float) -> bool:
    tried = _tried(study)
    spent = sum(trial.user_attrs["seconds"] for trial in tried)
    return len(tried) >= (LEAST_CONFIGURATIONS if spent >= seconds else MOST_CONFIGURATIONS)


def _try_one(library: Library, study: optuna.Study, searched: Dataset, *, seed: int) -> None:
    if not _tried(study):
        study.enqueue_trial({name: one.default for name, one in library.ranges.items()})
    trial, began = study.ask(), time.perf_counter()
    params = {name: one.suggest(trial, name) for name, one in library.ranges.items()}
    found = [_judge(library, params, fold, seed=seed) for fold in _folds(searched)]
    trial.set_user_attr("trees", max(1, round(float(np.mean([trees for _, trees in found])))))
    trial.set_user_attr("seconds", time.perf_counter() - began)
    study.tell(trial, float(np.mean([value for value, _ in found])))


def _folds(searched: Dataset) -> list[Dataset]:
    return [searched.fold(number) for number in range(len(searched.folds))] or [searched]


def _judge(library: Library, params: Params, dataset: Dataset, *, seed: int) -> tuple[float, int]:
    """The value on the validation rows, larger is better, and the number of trees."""
    train, judge = (as_rows(split, dataset) for split in (dataset.train, dataset.validation))
    fit = Fit(params=params, trees=MOST_TREES, seed=seed, dataset=dataset, train=train, judge=judge)
    model, trees = library.fit(fit)
    boosted, rows = Boosted(model, dataset), dataset.validation.x.numpy()
    if dataset.num_classes:
        outputs = np.log(np.maximum(all_classes(boosted, rows, dataset.num_classes), 1e-15))
    else:
        outputs = boosted.predict(rows)
    metric = dataset.metric or DEFAULT_GOALS[dataset.task]
    value = measure(dataset.task, torch.from_numpy(outputs), dataset.validation.y, metric=metric)[metric]
    return goal_named(metric).sign * value, trees


def _fitted(name: str, study: optuna.Study, dataset: Dataset, *, seeds: Sequence[int]) -> Baseline:
    library, best, began, models = LIBRARIES[name], study.best_trial, time.perf_counter(), []
    trees, train = int(best.user_attrs["trees"]), as_rows(dataset.train, dataset)
    with step(f"fitting {library.title}", total=len(seeds), begin=False) as advance:
        for seed in seeds:
            fit = Fit(params=best.params, trees=trees, seed=seed, dataset=dataset, train=train)
            with signals_kept():
                models.append(Boosted(library.fit(fit)[0], dataset))
            advance()
    tried = _tried(study)
    minutes = duration(sum(trial.user_attrs["seconds"] for trial in tried))
    shown = ", ".join(f"{key} {value:.3g}" for key, value in best.params.items())
    tuned = f"the best of {counted(len(tried), 'configuration')} by the validation rows, tuned for {minutes}"
    return Baseline(
        method=Method(
            name=name,
            title=f"{library.title}, tuned",
            settings=f"{tuned}; {trees:,} trees, {shown}",
            random=True,
            tuned=True,
        ),
        models=models,
        seeds=tuple(seeds),
        num_classes=dataset.num_classes,
        fit_seconds=(time.perf_counter() - began) / len(models),
    )
