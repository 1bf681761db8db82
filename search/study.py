"""The run folder and its Optuna study: what was asked (run.json), and all that came of it (study.db).

Imports no Ray, so that analysis can read a run anywhere, also while a search is writing it.
"""

import json
import shutil
import sqlite3
import weakref
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import optuna
import sqlalchemy.event
import sqlalchemy.exc
from optuna.storages import BaseStorage, RDBStorage
from sqlalchemy.pool import StaticPool

from search.place import check_run
from search.reading import BulkStorage, read_trials
from search.scratch import make_scratch, remove_scratch
from search.storage import WholeTrialStorage
from trainables.table import TableOptions, options_from
from trainables.whole import write_whole

FORMAT = 1
"""Version of the run folder; a reader refuses a newer one."""

Pruner = Literal["asha", "asha-stop", "hyperband", "median", "none"]
Sampler = Literal["curves", "tpe", "random", "gp", "cmaes", "qmc"]


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A configuration that is trained as it stands, before the sampler chooses any."""

    params: dict[str, Any]
    seed: int | None = None
    """Seed of this trial; None derives it from the seed of the run."""
    tag: str = ""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a search was asked to do: everything that its outcome depends on."""

    name: str
    space: str
    fingerprint: str
    """Hash of the space's parameters and ranges: a resumed run must search the same space."""
    dataset: str
    dataset_checksum: str
    data_dir: str
    train_size: int | None
    validation_fraction: float
    seed: int
    epochs: int
    """Full budget of one trial."""
    min_epochs: int
    reduction_factor: int
    pruner: Pruner
    sampler: Sampler
    metric: str
    direction: Literal["maximize", "minimize"]
    trials: int
    baseline: dict[str, Any]
    plan: tuple[Planned, ...] = ()
    table: TableOptions | None = None
    """What is predicted in a table of the user's own."""
    decided: TableOptions | None = None
    """The same with the task and what every column is, as found when the run began; older runs lack it."""
    max_weights: int | None = None
    max_macs: int | None = None
    study_url: str | None = None
    storage: str | None = None
    """URI under which the checkpoints lie, in a place by the name of the run; None for the run folder."""
    keep_checkpoints: Literal["best", "all"] = "best"
    slots: int = 1
    cpus_per_trial: int = 1
    gpus_per_trial: float = 0.0
    logger: Literal["none", "tensorboard", "mlflow", "wandb"] = "none"
    """Where results go as well, also when the run is resumed."""
    command: str = ""
    created: str = ""
    """UTC, ISO 8601."""
    commit: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)
    forecast: dict[str, Any] | None = None
    """What `--dry-run` said before the search, if it was asked: the fields of `search.forecast.Forecast`."""
    format: int = FORMAT

    @property
    def reading(self) -> TableOptions | None:
        """How the table is to be read: as when the run began."""
        return self.decided or self.table

    @property
    def rungs(self) -> tuple[int, ...]:
        """Epochs at which trials are compared, the full budget last."""
        return rungs(self.min_epochs, self.reduction_factor, epochs=self.epochs)


def rungs(min_epochs: int, reduction_factor: int, *, epochs: int) -> tuple[int, ...]:
    """The epochs `min_epochs * reduction_factor**k` below `epochs`, and `epochs` itself: (1, 3, 9, 20)."""
    levels, rung = [], min_epochs
    while rung < epochs:
        levels.append(rung)
        rung *= reduction_factor
    return (*levels, epochs)


def write_run(run_dir: Path, run: Run) -> None:
    """Write run.json whole or not at all."""
    write_whole(run_dir / "run.json", json.dumps(asdict(run), indent=2, default=str) + "\n")


def read_run(run_dir: str | Path) -> Run:
    """What the run in this folder was asked to do.

    Raises:
        ValueError: the folder is no run, its run.json is damaged, or a newer release wrote it.
    """
    check_run(Path(run_dir))
    path = Path(run_dir) / "run.json"
    try:
        stored = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is damaged ({error}); restore it from a copy") from None
    if not isinstance(stored, dict) or not isinstance(stored.get("format"), int):
        raise ValueError(f"{path} does not describe a run; restore it from a copy")
    if stored["format"] > FORMAT:
        raise ValueError(f"{path} has format {stored['format']}, this release reads up to {FORMAT}; upgrade rungwise")
    known = {f.name for f in fields(Run)}
    try:
        stored["plan"] = tuple(Planned(**planned) for planned in stored.get("plan", ()))
        stored |= {name: options_from(stored.get(name)) for name in ("table", "decided")}
        return Run(**{name: value for name, value in stored.items() if name in known})
    except TypeError as error:
        raise ValueError(f"{path} is incomplete ({error}); restore it from a copy") from None


def create_study(run_dir: Path, run: Run) -> None:
    """Make the empty study of a new run.

    Raises:
        ValueError: the database of --study-url holds one by that name, or cannot be reached.
    """
    try:
        storage = _storage(run_dir, run)
        optuna.create_study(study_name=run.name, storage=storage, direction=run.direction)
    except optuna.exceptions.DuplicatedStudyError:
        raise ValueError(f"the database holds a study {run.name!r} already; give another --name") from None
    except (sqlalchemy.exc.SQLAlchemyError, ImportError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"the study cannot be made in {run.study_url or run_dir}: {reason}") from None
    storage.engine.dispose()


