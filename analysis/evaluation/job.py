"""A final evaluation until its networks are trained; `opened.py` is the part with the open test set."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna

from analysis import wording
from analysis.evaluation.contenders import Contender, rank, settle_plan
from analysis.evaluation.networks import Failure, Network, check_kept, choose_device, collect, collect_kept
from analysis.evaluation.preferred import preferred
from analysis.progress import say, step
from analysis.scores.baselines import Baseline, fit_baselines, methods, num_models
from analysis.studies.criterion import explain_criterion
from analysis.studies.export import MOST_PROBABILITIES
from analysis.studies.openings import check_opening
from analysis.studies.results import FinalResults, ResultsError
from search.process.disk import check_room
from search.process.text import counted
from search.runtime.resources import Resources, plan_resources
from search.session import opening as prepare
from search.session.fixed import FixedTraining
from search.storage.run import Planned, Run, data_of, read_run
from search.storage.space import space_of
from search.storage.study import open_study
from search.storage.trials import seconds_trained
from spaces.space import Space
from trainables.sources.images import fetch_test_files

if TYPE_CHECKING:
    from analysis.evaluation.settings import Options


_FILES, _ROW, _CELL, _WEIGHT = 1_500_000, 60, 10, 4
"""Bytes: of figures, tables and records; of a row in predictions.csv, and of a probability in it; of a weight."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A run, the contenders and the plan of their training."""

    options: "Options"
    command: str
    run: Run
    run_dir: Path
    space: Space
    study: optuna.Study
    dataset: Any
    """Training and validation rows, all in `train` unless the validation rows are held out once more."""
    contenders: list[Contender]
    plan: tuple[Planned, ...]
    seeds: int
    epochs: int
    resources: Resources
    why: str
    criterion: str
    """How the contenders were chosen, in words."""
    kept: Sequence[Network] = ()
    """The networks that the trials of the search have left, if they are to form an ensemble."""

    @classmethod
    def open(cls, options: "Options", *, command: str) -> "Job":
        """Check everything that can be checked before Ray starts; writes nothing.

        Raises:
            ValueError, OSError: what is wrong, in one line.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        run = read_run(options.run)
        why = check_opening(options.run / "final", again=options.again)
        resources = _resources(options)
        if options.data_dir is not None:
            run = replace(run, data_dir=options.data_dir)
        space, study = space_of(run), open_study(options.run)
        stored = _stored(options.run / "final" / "training")
        without = options.without_validation or (stored is not None and stored.validation_fraction > 0)
        _check_test(run, space)
        dataset = _load(run, space, options, validation_fraction=run.validation_fraction if without else 0.0)
        epochs = options.epochs or (stored.epochs if stored else run.epochs)
        asked = {"top": options.top, "seeds": options.seeds, "epochs": epochs, "stored": stored.plan if stored else ()}
        trials, wished = study.get_trials(deepcopy=False), {"front": options.front, "pick": options.pick}
        chosen, criterion = preferred(run, trials, **wished, top=options.top)
        contenders, plan, seeds = settle_plan(study, run, space, dataset, **asked, preferred=chosen)
        best = next((c.trial for c in rank(study, run)), None)
        return cls(
            options=options,
            command=command,
            run=run,
            run_dir=options.run,
            space=space,
            study=study,
            dataset=dataset,
            contenders=contenders,
            plan=plan,
            seeds=seeds,
            epochs=epochs,
            resources=resources,
            why=why,
            criterion=criterion or _earlier_criterion(options, stored, contenders, best) or explain_criterion(run),
            kept=_kept(options, run, space, study, dataset),
        )

    @property
    def final_dir(self) -> Path:
        """The folder that gets every file of the evaluation."""
        return self.run_dir / "final"

    @property
    def device(self) -> str:
        """Where networks are evaluated."""
        return choose_device(self.resources.gpus_per_trial)

    def announce(self) -> None:
        """Print what is about to be trained."""
        names = ", ".join(wording.title(c.name) for c in self.contenders)
        say(
            f"final evaluation of {self.run.name}: {counted(len(self.contenders), 'configuration')} ({names}) with "
            f"{counted(self.seeds, 'fresh seed')}, {self._budget()}{self._rows()}"
        )
        say(f"chosen by {self.criterion}")
        ranked = sum(c.search_value is not None for c in self.contenders)
        if ranked < (self.options.top or 0) and not self.options.front:
            say(
                f"note: only {ranked} of the {self.options.top} best configurations exist, because few trials were "
                f"trained to the full budget"
            )
        say("the test set stays sealed until all training has finished")

    def _budget(self) -> str:
        """The epochs of each contender."""
        stops = [str(c.stop_epoch) for c in self.contenders if c.stop_epoch is not None]
        if not stops:
            return counted(self.epochs, "epoch")
        return f"to the epoch that its trial kept ({', '.join(stops)}; the random one to their median) of {self.epochs}"

    def _rows(self) -> str:
        if self.space.own:
            return ", with run.final set"
        return f", {len(self.dataset.train):,} rows ({wording.trained_on(len(self.dataset.validation))})"

    def train(self) -> None:
        """Train what the plan has and no earlier call has trained."""
        FixedTraining(
            folder=self.final_dir / "training",
            like=self.run,
            plan=self.plan,
            dataset=self.dataset,
            resources=self.resources,
            epochs=self.epochs,
            keep_checkpoints=True,
            final=True,
            debug=self.options.debug,
        ).train()

    def collect(self) -> tuple[list[Network], list[Failure]]:
        """The networks whose checkpoints are whole, and the trainings that gave none."""
        folder = self.final_dir / "training"
        trials = open_study(folder).get_trials(deepcopy=False)
        return collect(folder, self.plan, trials, self.contenders, epochs=self.epochs)

    def by_contender(self, networks: Sequence[Network]) -> list[list[Network]]:
        """The networks of each contender by their seeds, the winner's first."""
        found = {contender.name: [] for contender in self.contenders}
        for network in sorted(networks, key=lambda network: network.index):
            found[network.contender.name].append(network)
        return [group for group in found.values() if group]

    def ahead_of(self, winner: str) -> list[str]:
        """Names of the contenders that rank before this one; none of their networks could be trained if it won."""
        names = [contender.name for contender in self.contenders]
        return names[: names.index(winner)]

    def fit_baselines(self) -> list[Baseline]:
        """Classical methods, fitted on the rows that the networks trained on; none for images."""
        if self.space.own or not self.dataset.columns:
            return []
        seeds = list(dict.fromkeys(planned.seed or 0 for planned in self.plan))
        return [*self._fit_untuned(seeds), *self._tune_boosting(seeds)]

    def _tune_boosting(self, seeds: Sequence[int]) -> list[Baseline]:
        if self.options.boosting is None:
            return []
        from analysis.scores.boosting import check_libraries, tune_boosting

        names, trials = check_libraries(self.options.boosting), self.study.get_trials(deepcopy=False)
        return tune_boosting(
            names,
            data_of(self.run, self.space),
            self.dataset,
            seeds=seeds,
            core_seconds=sum(map(seconds_trained, trials)) * self.run.cpus_per_trial,
            folder=self.final_dir / "boosting",
        )

    def _fit_untuned(self, seeds: Sequence[int]) -> list[Baseline]:
        what = f"without a network, on the same rows: {', '.join(m.title for m in methods(self.dataset))}"
        with step(what, total=num_models(self.dataset, seeds=seeds)) as advance:
            return fit_baselines(self.dataset, seeds=seeds, advance=advance)

    def check_before_opening(self, networks: Sequence[Network]) -> None:
        """Check what can be checked without a look at the test rows: their files, and the room for the results.

        Raises:
            ValueError: the test files cannot be those of this data set.
            OSError: the results would not fit on the disk.
        """
        if not self.space.own:
            fetch_test_files(self.run.dataset, self.run.data_dir)
        check_kept(self.kept)
        check_room(self.final_dir, self._needed_room(networks))

    def _needed_room(self, networks: Sequence[Network]) -> int:
        """An upper estimate of the bytes that figures, tables and the exported networks take."""
        weights = max(int(network.trial.user_attrs.get("weights") or 0) for network in networks)
        rows = 0 if self.space.own else len(self.dataset.train) // 2  # of the test set, whose number is not known yet
        members = self.kept if self.options.ensemble == "trials" else networks if self.options.ensemble else ()
        more = sum(int(member.trial.user_attrs.get("weights") or 0) for member in members)
        cells = 0 if self.space.own else min(rows * self.dataset.num_classes, MOST_PROBABILITIES)
        rows_written = rows * _ROW + cells * _CELL
        return _FILES + rows_written + weights * _WEIGHT * (2 if self.options.onnx else 1) + more * _WEIGHT


