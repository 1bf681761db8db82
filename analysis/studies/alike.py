"""What several runs have in common, and in what they differ: metric, data, settings and spaces."""

import hashlib
from collections.abc import Sequence
from enum import Enum
from typing import Any

import pandas as pd

from analysis.studies.parameters import Parameter, label
from analysis.studies.sides import Side
from analysis.wording import named
from spaces.second import Second
from trainables.data.split import SplitRule

MISSING = "–"
_NO_DATA = hashlib.sha256(b"None").hexdigest()
"""Checksum of a space without `data()`: its training code reads the data, and nothing is known of them."""


class Data(Enum):
    """How far the validation rows of two runs are the same."""

    SAME = "same rows"
    SPLIT = "same data, other rows held out"
    OTHER = "other data"
    UNKNOWN = "not known"


def same_metric(first: Side, other: Side) -> bool:
    """Whether values of the two runs are on one scale."""
    return first.trials.objective == other.trials.objective


def data_relation(first: Side, other: Side) -> Data:
    """Whether two runs trained and validated on the same rows."""
    if first.run is None or other.run is None:
        return Data.UNKNOWN
    one, two = first.run, other.run
    if one.dataset != two.dataset:
        return Data.OTHER
    if not {one.dataset_checksum, two.dataset_checksum}.isdisjoint(("", _NO_DATA)):
        return Data.UNKNOWN
    if one.dataset_checksum != two.dataset_checksum:
        return Data.OTHER
    splits = {(run.seed, run.train_size, run.validation_fraction, run.split, run.folds) for run in (one, two)}
    return Data.SAME if len(splits) == 1 or not one.dataset else Data.SPLIT  # own code splits its data itself


def num_shared(first: Side, other: Side) -> int:
    """Trials that both studies hold because one is a copy of the other, or began as one."""
    columns = ["number", "started", "epochs", "last"]
    if not (len(first.trials.trials) and len(other.trials.trials)):
        return 0
    one, two = (side.trials.trials[columns].dropna(subset=["started"]) for side in (first, other))
    keys = [set(map(tuple, table[["number", "started"]].astype(str).to_numpy().tolist())) for table in (one, two)]
    return len(keys[0] & keys[1])


_SETTINGS = (
    ("space", "space"),
    ("data", "dataset"),
    ("training rows", "train_size"),
    ("validation share", "validation_fraction"),
    ("split", "split"),
    ("folds", "folds"),
    ("second objective", "second"),
    ("seed", "seed"),
    ("trials asked for", "trials"),
    ("epochs of a trial", "epochs"),
    ("rungs", "rungs"),
    ("sampler", "sampler"),
    ("pruner", "pruner"),
    ("fixed", "fixed"),
    ("ranges set for the search", "ranges"),
    ("ranges that were changed", "replaced"),
    ("drawn by --prior", "priors"),
    ("taken from earlier searches", "earlier"),
    ("limit of weights", "max_weights"),
    ("limit of multiply-adds", "max_macs"),
    ("trials at once", "slots"),
    ("threads of a trial", "cpus_per_trial"),
    ("share of a GPU for a trial", "gpus_per_trial"),
)
"""What a reader sees, and the field of the run."""


def settings(sides: Sequence[Side]) -> pd.DataFrame:
    """One row per setting, one column per run, and whether it is the same in all of them."""
    rows: list[dict[str, Any]] = [_row("metric", sides, [_metric(side) for side in sides])]
    for said, name in _SETTINGS:
        values = [_setting(side, name) for side in sides]
        if set(values) != {MISSING}:
            rows.append(_row(said, sides, values))
    checks = [MISSING if s.run is None else s.run.dataset_checksum[:12] or MISSING for s in sides]
    rows.insert(3, _row("checksum of the data", sides, checks))
    sources = [MISSING if s.run is None or not s.run.source else str(s.run.source.get("sha256"))[:12] for s in sides]
    if set(sources) != {MISSING}:
        rows.insert(4, _row("checksum of your code", sides, sources))
    rows.append(_row("machine", sides, [_machine(side) for side in sides]))
    rows.append(_row("started", sides, [MISSING if s.run is None else _when(s.run.created) for s in sides]))
    return different_first(pd.DataFrame(rows))


