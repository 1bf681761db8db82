"""run.json: what a search was asked to do, and how the data of a run are read."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from search.process.secrets import HIDDEN, redact_command, redact_url
from search.storage.checking import Pattern, Range, as_json, build
from search.storage.earlier import Earlier
from search.storage.folder import check_run
from spaces import as_begun
from spaces.changes import Prior, ReplacedRange, Scalar
from spaces.changes import Range as SetRange
from spaces.guarded import describe_error
from spaces.objectives import Constraint, Direction, Objective
from spaces.origin import short_name
from spaces.second import Second
from trainables.data.options import ImageOptions, TableOptions
from trainables.data.split import MAX_FOLDS, RANDOM, SplitRule
from trainables.files.whole import write_whole
from trainables.trainable import Keep, Selection

if TYPE_CHECKING:
    from spaces.space import Space

FORMAT = 1
"""Version of the run folder; a reader refuses a newer one."""
Pruner = Literal["asha", "asha-stop", "hyperband", "median", "none"]
Sampler = Literal["curves", "tpe", "random", "gp", "cmaes", "qmc"]
KeptEpoch = Literal["last", "best"]
Logger = Literal["none", "tensorboard", "mlflow", "wandb"]
Count = Annotated[int, Range(low=1, high=10**12)]
Seed = Annotated[int, Range(low=0, high=2**32 - 1)]
Name = Annotated[str, Pattern(r"[^./\0][^/\0]{0,254}", "the name of a folder")]
Address = Annotated[str, Pattern(r"[A-Za-z][A-Za-z0-9+.-]*:.+", "an address such as postgresql+psycopg://host/name")]
_URLS = ("study_url", "storage")


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A configuration that is trained before any is sampled."""

    params: dict[str, Scalar]
    seed: Seed | None = None
    """Seed of this trial; None derives it from the seed of the run."""
    tag: str = ""
    """Name of the configuration, such as `baseline` or `trial-7/0`."""
    question: str = ""
    """The parameter of the question for which it is trained; empty if it counts for all."""
    stop_epoch: Annotated[int, Range(low=1, high=10**9)] | None = None
    """The epoch after which it ends, within a schedule over the full budget; the last one when None."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """A parameter whose values are compared by the best result that can be found with each."""

    parameter: str
    levels: tuple[Scalar, ...]  # at least two values; each gets equally many epochs

    @property
    def text(self) -> str:
        """`batch_norm (True, False)`."""
        return f"{self.parameter} ({', '.join(map(str, self.levels))})"


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a search was asked to do: everything that its outcome depends on."""

    name: Name
    space: str
    fingerprint: str
    """Hash of the space's parameters and ranges: a resumed run must search the same space."""
    dataset: str
    dataset_checksum: str
    data_dir: str
    train_size: Count | None
    validation_fraction: Annotated[float, Range(low=0, high=1)]
    seed: Seed
    epochs: Annotated[int, Range(low=1, high=10**9)]
    """Full budget of one trial."""
    min_epochs: Annotated[int, Range(low=1, high=10**9)]
    reduction_factor: Annotated[int, Range(low=2, high=10**9)]
    pruner: Pruner
    sampler: Sampler
    metric: str
    direction: Direction
    trials: Annotated[int, Range(low=0, high=10**9)]
    baseline: dict[str, Scalar]
    plan: tuple[Planned, ...] = ()
    fixed: dict[str, Scalar] = field(default_factory=dict)  # parameters that have one value in all trials
    questions: tuple[Question, ...] = ()
    """Parameters whose values are compared."""
    ranges: tuple[SetRange, ...] = ()
    """Ranges that this search has in place of those of its space."""
    replaced: tuple[ReplacedRange, ...] = ()  # ranges that a resumed search replaced, in their order
    priors: tuple[Prior, ...] = ()
    """Values that the user expects to be good."""
    earlier: tuple[Earlier, ...] = ()
    """What is taken from earlier searches."""
    second: Second | None = None
    table: TableOptions | None = None
    """What is predicted in a table of the user's own, as the options say."""
    decided: TableOptions | None = None
    """The same with the task and the type of every column as detected when the run began; older runs lack it."""
    split: SplitRule = RANDOM
    """How the rows of a table or of images of the user's own are split."""
    folds: Annotated[int, Range(low=1, high=MAX_FOLDS)] = 1
    """Folds on which each trial is trained, and over which its value is the mean; 1 for one validation split."""
    images: ImageOptions | None = None
    """How the images of a folder become squares, as decided when the run began; older runs lack it."""
    passes: Count = 1
    """How often an epoch passes over the training rows."""
    keep_epoch: KeptEpoch = "last"
    """The epoch whose weights and value count for a trial; older runs keep the last one."""
    repeats: Annotated[int, Range(low=1, high=100)] = 1  # trainings of the best configuration, on different seeds
    until_gain: Annotated[float, Range(low=0, high=10**9)] | None = None
    """The search ends when it expects to gain less than this, in the unit of the metric; 0 or None for never."""
    max_weights: Count | None = None
    max_macs: Count | None = None
    study_url: Address | None = None
    storage: Address | None = None
    """URI of the store of checkpoints, which are in an entry with the name of the run; None for the run folder."""
    keep_checkpoints: Literal["best", "all"] = "best"
    keep_best: Annotated[int, Range(low=1, high=10**6)] = 1
    """Best finished trials whose last checkpoints are kept."""
    slots: Annotated[int, Range(low=0, high=10**9)] = 1
    cpus_per_trial: Annotated[int, Range(low=0, high=10**9)] = 1
    gpus_per_trial: Annotated[float, Range(low=0, high=10**9)] = 0.0
    workers_per_trial: Annotated[int, Range(low=1, high=10**9)] = 1  # processes that train a trial together
    workers_by_config: bool = False  # whether each configuration decides their number
    env: tuple[str, ...] = ()  # names of variables that training processes get; no value is stored
    logger: Logger = "none"  # gets the results as well, also when the run is resumed
    command: str = ""
    config: dict[str, Any] | None = None
    """The file of --config, and the options that were taken from it."""
    created: str = ""
    """UTC, ISO 8601."""
    commit: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)
    title: str = ""
    unit: str = ""
    """What is searched, in words, and the unit of the metric, if the user's own code states them."""
    source: dict[str, Any] | None = None
    """Of a space of the user's own: sha256 and names of the files in `source`, and of those too large to keep."""
    forecast: dict[str, Any] | None = None
    """The forecast of `--dry-run`, if it ran before: the fields of `search.forecast.forecast.Forecast`."""
    format: Annotated[int, Range(low=1, high=FORMAT)] = FORMAT

    @property
    def threads(self) -> int:
        """CPUs of each worker of a trial."""
        return self.cpus_per_trial // self.workers_per_trial

    @property
    def subject(self) -> str:
        """What is searched, for a line of text: the space and its data."""
        return f"{short_name(self.space)} ({self.dataset or self.title or 'own code'})"

    @property
    def has_test(self) -> bool:
        """Whether the final evaluation has test rows: those of a data set of ours, or a test function of the user's."""
        return bool(self.dataset or (self.source or {}).get("test"))

    @property
    def reading(self) -> TableOptions | None:
        """How the table is read: as when the run began."""
        return self.decided or self.table

    @property
    def objective(self) -> Objective:
        """The metric that the search optimises."""
        return Objective(metric=self.metric, direction=self.direction)

    @property
    def keep(self) -> Keep | None:
        """How a training chooses the epoch that it keeps; None if that is the last one."""
        return Keep(metric=self.metric, maximize=self.objective.maximize) if self.keep_epoch == "best" else None

    @property
    def constraints(self) -> tuple[Constraint, ...]:
        """The bounds that no configuration may exceed."""
        bounds = {"weights": self.max_weights, "macs": self.max_macs}
        return tuple(Constraint(cost=cost, bound=bound) for cost, bound in bounds.items() if bound is not None)

    @property
    def rungs(self) -> tuple[int, ...]:
        """Epochs at which trials are compared, the full budget last."""
        return rungs(self.min_epochs, self.reduction_factor, epochs=self.epochs)