def _resources(options: "Options") -> Resources:
    return plan_resources(
        concurrent=options.concurrent, cpus_per_trial=options.cpus_per_trial, gpus_per_trial=options.gpus_per_trial
    )


def _check_test(run: Run, space: Space) -> None:
    """Raise ValueError unless there will be a test set to open; its files are fetched, and not opened."""
    if not space.own:
        fetch_test_files(run.dataset, run.data_dir)
    elif space.test is None:
        raise ValueError(
            f"the space of run {run.name!r} has no test function; write test(model, run) that returns"
            " rw.Predictions(...) or numbers by name, and give it as Space(test=test)"
        )


def _load(run: Run, space: Space, options: "Options", *, validation_fraction: float) -> Any:
    """The rows that the search had: training and validation rows in one, or split as they were."""
    dataset = data_of(run, space, validation_fraction=validation_fraction)
    prepare.check_same(run, space=space, dataset=dataset)
    if space.own and options.tta:
        raise ValueError(
            "--tta works with built-in image data only; average the predictions in your test function instead"
        )
    if options.boosting and (space.own or not dataset.columns):
        raise ValueError("--boosting is for tables; leave it out")
    if options.tta and len(dataset.image_shape) != 3:
        raise ValueError(f"--tta needs images; data set {dataset.name!r} has rows of numbers; leave it out")
    return dataset


def _kept(options: "Options", run: Run, space: Space, study: optuna.Study, dataset: Any) -> Sequence[Network]:
    """The networks that the trials of the search have left, if they are to form an ensemble."""
    if options.ensemble and space.own:
        raise ValueError("--ensemble is for built-in networks; average predictions in your test function instead")
    if options.ensemble != "trials":
        return ()
    kept = collect_kept(options.run, run, study)
    if data_of(run, space).columns != dataset.columns:
        raise ValueError(
            "--ensemble trials needs --without-validation for this table: with the validation rows, its categories, "
            "gaps or numbers of texts are others than those that the trials were trained with"
        )
    return kept


def _earlier_criterion(
    options: "Options", stored: Run | None, contenders: Sequence[Contender], best: int | None
) -> str:
    """How an earlier call chose its contenders, if this one takes them over; empty if that was as usual.

    Args:
        best: number of the trial that is best by the usual criterion.
    """
    if stored is None or options.top is not None:
        return ""
    with suppress(ResultsError):  # the page says what is damaged
        if (found := FinalResults.read(options.run / "final")) is not None:
            return found.criterion
    first = next((c.trial for c in contenders if c.role == "top"), best)
    return "" if first == best else "the options with which this evaluation began"


def _stored(training_dir: Path) -> Run | None:
    return read_run(training_dir) if (training_dir / "run.json").exists() else None
