"""A run whose final evaluation has trained its networks and has not opened the test set, made without Ray."""

from dataclasses import dataclass, replace
from pathlib import Path

import optuna
from optuna.trial import TrialState, create_trial

from analysis.evaluation.job import Job
from analysis.evaluation.settings import Members, Options
from search.storage.run import Planned, data_of, read_run
from search.storage.study import new_run
from tests.stored import stored_search
from trainables.files import checkpoint
from trainables.training.best_epoch import begin_training
from trainables.training.training import Training


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The folder of the run, and the words that evaluate it."""

    run_dir: Path

    @property
    def final_dir(self) -> Path:
        return self.run_dir / "final"

    def job(self, *, again: bool = False, ensemble: Members | None = None) -> Job:
        command = f"python -m analysis.final {self.run_dir}{' --again' * again}"
        return Job.open(Options(run=self.run_dir, again=again, ensemble=ensemble), command=command)


def trained_run(runs_dir: Path, *words: str, seeds: int = 1, held_out: bool = False, trials: int = 1) -> Trained:
    """A search on digits, and the networks of its final evaluation after an epoch on one seed.

    Args:
        held_out: whether the validation rows are held out once more.
        trials: of the search, all finished.
    """
    run_dir = stored_search(
        runs_dir, "--name", "x", "--max-epochs", "1", "--trials", str(trials), *words, finished=trials
    )
    options = Options(run=run_dir, top=1, seeds=seeds, epochs=1, without_validation=held_out)
    job = Job.open(options, command="")
    folder = job.final_dir / "training"
    run = replace(job.run, name="x-training", trials=len(job.plan), plan=job.plan)
    run = run if held_out else replace(run, validation_fraction=0.0)
    new_run(folder, run)
    study = optuna.load_study(study_name=run.name, storage=f"sqlite:///{folder}/study.db")
    for number, planned in enumerate(job.plan):
        study.add_trial(_train(job, planned, folder / "checkpoints" / f"trial-{number:05d}"))
    return Trained(run_dir=run_dir)


def keep_trials(trained: Trained) -> None:
    """Checkpoints of the finished trials of the search, each after its epoch."""
    run, job = read_run(trained.run_dir), trained.job()
    dataset = data_of(run, job.space)
    for trial in job.study.trials:
        config, seed = job.space.decode(trial.params), trial.user_attrs["seed"]
        training = begin_training(config, dataset, epochs=1, seed=seed, keep=run.keep)
        training.run_epoch()
        state = {"training": training.state(), "records": []}
        checkpoint.save(trained.run_dir / "checkpoints" / f"trial-{trial.number:05d}", state, epoch=1)


def _train(job: Job, planned: Planned, folder: Path) -> optuna.trial.FrozenTrial:
    assert planned.seed is not None
    training = Training(job.space.decode(planned.params), job.dataset, epochs=1, seed=planned.seed)
    training.run_epoch()
    checkpoint.save(folder, training.state(), epoch=1)
    attrs = {"seed": planned.seed, "tag": planned.tag, "weights": training.num_weights, "macs": training.macs}
    return create_trial(
        state=TrialState.COMPLETE,
        value=0.5,
        params=planned.params,
        distributions=job.space.distributions(planned.params),
        user_attrs=attrs | {"history": [{**record, "device": "cpu"} for record in training.history]},
    )
