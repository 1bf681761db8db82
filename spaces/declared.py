"""A space in a YAML or JSON file, for training code of the user's own: its parameters, and where the functions are."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from spaces.changes import describe_range
from trainables.data.names import did_you_mean
from trainables.files.settings import ENDINGS, Settings, read_settings

FUNCTIONS = ("train", "task", "data", "test", "costs", "workers")
"""Names of a file that say where a function is, as `my_code.py:train`."""
_TEXTS = ("metric", "direction", "unit", "title")
_COUNTS = ("epochs", "min_epochs")
_KNOWN = (*FUNCTIONS, *_TEXTS, *_COUNTS, "parameters", "baseline")
_OF_PARAMETER = ("type", "low", "high", "log", "step", "choices", "when")
_TYPES = ("float", "int", "categorical")
Scalar = str | int | float | bool | None


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One parameter as a file declares it."""

    name: str
    kind: Literal["float", "int", "categorical"]
    low: Any = None
    high: Any = None
    log: bool = False
    step: Any = None
    choices: tuple[Scalar, ...] = ()
    when: dict[str, tuple[Scalar, ...]] = field(default_factory=dict)
    """Values that earlier parameters must have, for it to be used."""

    @property
    def text(self) -> str:
        """The values in words."""
        if self.kind == "categorical":
            return "{" + ", ".join(map(_written, self.choices)) + "}"
        return describe_range(self.low, self.high, log=self.log, step=self.step)

    def is_used(self, values: Mapping[str, Any]) -> bool:
        """Whether a configuration with these values has the parameter."""
        return all(name in values and _is_in(values[name], allowed) for name, allowed in self.when.items())

    def allows(self, value: Any) -> bool:
        """Whether the parameter may have this value."""
        if self.kind == "categorical":
            return _is_in(value, self.choices)
        if isinstance(value, bool) or not isinstance(value, int if self.kind == "int" else int | float):
            return False
        steps = (value - self.low) / self.step if self.step else 0
        return self.low <= value <= self.high and abs(steps - round(steps)) < 1e-8


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """What a file of a space says."""

    settings: Settings
    parameters: tuple[Parameter, ...]
    baseline: dict[str, Scalar]
    functions: dict[str, str]
    """Name of the function in a `Space` -> where it is."""
    facts: dict[str, Any]
    """The other fields of a `Space`."""

    def suggest(self, trial: Any) -> dict[str, Any]:
        """The parameters that a configuration has, by name."""
        values: dict[str, Any] = {}
        for one in self.parameters:
            if not one.is_used(values):
                continue
            if one.kind == "categorical":
                values[one.name] = trial.suggest_categorical(one.name, one.choices)
            elif one.kind == "int":
                values[one.name] = trial.suggest_int(one.name, one.low, one.high, step=one.step or 1, log=one.log)
            else:
                values[one.name] = trial.suggest_float(one.name, one.low, one.high, step=one.step, log=one.log)
        return values


def is_declared(reference: str) -> bool:
    """Whether a reference to a space names a file that declares one."""
    return reference.lower().endswith(ENDINGS)


def read_declaration(path: Path) -> Declaration:
    """The space that a file declares; the functions that it names are not looked up.

    Raises:
        ValueError: what is wrong, in one line with the line of the file.
    """
    file = read_settings(path, option="--space")
    for name in file.values:
        if name not in _KNOWN:
            hint = did_you_mean(name, _KNOWN)
            raise ValueError(f"{file.at(name)}: a space has no {name[:80]!r}{hint}; it has {', '.join(_KNOWN)}")
    functions = {name: _function(name, file) for name in FUNCTIONS if name in file.values}
    if ("train" in functions) == ("task" in functions):
        raise ValueError(f"{path}: a space needs either train or task, such as `train: my_code.py:train`")
    facts = {name: _fact(name, file) for name in (*_TEXTS, *_COUNTS) if name in file.values}
    for name, example in (("metric", "accuracy"), ("epochs", 10)):
        if name not in facts:
            raise ValueError(f"{path}: {name} is missing, such as `{name}: {example}`")
    if facts.get("min_epochs", 1) > facts["epochs"]:
        raise ValueError(f"{file.at('min_epochs')}: min_epochs must be at most epochs, {facts['epochs']}")
    parameters = _parameters(file)
    return Declaration(
        settings=file,
        parameters=parameters,
        baseline=_baseline(file, parameters),
        functions=functions,
        facts=facts,
    )