def different_first(table: pd.DataFrame) -> pd.DataFrame:
    """The same rows, those that differ between the runs first."""
    return table.sort_values("same", kind="stable", ignore_index=True)


def _row(what: str, sides: Sequence[Side], values: Sequence[str]) -> dict[str, Any]:
    same = "yes" if len(set(values)) == 1 else "no"
    return {"setting": what, **{s.name: v for s, v in zip(sides, values, strict=True)}, "same": same}


def _metric(side: Side) -> str:
    aim = "larger" if side.trials.sign > 0 else "smaller"
    return f"{named(side.trials.metric, side.trials.target_unit)}, {aim} is better"


def _setting(side: Side, name: str) -> str:
    if side.run is None:
        known = {"epochs": side.trials.full_epochs, "rungs": side.trials.rungs}.get(name)
    else:
        known = getattr(side.run, name)
    if isinstance(known, SplitRule | Second):
        return known.option
    if known is None or known in ("", {}, (), 0, 0.0):
        return "0" if name == "seed" and known == 0 else MISSING
    if name == "space":
        return str(side.run.title if side.run and side.run.title else known)
    if isinstance(known, dict):
        return ", ".join(f"{key} = {label(value)}" for key, value in sorted(known.items()))
    if isinstance(known, tuple):
        return ("; " if name in ("ranges", "replaced", "priors", "earlier") else " ").join(map(str, known))
    return f"{known:,}" if isinstance(known, int) and name != "seed" else label(known)


def _machine(side: Side) -> str:
    machine = {} if side.run is None else side.run.machine
    if not machine:
        return MISSING
    gpus = f", {machine.get('gpu_model') or 'GPU'}" if machine.get("gpus") else ""
    return f"{machine.get('cpu_model') or 'CPU'}, {machine.get('cpus', '?')} cores{gpus}"


def _when(created: str) -> str:
    return f"{created[:16].replace('T', ' ')} UTC" if created else MISSING


def space_table(sides: Sequence[Side]) -> pd.DataFrame:
    """One row per hyperparameter: its range in each run, and whether all searched the same one."""
    names = dict.fromkeys(p.name for side in sides for p in side.trials.parameters)
    rows = []
    for name in names:
        ranges = [described(side, name) for side in sides]
        same = "yes" if len(set(ranges)) == 1 else "no"
        cells = {side.name: text for side, text in zip(sides, ranges, strict=True)}
        rows.append({"hyperparameter": name, **cells, "same": same})
    columns = pd.Index(["hyperparameter", *(side.name for side in sides), "same"])
    return different_first(pd.DataFrame(rows, columns=columns))


def described(side: Side, name: str) -> str:
    """The range of a hyperparameter in one run: `0.0001 to 0.1, log scale`."""
    found: Parameter | None = next((p for p in side.trials.parameters if p.name == name), None)
    if found is None:
        return "not searched"
    fixed = {} if side.run is None else side.run.fixed
    if name in fixed:
        return f"fixed: {label(fixed[name])}"
    if not found.numeric:
        return ", ".join(map(found.text, found.choices))
    ends = [label(int(end)) if found.kind == "integer" else label(float(end)) for end in (found.low, found.high)]
    return f"{ends[0]} to {ends[1]}" + (", log scale" if found.log else "")


def best_configurations(sides: Sequence[Side]) -> pd.DataFrame:
    """One row per hyperparameter: its value in the best complete trial of each run."""
    names = dict.fromkeys(p.name for side in sides for p in side.trials.parameters)
    rows = []
    for name in names:
        cells = {side.name: _value(side, name) for side in sides}
        rows.append({"hyperparameter": name, **cells, "same": "yes" if len(set(cells.values())) == 1 else "no"})
    columns = pd.Index(["hyperparameter", *(side.name for side in sides), "same"])
    return different_first(pd.DataFrame(rows, columns=columns))


def _value(side: Side, name: str) -> str:
    best = side.trials.best
    found = next((p for p in side.trials.parameters if p.name == name), None)
    if best is None or found is None:
        return MISSING
    value = best[f"params_{name}"]
    if pd.isna(value):
        return "not active"
    return found.text(int(value) if found.kind == "integer" else value)
