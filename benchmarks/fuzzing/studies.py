"""Damaged studies and run folders, opened by a resumed search, by the report and by the publication.

    python -m benchmarks.fuzzing.studies --count 200

Each damage must be met with one line that names the file and the way out. A damage that goes unnoticed must have
changed no value that a search stored.
"""

import json
import random
import shutil
import sqlite3
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import tyro
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from search.session.opening import old_run
from search.storage.ledger import Ledger
from search.storage.run import Planned, Run, read_run
from search.storage.study import new_run, open_study, resume_study

Damage = Callable[[Path, random.Random], None]
TABLES = {
    "trials": ("number", "study_id", "state", "datetime_start"),
    "trial_params": ("trial_id", "param_name", "param_value", "distribution_json"),
    "trial_intermediate_values": ("trial_id", "step", "intermediate_value", "intermediate_value_type"),
    "trial_values": ("trial_id", "objective", "value", "value_type"),
    "trial_user_attributes": ("trial_id", "key", "value_json"),
    "trial_system_attributes": ("trial_id", "key", "value_json"),
    "study_directions": ("direction", "study_id"),
    "study_system_attributes": ("key", "value_json"),
    "studies": ("study_name",),
    "alembic_version": ("version_num",),
    "version_info": ("schema_version",),
}
HOSTILE = (
    None,
    True,
    -1,
    0,
    1,
    10**30,
    1.5,
    float("nan"),
    float("inf"),
    "",
    "9",
    "x" * 5000,
    "\ud800",
    [],
    [[]],
    {},
    {"a": 1},
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Damage studies and see what is said."""

    count: int = 200
    seed: int = 0


def run(count: int, seed: int = 0) -> dict[str, Any]:
    """Damage so many run folders, one after another.

    Returns:
        Counts: how many were refused in one line, how many went unnoticed without and with a value that changed, and
        the tracebacks of what should not have been raised.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    counts: Counter[str] = Counter()
    crashes: list[str] = []
    changed: list[str] = []
    with tempfile.TemporaryDirectory(prefix="rungwise-fuzz-") as folder:
        whole = Path(folder) / "whole" / "r"
        make_run_folder(whole)
        known = contents(open_study(whole))
        for index in range(count):
            generator = random.Random(f"{seed}/{index}")
            name, damage = generator.choice(DAMAGES)
            broken = Path(folder) / str(index) / "r"
            shutil.copytree(whole, broken)
            damage(broken, generator)
            outcome = {door: _opened(door, broken, known) for door in DOORS}
            shutil.rmtree(broken.parent)
            sentences = [said for said in outcome.values() if said.startswith("crash")]
            crashes += [f"{name} {index}: {said}" for said in sentences]
            altered = [f"{name} {index}: {door}" for door, said in outcome.items() if said == "changed"]
            changed += altered
            counts[
                "crash"
                if sentences
                else "changed"
                if altered
                else "refused"
                if "refused" in outcome.values()
                else "unnoticed"
            ] += 1
    return {"count": count, "seed": seed, **counts, "crashes": crashes, "changed values": changed}


def make_run_folder(folder: Path) -> None:
    """A run with finished, pruned, failed and waiting trials, and a checkpoint and an opening beside it."""
    values: dict[str, Any] = {
        "name": "r", "space": "digits_arch", "fingerprint": "f", "dataset": "digits", "dataset_checksum": "c",
        "data_dir": "data", "train_size": None, "validation_fraction": 0.1, "seed": 3, "epochs": 9, "min_epochs": 1,
        "reduction_factor": 3, "pruner": "asha", "sampler": "random", "metric": "accuracy", "direction": "maximize",
        "trials": 12, "baseline": {"lr": 0.1}, "plan": (Planned(params={"lr": 0.1}, tag="baseline"),),
    }  # fmt: skip
    asked = Run(**values)
    new_run(folder, asked)
    ledger = Ledger(resume_study(folder, asked), asked)
    space = {
        "lr": FloatDistribution(0.01, 1, log=True),
        "depth": IntDistribution(1, 8),
        "pool": CategoricalDistribution(("max", "mean", None)),
    }
    for number in range(10):
        params = {"lr": 0.1 + number / 100, "depth": number % 8 + 1, "pool": ("max", "mean", None)[number % 3]}
        ledger.add(params, space, weights=1000 + number)
        for epoch in range(1, (2, 4, 10)[number % 3]):
            ledger.report(
                number, epoch=epoch, value=0.5 + epoch / 100, record={"epoch": epoch, "accuracy": 0.5 + epoch / 100}
            )
        if number < 8:
            ledger.finish(number, (TrialState.PRUNED, TrialState.PRUNED, TrialState.COMPLETE)[number % 3])
    ledger._storage.engine.dispose()  # type: ignore[attr-defined]
    entry = folder / "checkpoints" / "trial-00009" / "epoch-0001"
    entry.mkdir(parents=True)
    (entry / "state.pt").write_bytes(bytes(1000))
    (entry / "manifest.json").write_text('{"epoch": 1, "size": 1000, "sha256": "0"}')


def contents(study: optuna.Study) -> list[tuple[Any, ...]]:
    """What a search stored and later reads."""
    return [
        (
            t.number,
            t.params,
            t.intermediate_values,
            t.value,
            t.state,
            t.user_attrs.get("seed"),
            t.user_attrs.get("history"),
        )
        for t in study.get_trials(deepcopy=False)
    ]


def _resume(folder: Path) -> list[tuple[Any, ...]]:
    asked = old_run(folder, given={}, trials=None)
    storage = resume_study(folder, asked)
    try:
        Ledger(storage, asked)
    finally:
        storage.engine.dispose()
    return contents(open_study(folder))


def _report(folder: Path) -> list[tuple[Any, ...]]:
    from analysis.studies.trials import read_trials

    asked = read_run(folder)
    assert len(asked.rungs) < 100
    study = open_study(folder)
    read_trials(study, asked)
    return contents(study)


DOORS: dict[str, Callable[[Path], list[tuple[Any, ...]]]] = {"resume": _resume, "report": _report}


def _opened(door: str, folder: Path, known: list[tuple[Any, ...]]) -> str:
    """`same`, `changed`, `refused`, or what crashed."""
    try:
        found = DOORS[door](folder)
    except (ValueError, OSError) as error:
        line = str(error)
        named = str(folder) in line or "direction must be" in line
        return "refused" if named and "\n" not in line and len(line) < 2000 else f"crash: unhelpful: {line[:300]}"
    except Exception:
        return f"crash: {traceback.format_exc(limit=-3)}"
    return "same" if found == known else "changed"


def _flip(folder: Path, generator: random.Random) -> None:
    data = bytearray((folder / "study.db").read_bytes())
    for _ in range(generator.randint(1, 20)):
        data[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
    (folder / "study.db").write_bytes(data)


def _flip_text(folder: Path, generator: random.Random) -> None:
    """A bit of what a search wrote, where SQLite's own structure stays whole."""
    data = bytearray((folder / "study.db").read_bytes())
    places = [i for i, byte in enumerate(data) if chr(byte).isdigit()]
    data[generator.choice(places)] ^= 1
    (folder / "study.db").write_bytes(data)


def _cut(folder: Path, generator: random.Random) -> None:
    path = generator.choice([path for path in folder.rglob("*") if path.is_file()])
    path.write_bytes(path.read_bytes()[: generator.randrange(path.stat().st_size + 1)])


def _sql(folder: Path, generator: random.Random) -> None:
    table = generator.choice(sorted(TABLES))
    column = generator.choice(TABLES[table])
    with closing(sqlite3.connect(folder / "study.db")) as connection:
        rows = [row for (row,) in connection.execute(f"SELECT rowid FROM {table}")]
        row = generator.choice(rows) if rows else 0
        value = generator.choice((None, "BOGUS", -1, 7, 1e300, "{", "[]", "null", b"\xff\xfe", "99999"))
        statement, values = generator.choice(
            (
                (f"DELETE FROM {table} WHERE rowid = ?", (row,)),
                (f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (value, row)),
                (f"UPDATE {table} SET {column} = (SELECT {column} FROM {table} LIMIT 1) WHERE rowid = ?", (row,)),
            )
        )
        try:
            connection.execute("PRAGMA ignore_check_constraints = 1")
            connection.execute(statement, values)
            connection.commit()
        except sqlite3.IntegrityError:
            connection.rollback()


def _json(folder: Path, generator: random.Random) -> None:
    stored = json.loads((folder / "run.json").read_text())
    for _ in range(generator.randint(1, 3)):
        name = generator.choice(sorted(stored))
        if generator.random() < 0.2:
            del stored[name]
        else:
            stored[name if generator.random() < 0.9 else "extra"] = generator.choice(HOSTILE)
    (folder / "run.json").write_text(json.dumps(stored))


DAMAGES: list[tuple[str, Damage]] = [
    ("bits", _flip), ("digit", _flip_text), ("cut", _cut), ("sql", _sql), ("sql", _sql), ("run.json", _json),
]  # fmt: skip


if __name__ == "__main__":
    asked_for = tyro.cli(Options)
    print(json.dumps(run(asked_for.count, asked_for.seed), indent=2))