def _function(name: str, file: Settings) -> str:
    value = file.values[name]
    if not isinstance(value, str) or not re.fullmatch(r"(?!/)[^:\\]+\.py:[^\W\d]\w*", value) or ".." in value:
        raise ValueError(
            f"{file.at(name)}: {name} must name a file beside this one and a function, such as my_code.py:{name}, got"
            f" {_written(value)}"
        )
    return value


def _fact(name: str, file: Settings) -> Any:
    value = file.values[name]
    if name in _COUNTS and (isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 10**9):
        raise ValueError(f"{file.at(name)}: {name} must be a whole number of at least 1, got {_written(value)}")
    if name in _TEXTS and (not isinstance(value, str) or not value):
        raise ValueError(f"{file.at(name)}: {name} must be a text, got {_written(value)}")
    if name == "direction" and value not in ("maximize", "minimize"):
        raise ValueError(f"{file.at(name)}: direction must be maximize or minimize, got {_written(value)}")
    return value


def _parameters(file: Settings) -> tuple[Parameter, ...]:
    declared = file.values.get("parameters")
    if not isinstance(declared, dict) or not declared:
        example = "parameters: {lr: {type: float, low: 1e-4, high: 0.1, log: true}}"
        raise ValueError(f"{file.at('parameters')}: parameters must be names with ranges, such as `{example}`")
    found: dict[str, Parameter] = {}
    for name, says in declared.items():
        where = file.at("parameters", name)
        if not re.fullmatch(r"[^\W\d][\w.-]{0,99}", name):
            raise ValueError(f"{where}: the name of a parameter has letters, digits and _, got {name[:80]!r}")
        if not isinstance(says, dict):
            raise ValueError(f"{where}: {name} must have a range such as {{type: float, low: 0, high: 1}} or choices")
        for key in says:
            if key not in _OF_PARAMETER:
                hint = did_you_mean(key, _OF_PARAMETER)
                raise ValueError(f"{file.at('parameters', name, key)}: a parameter has no {key[:80]!r}{hint}")
        ranged = _choices if "choices" in says else _range
        fields = ranged(name, says, where)
        found[name] = Parameter(name=name, when=_when(name, says, found, where), **fields)
    return tuple(found.values())


def _choices(name: str, says: Mapping[str, Any], where: str) -> dict[str, Any]:
    choices = says["choices"]
    if says.get("type", "categorical") != "categorical" or {"low", "high", "log", "step"} & set(says):
        raise ValueError(f"{where}: {name} has either choices, or a type with low and high; leave one of them out")
    if not isinstance(choices, list) or len(choices) < 2 or not all(isinstance(c, Scalar) for c in choices):
        raise ValueError(f"{where}: choices of {name} must list two values or more, got {_written(choices)}")
    if any(choice in choices[:i] for i, choice in enumerate(choices)):  # also 1 and true, which Optuna takes for equal
        raise ValueError(f"{where}: choices of {name} must be different, got {_written(choices)}")
    return {"kind": "categorical", "choices": tuple(choices)}


def _range(name: str, says: Mapping[str, Any], where: str) -> dict[str, Any]:
    kind = says.get("type")
    if kind not in _TYPES or kind == "categorical":
        need = "needs choices" if kind == "categorical" else f"needs a type, float or int, got {_written(kind)}"
        raise ValueError(f"{where}: {name} {need}")
    log, step = says.get("log", False), says.get("step")
    if not isinstance(log, bool):
        raise ValueError(f"{where}: log of {name} must be true or false, got {_written(log)}")
    low, high = (_number(key, name, says, where) for key in ("low", "high"))
    step = None if step is None else _number("step", name, says, where)
    if not low < high:
        raise ValueError(f"{where}: low of {name} must be below high, got {low} and {high}")
    if log and low <= 0:
        raise ValueError(f"{where}: {name} is logarithmic, so low must be above 0, got {low}")
    if log and step is not None:
        raise ValueError(f"{where}: {name} has log and step; leave one of them out")
    if step is not None and (step <= 0 or abs((high - low) / step - round((high - low) / step)) > 1e-8):
        raise ValueError(f"{where}: high of {name} must be a number of steps of {step} above {low}, got {high}")
    return {"kind": kind, "low": low, "high": high, "log": log, "step": step}


