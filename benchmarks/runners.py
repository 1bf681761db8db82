"""How other tools run a given list of trials, for `benchmarks.turnaround`: as their documentation has it, and at best.

    python -m benchmarks.runners "Ray Tune, tutorial" WORK.json FOLDER

All train with this project's `Training`, so that what differs is the tool. Their samplers and early stopping are at
work, but are told what to try and from where to compare, so that each trains the same configurations to the end.
"""

import json
import multiprocessing as mp
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import torch

import spaces.space
from trainables.sources.load import load
from trainables.training.training import Training

Work = dict[str, Any]
"""space, data_dir, train_size, params (a list), epochs, slots."""


def prepare(work: Work, params: dict[str, Any]) -> Training:
    """What a user's training function does first."""
    torch.set_num_threads(1)
    space = spaces.space.load(work["space"])
    dataset = load(space.dataset, work["data_dir"], train_size=work["train_size"])
    return Training(space.decode(params), dataset, epochs=work["epochs"], seed=0)


def train_epoch(training: Training, folder: str) -> float:
    """Train an epoch and note in the folder when it began and what it took."""
    started = time.time()
    record = training.run_epoch()
    with open(Path(folder) / f"{os.getpid()}.jsonl", "a") as file:
        file.write(json.dumps({"started": started, "seconds": time.time() - started}) + "\n")
    return record["accuracy"]


def ray_tutorial(work: Work, folder: str) -> None:
    """Ray Tune as its PyTorch tutorial writes it: a function that reports with a checkpoint after every epoch."""
    from ray import tune

    def train(config: dict[str, Any]) -> None:
        training = prepare(work, config)
        for _ in range(work["epochs"]):
            accuracy = train_epoch(training, folder)
            with tempfile.TemporaryDirectory() as saved:
                torch.save(training.state(), Path(saved) / "state.pt")
                tune.report({"accuracy": accuracy}, checkpoint=tune.Checkpoint.from_directory(saved))

    _fit(train, work, tune.TuneConfig(), tune.RunConfig(storage_path=tempfile.mkdtemp()))


def ray_tuned(work: Work, folder: str, *, checkpoints: bool) -> None:
    """Ray Tune at its best: a class in warm actors, no loggers, all slots asked for at once."""
    os.environ |= {"TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1", "TUNE_MAX_PENDING_TRIALS_PG": str(work["slots"])}
    from ray import tune

    class Trainable(tune.Trainable):
        def setup(self, config: dict[str, Any]) -> None:
            self.training = prepare(work, config)

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.training = prepare(work, new_config)
            return True

        def step(self) -> dict[str, Any]:
            accuracy = train_epoch(self.training, folder)
            return {"accuracy": accuracy, "done": self.training.epoch == work["epochs"]}

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            torch.save(self.training.state(), Path(checkpoint_dir) / "state.pt")

        def load_checkpoint(self, checkpoint: Any) -> None:
            self.training.restore(torch.load(Path(checkpoint) / "state.pt", weights_only=True))

    kept = tune.CheckpointConfig(checkpoint_frequency=int(checkpoints), checkpoint_at_end=False)
    run = tune.RunConfig(storage_path=tempfile.mkdtemp(), checkpoint_config=kept, verbose=0)
    _fit(Trainable, work, tune.TuneConfig(reuse_actors=True, max_concurrent_trials=work["slots"]), run)


def _fit(trainable: Any, work: Work, tune_config: Any, run_config: Any) -> None:
    import ray
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    ray.init(address="local", num_cpus=work["slots"])
    tune_config.search_alg = OptunaSearch(
        _Ask(work["space"]), metric="accuracy", mode="max", points_to_evaluate=work["params"]
    )
    tune_config.scheduler = ASHAScheduler(
        metric="accuracy", mode="max", max_t=work["epochs"], grace_period=work["epochs"]
    )
    tune_config.num_samples = len(work["params"])
    resources = tune.with_resources(trainable, {"cpu": 1})
    results = tune.Tuner(resources, tune_config=tune_config, run_config=run_config).fit()
    assert not results.errors, results.errors[0]


class _Ask:
    """What Ray's OptunaSearch asks of a trial; it is pickled by Ray."""

    def __init__(self, space: str) -> None:
        self.space = space

    def __call__(self, trial: optuna.Trial) -> None:
        spaces.space.load(self.space).suggest(trial)


def optuna_threads(work: Work, folder: str) -> None:
    """Optuna alone with a thread for each slot, the study in memory."""
    study = optuna.create_study(direction="maximize", pruner=_pruner(work))
    for params in work["params"]:
        study.enqueue_trial(params)
    study.optimize(_Objective(work, folder), n_trials=len(work["params"]), n_jobs=work["slots"])


def optuna_processes(work: Work, folder: str) -> None:
    """Optuna alone with a process for each slot, on one study in a SQLite file.

    Each has its share of the configurations: two processes that take queued ones from SQLite may take the same.
    """
    url, slots = f"sqlite:///{folder}/study.db", work["slots"]
    optuna.create_study(study_name="s", storage=url, direction="maximize")
    context = mp.get_context("spawn")
    shares = [work | {"params": work["params"][slot::slots]} for slot in range(slots)]
    processes = [context.Process(target=_optimize, args=(url, share, folder)) for share in shares]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0


def _optimize(url: str, work: Work, folder: str) -> None:
    for params in work["params"]:
        sampler = optuna.samplers.PartialFixedSampler(params, optuna.samplers.TPESampler())
        study = optuna.load_study(study_name="s", storage=url, sampler=sampler, pruner=_pruner(work))
        study.optimize(_Objective(work, folder), n_trials=1)


def _pruner(work: Work) -> optuna.pruners.BasePruner:
    return optuna.pruners.SuccessiveHalvingPruner(min_resource=work["epochs"], reduction_factor=3)


class _Objective:
    def __init__(self, work: Work, folder: str) -> None:
        self.work, self.folder = work, folder

    def __call__(self, trial: optuna.Trial) -> float:
        spaces.space.load(self.work["space"]).suggest(trial)
        training = prepare(self.work, trial.params)
        accuracy = 0.0
        while training.epoch < training.epochs:
            accuracy = train_epoch(training, self.folder)
            trial.report(accuracy, training.epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        return accuracy


RUNNERS: dict[str, Callable[[Work, str], None]] = {
    "Ray Tune, tutorial": ray_tutorial,
    "Ray Tune, tuned": lambda work, folder: ray_tuned(work, folder, checkpoints=True),
    "Ray Tune, tuned, no checkpoints": lambda work, folder: ray_tuned(work, folder, checkpoints=False),
    "Optuna, threads": optuna_threads,
    "Optuna, processes": optuna_processes,
}


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    RUNNERS[sys.argv[1]](json.loads(Path(sys.argv[2]).read_text()), sys.argv[3])