def rungs(min_epochs: int, reduction_factor: int, *, epochs: int) -> tuple[int, ...]:
    """The epochs `min_epochs * reduction_factor**k` below `epochs`, and `epochs` itself: (1, 3, 9, 20)."""
    if min_epochs < 1 or reduction_factor < 2:
        raise ValueError(f"rungs need min_epochs >= 1 and reduction_factor >= 2, got {min_epochs}, {reduction_factor}")
    levels, rung = [], min_epochs
    while rung < epochs:
        levels.append(rung)
        rung *= reduction_factor
    return (*levels, epochs)


def write_run(run_dir: Path, run: Run) -> None:
    """Write run.json, completely or not at all; ValueError if it cannot hold the run. URLs of an older run stay."""
    kept = {name: url for name, url in _stored_urls(run_dir).items() if redact_url(url) == getattr(run, name)}
    write_whole(run_dir / "run.json", as_json(replace(run, **kept)) + "\n")


def read_run(run_dir: str | Path) -> Run:
    """The run in this folder, without the credentials that an older release may have stored.

    Raises:
        ValueError: the folder is no run, its run.json is damaged, or a newer release wrote it.
    """
    check_run(Path(run_dir))
    stored = _stored(path := Path(run_dir) / "run.json")
    if not isinstance(stored, dict) or type(stored.get("format")) is not int:
        raise ValueError(f"{path} does not describe a run; restore it from a copy")
    if stored["format"] > FORMAT:
        raise ValueError(
            f"{path} has format {stored['format']}; this release reads formats up to {FORMAT}; upgrade rungwise"
        )
    try:
        run = build(Run, stored)
    except TypeError as error:
        raise ValueError(f"{path} is incomplete ({error}); restore it from a copy") from None
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}); restore it from a copy") from None
    urls = {name: redact_url(url) for name in _URLS if (url := getattr(run, name)) is not None}
    return replace(run, space=as_begun(run.space, run.fingerprint), command=redact_command(run.command), **urls)