def _number(key: str, name: str, says: Mapping[str, Any], where: str) -> Any:
    value: Any = says.get(key)
    kinds, said = (int, "a whole number") if says["type"] == "int" else (int | float, "a number")
    if isinstance(value, bool) or not isinstance(value, kinds) or not abs(value) < 1e300:
        got = "nothing" if value is None else _written(value)
        raise ValueError(f"{where}: {key} of {name} must be {said}, got {got}")
    return value if says["type"] == "int" else float(value)


def _when(
    name: str, says: Mapping[str, Any], before: Mapping[str, Parameter], where: str
) -> dict[str, tuple[Scalar, ...]]:
    """The condition of a parameter: `{optimizer: sgd}`, or `{layers: [2, 3]}`."""
    when = says.get("when", {})
    if not isinstance(when, dict):
        raise ValueError(f"{where}: when of {name} must be such as {{optimizer: sgd}}, got {_written(when)}")
    found: dict[str, tuple[Scalar, ...]] = {}
    for other, value in when.items():
        if other not in before:
            raise ValueError(
                f"{where}: when of {name} needs a parameter above it, got {other!r}{did_you_mean(other, before)}"
            )
        if before[other].kind == "float":
            raise ValueError(f"{where}: when of {name} needs a parameter with choices or whole numbers, got {other}")
        values = value if isinstance(value, list) else [value]
        if not values:
            raise ValueError(f"{where}: when of {name} needs a value of {other} ({before[other].text}), got []")
        for one in values:
            if not before[other].allows(one):
                raise ValueError(
                    f"{where}: when of {name}: {other} is never {_written(one)}; it is in {before[other].text}"
                )
        found[other] = tuple(values)
    return found


def _baseline(file: Settings, parameters: Sequence[Parameter]) -> dict[str, Scalar]:
    stated = file.values.get("baseline")
    if not isinstance(stated, dict):
        raise ValueError(
            f"{file.at('baseline')}: baseline must give each parameter the value that you would try first, such as"
            f" `baseline: {{{parameters[0].name}: ...}}`"
        )
    known = {one.name: one for one in parameters}
    for name in stated:
        if name not in known:
            raise ValueError(
                f"{file.at('baseline', name)}: there is no parameter {name[:80]!r}{did_you_mean(name, known)}"
            )
    found: dict[str, Scalar] = {}
    for name, one in known.items():
        if not one.is_used(found):
            if name in stated:
                raise ValueError(f"{file.at('baseline', name)}: {name} is not used with the other values; leave it out")
            continue
        if name not in stated:
            raise ValueError(f"{file.at('baseline')}: the baseline needs {name}, a value in {one.text}")
        value = stated[name]
        value = float(value) if one.kind == "float" and type(value) is int else value
        if not one.allows(value):
            raise ValueError(f"{file.at('baseline', name)}: {name} must lie in {one.text}, got {_written(value)}")
        found[name] = next(choice for choice in one.choices if choice == value) if one.choices else value
    return found


def _is_in(value: Any, values: Sequence[Any]) -> bool:
    """Whether a value is among others; True and 1 are different, 1 and 1.0 are not."""
    return any(isinstance(value, bool) == isinstance(one, bool) and value == one for one in values)


def _written(value: Any) -> str:
    """A value as the file has it, cut to 80 characters."""
    known = {True: "true", False: "false"}.get(value) if isinstance(value, bool) else None
    return known or ("null" if value is None else repr(value)[:80])
