"""One final evaluation of one run: what is trained, what is measured, what is written. `final.py` decides when.

A `Job` never reads the test set; it is handed the rows.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna

import spaces.space
from analysis import results as record
from analysis import wording
from analysis.baselines import Baseline, fit_baselines, methods
from analysis.card import model_card
from analysis.conclusion import conclude, say
from analysis.contenders import Contender, explain_criterion, settle
from analysis.discussion import discuss
from analysis.evaluation import Evaluation, evaluate
from analysis.export import export_model, export_onnx, verify_export
from analysis.final_files import write_figures, write_tables, write_text
from analysis.networks import Failure, Network, answer, choose_device, collect, restore
from analysis.openings import check_opening, read_openings
from analysis.table_results import (
    BaselineAnswers,
    answer_baselines,
    describe_baselines,
    describe_table,
)
from search import prepare
from search.cluster import Resources, plan_resources
from search.fixed import train_fixed
from search.study import Planned, Run, open_study, read_run
from spaces.space import Space
from trainables import places
from trainables.data import Dataset, Split
from trainables.training import Training

if TYPE_CHECKING:
    from analysis.final import Options


@dataclass(frozen=True, kw_only=True)
class Job:
    """A run, the contenders and the plan of their training."""

    options: "Options"
    command: str
    run: Run
    run_dir: Path
    space: Space
    study: optuna.Study
    dataset: Dataset
    """Training and validation rows, all in `train` unless the validation rows are held out once more."""
    contenders: list[Contender]
    plan: tuple[Planned, ...]
    seeds: int
    epochs: int
    resources: Resources
    why: str

    @classmethod
    def open(cls, options: "Options", *, command: str) -> "Job":
        """Check everything that can be checked before Ray starts; writes nothing.

        Raises:
            ValueError, OSError: what is wrong, in one line.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        run = read_run(options.run)
        why = check_opening(options.run / "final", again=options.again)
        resources = plan_resources(
            concurrent=options.concurrent,
            cpus_per_trial=options.cpus_per_trial,
            gpus_per_trial=options.gpus_per_trial,
        )
        if options.data_dir is not None:
            run = replace(run, data_dir=options.data_dir)
        space, study = spaces.space.load(run.space), open_study(options.run)
        stored = _stored(options.run / "final" / "training")
        without = options.without_validation or (stored is not None and stored.validation_fraction > 0)
        dataset = _load(run, space, tta=options.tta, validation_fraction=run.validation_fraction if without else 0.0)
        contenders, plan, seeds = settle(
            study, run, space, dataset, top=options.top, seeds=options.seeds, stored=stored.plan if stored else ()
        )
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
            epochs=options.epochs or (stored.epochs if stored else run.epochs),
            resources=resources,
            why=why,
        )

    @property
    def final_dir(self) -> Path:
        """Where everything goes."""
        return self.run_dir / "final"

    @property
    def device(self) -> str:
        """Where networks are evaluated."""
        return choose_device(self.resources.gpus_per_trial)

    def announce(self) -> None:
        """Say what is about to be trained."""
        names = ", ".join(wording.title(c.name) for c in self.contenders)
        say(
            f"final evaluation of {self.run.name}: {len(self.contenders)} configurations ({names}) on {self.seeds}"
            f" fresh seed{'s' * (self.seeds > 1)}, {self.epochs} epochs, {len(self.dataset.train):,} rows"
            f" ({wording.trained_on(len(self.dataset.validation))})"
        )
        say(f"chosen by {explain_criterion(self.run)}")
        ranked = sum(c.search_value is not None for c in self.contenders)
        if ranked < (self.options.top or 0):
            say(f"note: only {ranked} of the {self.options.top} best exist: few trials were trained to the full budget")
        say("the test set stays closed until all training has ended")

    def train(self) -> None:
        """Train what the plan has and no earlier call has trained."""
        train_fixed(
            self.final_dir / "training",
            like=self.run,
            plan=self.plan,
            dataset=self.dataset,
            resources=self.resources,
            epochs=self.epochs,
            keep_checkpoints=True,
            debug=self.options.debug,
        )

    def collect(self) -> tuple[list[Network], list[Failure]]:
        """The networks whose checkpoints are whole, and the trainings that gave none."""
        folder = self.final_dir / "training"
        trials = open_study(folder).get_trials(deepcopy=False)
        return collect(folder, self.plan, trials, self.contenders, epochs=self.epochs)

    def fit_baselines(self) -> list[Baseline]:
        """Classical methods, fitted on the rows that the networks trained on; none for images."""
        if not self.dataset.columns:
            return []
        say(f"without a network, on the same rows: {', '.join(m.title for m in methods(self.dataset))}")
        return fit_baselines(self.dataset, seeds=list(dict.fromkeys(planned.seed or 0 for planned in self.plan)))

    def evaluate(
        self, test: Split, networks: Sequence[Network], failures: Sequence[Failure], baselines: Sequence[Baseline]
    ) -> dict[str, Any]:
        """Measure, compare, draw, export; final.json is written last.

        Args:
            test: the sealed rows.
            networks: to be evaluated.
            failures: to be told.
            baselines: fitted before.
        """
        say(f"the test set is open: {len(test):,} rows, {len(networks)} networks")
        measured, answers = self._measure(test, networks), answer_baselines(baselines, test)
        found = self._evaluations(test, measured, answers)
        y, metric, winner = test.y.numpy(), record.main_metric(self.run.metric, found[measured[0].name]), measured[0]
        results = self._head(test, winner, metric=metric)
        classes, seed = self.dataset.classes, self.run.seed
        results["entrants"] = record.describe_entrants(measured, found, y, metric=metric, classes=classes)
        results["baselines"] = describe_baselines(answers, found, winner=winner.name, metric=metric)
        results |= record.describe_winner(y, winner, classes=classes, train_y=self.dataset.train.y.numpy(), seed=seed)
        trained = [self._restore(network) for network in winner.networks if self.dataset.columns]
        results |= describe_table(self.dataset, test, trained, winner.outputs, metric=metric, seed=seed)
        results["failures"] = record.describe_failures(failures)
        results["discussion"] = discuss(results, self.study, self.run)
        results["export"] = self._export(test, winner, results)
        exported = winner.outputs[0]
        write_figures(results, self.final_dir / "figures", x=test.x.numpy(), y=y, exported=exported)
        write_tables(results, self.final_dir / "tables", y=y, exported=exported)
        write_text(self.final_dir / "final.json", json.dumps(results, indent=1) + "\n")
        return results

    def _evaluations(
        self, test: Split, measured: Sequence[record.Measured], answers: Sequence[BaselineAnswers]
    ) -> dict[str, Evaluation]:
        """Networks and baselines on the same draws of rows."""
        return evaluate(
            test.y.numpy(),
            {m.name: m.outputs for m in measured} | {a.name: a.outputs for a in answers},
            task=self.dataset.task,
            seed=self.run.seed,
            same_networks={m.name: m.contender.name for m in measured if m.augmented},
        )

    def _head(self, test: Split, winner: record.Measured, *, metric: str) -> dict[str, Any]:
        openings = read_openings(self.final_dir)
        return {
            "format": 1,
            "run": self.run.name,
            "run_dir": str(self.run_dir),
            "command": self.command,
            "task": self.dataset.task,
            "image_shape": list(self.dataset.image_shape),
            "metric": metric,
            "winner": winner.name,
            **record.describe_search(self.run, self.space),
            **prepare.provenance(self.resources),
            "conditions": record.describe_conditions(test, winner, self.dataset),
            "openings": len(openings),
            "opened": openings,
        }

    def _measure(self, test: Split, networks: Sequence[Network]) -> list[record.Measured]:
        """The answers of all networks, contender by contender; the winner first, its augmented row last."""
        order = [contender.name for contender in self.contenders]
        ordered = sorted(networks, key=lambda n: (order.index(n.contender.name), n.index))
        measured = [self._answers(test, list(group)) for _, group in groupby(ordered, key=lambda n: n.contender.name)]
        if self.options.tta:
            measured.append(self._answers(test, measured[0].networks, flip=True))
        return measured

    def _answers(self, test: Split, networks: Sequence[Network], *, flip: bool = False) -> record.Measured:
        answers = [answer(self._restore(network), test.x, flip=flip) for network in networks]
        return record.Measured(
            contender=networks[0].contender,
            networks=networks,
            outputs=np.stack([found.outputs for found in answers]),
            images_per_second=float(np.median([found.images_per_second for found in answers])),
            augmented="flip" if flip else "",
        )

    def _restore(self, network: Network) -> Training:
        return restore(network, self.space, self.dataset, device=self.device)

    def _export(self, test: Split, winner: record.Measured, results: dict[str, Any]) -> dict[str, Any]:
        """The network of the winner's first seed, verified on every test row."""
        network, entrant = winner.networks[0], results["entrants"][0]
        places.remove(self.final_dir / "model.onnx")  # of an earlier export, perhaps of another network
        facts = export_model(
            self.final_dir,
            self._restore(network),
            facts={
                "run": self.run.name,
                "space": self.run.space,
                "params": network.contender.params,
                "contender": network.contender.name,
                "seed": network.seed,
                "epochs": self.epochs,
                "versions": results["versions"],
                "commit": results["commit"],
                "created": results["created"],
                "metrics": {name: values[0] for name, values in entrant["by_seed"].items()},
            },
        )
        write_text(self.final_dir / "README.md", model_card(results, facts))
        exported: dict[str, Any] = {"seed": network.seed, "sha256": facts["sha256"], "onnx": None}
        exported["verified"] = verify_export(self.final_dir, test.x, winner.outputs[0], device=self.device)
        if "accuracy" in entrant["by_seed"]:
            exported["accuracy"] = entrant["by_seed"]["accuracy"][0]
        if self.options.onnx:
            exported["onnx"] = export_onnx(self.final_dir, test.x)
        return exported

    def conclude(self, results: dict[str, Any]) -> None:
        """Write the page, and print what was found and where to look."""
        conclude(results, run_dir=self.run_dir, page=write_page(self.run_dir, data_dir=self.run.data_dir))


def write_page(run_dir: Path, *, data_dir: str) -> Path:
    """Write the run's report, which shows the final evaluation as well, and return its path."""
    from analysis import report

    return report.build(report.Options(run=run_dir, data_dir=data_dir))


def _load(run: Run, space: Space, *, tta: bool, validation_fraction: float) -> Dataset:
    """The rows that the search had: training and validation rows in one, or split as they were."""
    dataset = prepare.load_data(
        space,
        data_dir=run.data_dir,
        seed=run.seed,
        train_size=run.train_size,
        validation_fraction=validation_fraction,
        table=run.reading,
    )
    prepare.check_same(run, space=space, dataset=dataset)
    if tta and len(dataset.image_shape) != 3:
        raise ValueError(f"--tta needs images, data set {dataset.name!r} has rows of numbers; leave it out")
    return dataset


def _stored(training_dir: Path) -> Run | None:
    return read_run(training_dir) if (training_dir / "run.json").exists() else None