def load_data(space: "Space", **selected: Any) -> Any:
    """Training and validation rows of the space's data set, or what code of the user's own reads.

    Args:
        selected: the fields of a `Selection`.

    Raises:
        ValueError: what is wrong with the data, or what the user's own code raised.
    """
    try:
        return space.work.load(Selection(**selected))
    except (Exception, SystemExit) as error:
        if not space.own:
            raise
        raise ValueError(f"data() fails: {describe_error(error)}") from error


def data_of(run: Run, space: "Space", *, data_dir: str | None = None, validation_fraction: float | None = None) -> Any:
    """The rows of a run, read as when it began.

    Args:
        space: that of the run.
        data_dir: where the data are now; where they were when None.
        validation_fraction: share of the rows that is held out; that of the run when None.

    Raises:
        ValueError: as `load_data`.
    """
    return load_data(
        space,
        data_dir=run.data_dir if data_dir is None else data_dir,
        seed=run.seed,
        train_size=run.train_size,
        validation_fraction=run.validation_fraction if validation_fraction is None else validation_fraction,
        table=run.reading,
        split=run.split,
        folds=run.folds if validation_fraction is None else 1,
        images=run.images,
        metric=run.metric,
        passes=run.passes,
    )


def _stored(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged ({error}); restore it from a copy") from None


def _stored_urls(run_dir: Path) -> dict[str, str]:
    """The URLs in run.json that contain credentials, which older releases allowed."""
    path = run_dir / "run.json"
    try:
        stored = _stored(path) if path.exists() else {}
    except ValueError:
        return {}
    found = {name: stored.get(name) for name in _URLS} if isinstance(stored, dict) else {}
    return {name: url for name, url in found.items() if isinstance(url, str) and redact_url(url) != url}


def stored_url(run_dir: Path, run: Run, name: Literal["study_url", "storage"]) -> str | None:
    """The URL to connect with, also if credentials are removed from that of `run`."""
    url = getattr(run, name)
    return _stored_urls(run_dir).get(name, url) if url is not None and HIDDEN in url else url
