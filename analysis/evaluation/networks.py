"""The trained networks of a final evaluation: their checkpoints verified, how they are restored, and what they cost."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from optuna.trial import FrozenTrial, TrialState

from analysis.evaluation.contenders import Contender
from search.storage.folder import trial_name
from search.storage.run import Planned, Run
from search.storage.standings import Standings
from search.storage.trials import num_weights
from spaces.space import Space
from trainables.data.dataset import Dataset
from trainables.files import checkpoint
from trainables.own.task import OwnData
from trainables.trainable import Setting
from trainables.training.best_epoch import begin_training
from trainables.training.training import Training


@dataclass(frozen=True, kw_only=True)
class Network:
    """One finished training whose checkpoint is whole."""

    contender: Contender
    index: int
    """Which of the fresh seeds."""
    seed: int
    epochs: int
    """Over which its schedule runs."""
    stop_epoch: int
    """After which it is evaluated."""
    trial: FrozenTrial
    folder: Path
    sha256: str
    """Of its checkpoint: manifest and state."""

    @property
    def training_seconds(self) -> float:
        """Time spent in its epochs."""
        return float(sum(record.get("seconds", 0.0) for record in self.trial.user_attrs.get("history", ())))


@dataclass(frozen=True, kw_only=True)
class Failure:
    """One training that gave no network."""

    contender: str
    seed: int
    cause: str


def collect(
    training_dir: Path,
    plan: Sequence[Planned],
    trials: Sequence[FrozenTrial],
    contenders: Sequence[Contender],
    *,
    epochs: int,
) -> tuple[list[Network], list[Failure]]:
    """The networks that can be evaluated, and why the others cannot; every checkpoint is read and verified."""
    by_name = {contender.name: contender for contender in contenders}
    networks: list[Network] = []
    failures: list[Failure] = []
    for planned, trial in zip(plan, trials, strict=False):
        name, index = planned.tag.rsplit("/", 1)
        folder = training_dir / "checkpoints" / trial_name(trial.number)
        stop = planned.stop_epoch or epochs
        cause = _fault(trial, folder, epochs=stop)
        seed = int(trial.user_attrs["seed"])
        if cause is not None:
            failures.append(Failure(contender=name, seed=seed, cause=cause))
            continue
        placed = {"index": int(index), "epochs": epochs, "stop_epoch": stop, "trial": trial, "folder": folder}
        networks.append(_network(by_name[name], **placed))
    return networks, failures


def _network(contender: Contender, *, stop_epoch: int, trial: FrozenTrial, folder: Path, **placed: int) -> Network:
    return Network(
        contender=contender,
        seed=int(trial.user_attrs["seed"]),
        stop_epoch=stop_epoch,
        trial=trial,
        folder=folder,
        sha256=_sha256(folder / f"epoch-{stop_epoch:04d}"),
        **placed,
    )


def collect_kept(run_dir: Path, run: Run, study: optuna.Study) -> list[Network]:
    """The networks of the best finished trials of a search, as far as their checkpoints are kept and whole.

    They have seen the training rows of the search only.

    Raises:
        ValueError: the search keeps none that could be in an ensemble, or only one.
    """
    if run.folds > 1:
        raise ValueError("--ensemble trials needs one network per trial; with folds, use --ensemble networks")
    if run.storage is not None:
        raise ValueError(f"--ensemble trials needs checkpoints in the run folder, not at {run.storage}")
    best = Standings(run.objective, study.get_trials(deepcopy=False)).first(run.keep_best)
    found = []
    for trial in (trial for standing in best for trial in standing.trials):
        folder = run_dir / "checkpoints" / trial_name(trial.number)
        if _fault(trial, folder, epochs=run.epochs) is None:
            contender = Contender(name=f"trial-{trial.number}", params=trial.params, trial=trial.number)
            placed = {"index": 0, "epochs": run.epochs, "stop_epoch": run.epochs, "trial": trial, "folder": folder}
            found.append(_network(contender, **placed))
    if len(found) < 2:
        raise ValueError(
            f"--ensemble trials needs the checkpoints of at least 2 finished trials, run {run.name!r} has "
            f"{len(found)}; search with --keep-best 10, or use --ensemble networks"
        )
    return found


def check_kept(networks: Sequence[Network]) -> None:
    """Raise ValueError if a checkpoint has changed or is gone, as by a search that went on meanwhile."""
    for network in networks:
        try:
            same = _sha256(network.folder / f"epoch-{network.stop_epoch:04d}") == network.sha256
        except OSError:
            same = False
        if not same:
            raise ValueError(f"the checkpoint of {network.contender.name} is gone or has changed; start again")


def _sha256(entry: Path) -> str:
    digest = hashlib.sha256()
    for name in ("manifest.json", "state.pt"):
        digest.update((entry / name).read_bytes())
    return digest.hexdigest()


def _fault(trial: FrozenTrial, folder: Path, *, epochs: int) -> str | None:
    if trial.state != TrialState.COMPLETE:
        return str(trial.user_attrs.get("failure", "its training has not finished"))
    loaded = checkpoint.load_newest(folder)
    if loaded is None:
        return f"{folder.name} has lost its checkpoint"
    if loaded.epoch != epochs or loaded.state is None:
        return "; ".join(loaded.problems) or f"the last checkpoint of {folder.name} is of epoch {loaded.epoch}"
    return None


def checksum(networks: Sequence[Network]) -> str:
    """sha256 over all checkpoints, by which a later change of an evaluated network is noticed."""
    return hashlib.sha256("\n".join(network.sha256 for network in networks).encode()).hexdigest()


def restore(network: Network, space: Space, dataset: Dataset, *, device: str) -> Training:
    """The network as it was after its last epoch."""
    loaded = checkpoint.load_newest(network.folder)
    assert loaded is not None
    assert loaded.state is not None
    config = space.decode(network.contender.params)
    training = Training(config, dataset, epochs=network.epochs, seed=network.seed, device=device)
    training.restore(checkpoint.parted(loaded.state)[0])
    return training


def restore_kept(network: Network, run: Run, space: Space, dataset: Dataset, *, device: str) -> Training:
    """The network of a trial of the search, with the weights of the epoch that counts."""
    loaded = checkpoint.load_newest(network.folder)
    assert loaded is not None
    assert loaded.state is not None
    config = space.decode(network.contender.params)
    training = begin_training(config, dataset, epochs=network.epochs, seed=network.seed, device=device, keep=run.keep)
    training.restore(checkpoint.parted(loaded.state)[0])
    return training if isinstance(training, Training) else training.as_kept()


def rebuild(network: Network, space: Space, data: OwnData, *, device: str) -> Any:
    """Code of the user's own as it was after its last epoch: has `result()` and `run`."""
    loaded = checkpoint.load_newest(network.folder)
    assert loaded is not None
    assert loaded.state is not None
    setting = Setting(
        epochs=network.epochs,
        seed=network.seed,
        trial=network.trial.number,
        device=device,
        threads=torch.get_num_threads(),
        final=True,
    )
    training = space.work.build(space.decode(network.contender.params), data, setting)
    training.restore(checkpoint.parted(loaded.state)[0])
    return training


def choose_device(gpus_per_trial: float) -> str:
    """Where networks are evaluated: on the kind of device that trained them."""
    return "cuda" if gpus_per_trial > 0 and torch.cuda.is_available() else "cpu"


def cost_of(networks: Sequence[Network]) -> dict[str, Any]:
    """Weights, multiply-adds and mean training seconds of one configuration's networks."""
    trial = networks[0].trial
    return {
        "weights": num_weights(trial),
        "macs": trial.user_attrs.get("macs"),
        "training_seconds": float(np.mean([network.training_seconds for network in networks])),
    }