def resume_study(run_dir: Path, run: Run) -> BaseStorage:
    """The storage of an existing run, ready to be continued.

    Raises:
        ValueError: the study is missing, damaged or not the one that run.json describes; never a silent fresh start.
    """
    if run.study_url is None:
        check_database(run_dir / "study.db")
    storage = _storage(run_dir, run)
    try:
        study_id = storage.get_study_id_from_name(run.name)
    except KeyError:
        where = run.study_url or run_dir / "study.db"
        raise ValueError(
            f"{where} holds no study {run.name!r}; restore it from a copy or start under another --name"
        ) from None
    stored = storage.get_study_directions(study_id)[0].name.lower()
    if stored != run.direction:
        raise ValueError(
            f"the study's direction must be {run.direction!r}, got {stored!r}; it is not the study of run.json"
        )
    return storage


def check_database(path: Path) -> None:
    """Raise ValueError with the reason unless `path` is a sound SQLite database."""
    if not path.is_file():
        raise ValueError(f"{path} is missing: the study is lost; restore it from a copy or start under another --name")
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty: the study is lost; restore it from a copy or start under another --name")
    try:
        with closing(sqlite3.connect(path)) as connection:
            answer = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.DatabaseError as error:
        answer = str(error)
    if answer != "ok":
        raise ValueError(f"{path} is damaged ({answer}); restore it from a copy or start under another --name")


def _storage(run_dir: Path, run: Run) -> RDBStorage:
    """The durable storage: SQLite in WAL mode beside run.json, or the database the user named.

    synchronous=NORMAL keeps every commit through a kill of the process; a power cut may take the last few.
    """
    if run.study_url is not None:
        return _server(run.study_url, pool_pre_ping=True)
    storage = WholeTrialStorage(
        f"sqlite:///{(run_dir / 'study.db').resolve()}", engine_kwargs={"connect_args": {"timeout": 60}}
    )

    @sqlalchemy.event.listens_for(storage.engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")

    storage.engine.dispose()  # connections made before the listener do without WAL
    return storage


def _server(url: str, **engine: Any) -> RDBStorage:
    """The storage on a database server, whose connections are closed with it."""
    storage = WholeTrialStorage(url, engine_kwargs=engine)
    weakref.finalize(storage, storage.engine.dispose)
    return storage


def open_study(run_dir: str | Path) -> optuna.Study:
    """A consistent snapshot of the study, in memory: nothing is locked, nothing is written.

    Works while a search writes, and on a read-only folder.

    Raises:
        ValueError: there is no study, or it is damaged.
    """
    run_dir = Path(run_dir)
    run = read_run(run_dir) if (run_dir / "run.json").exists() else None
    if run is not None and run.study_url is not None:
        return _copy_from_server(run.study_url, run.name)
    path = run_dir / "study.db"
    if not path.is_file() or path.stat().st_size == 0:
        raise ValueError(f"{path} is missing or empty: there is no study to read")
    try:
        memory = _snapshot(path)
        storage = BulkStorage(
            "sqlite://",
            engine_kwargs={"creator": lambda: memory, "poolclass": StaticPool},
            skip_compatibility_check=True,
            skip_table_creation=True,
        )
        names = optuna.get_all_study_names(storage)
    except (sqlite3.DatabaseError, sqlalchemy.exc.DatabaseError) as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        raise ValueError(f"{path} is damaged ({reason}); restore it from a copy") from None
    if not names:
        raise ValueError(f"{path} holds no study yet; wait for the search to begin")
    wanted = run.name if run is not None and run.name in names else names[0]
    return optuna.load_study(study_name=wanted, storage=storage)


def _copy_from_server(url: str, name: str) -> optuna.Study:
    """The study as one transaction sees it, in memory.

    Raises:
        ValueError: the server cannot be reached, or holds no such study.
    """
    isolation = {} if url.startswith("sqlite") else {"isolation_level": "REPEATABLE READ"}
    try:
        source = _server(url, **isolation)
        study_id = source.get_study_id_from_name(name)
        memory = optuna.create_study(study_name=name, directions=source.get_study_directions(study_id))
        for key, value in source.get_study_user_attrs(study_id).items():
            memory.set_user_attr(key, value)
        memory.add_trials(read_trials(source, study_id))
    except KeyError:
        raise ValueError(f"{url} holds no study {name!r}; restore it from a copy") from None
    except (sqlalchemy.exc.SQLAlchemyError, ImportError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"the study cannot be read from {url}: {reason}") from None
    return memory


def _snapshot(path: Path) -> sqlite3.Connection:
    memory = sqlite3.connect(":memory:", check_same_thread=False)
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=30)) as source:
            source.backup(memory)
        return memory
    except sqlite3.OperationalError:
        # a WAL database in a folder that cannot be written: SQLite wants its -shm file, so read a private copy
        scratch = make_scratch()
        try:
            for suffix in ("", "-wal"):
                with suppress(FileNotFoundError):
                    shutil.copyfile(f"{path}{suffix}", scratch / f"study.db{suffix}")
            with closing(sqlite3.connect(scratch / "study.db")) as source:
                source.backup(memory)
        finally:
            remove_scratch(scratch)
        return memory
