"""Compares the ranges of a space with those that another process gets from the same code.

Python iterates over a set of texts in another order in each process, so choices from a set are not the same when the
search is resumed. A process with other hashes of texts shows it; it imports the space meanwhile.
"""

import ast
import atexit
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import permutations
from pathlib import Path
from typing import Any

import spaces.space
from search.process.environment import allowed, named
from search.storage.source_code import canonical
from spaces.fingerprint import ranges_of
from spaces.origin import is_own, locate
from spaces.sources import read_sources
from spaces.space import Space

_FEW = 6
"""For so many choices, all orders in which a set of them can be filled are tried."""
PATIENCE_SECONDS = 120
"""After this time without an answer, the space counts as the same."""
MOST_SEEDS, MOST_PROCESSES = 16, 3
"""Seeds of the hashes that are tried, and processes with different ones, until each set of choices has another order
than here."""
_ROOT = Path(__file__).resolve().parents[2]


def begin_counterpart(reference: str, space: Space, *, env: Sequence[str]) -> "Counterpart | None":
    """The counterpart of a space; None for a built-in one.

    Args:
        env: names of environment variables that the code gets.

    Raises:
        ValueError: as `Counterpart`.
    """
    return Counterpart(canonical(reference), space, variables=named(env, os.environ)) if is_own(reference) else None


class Counterpart:
    """Other processes that get the ranges of a space; `check` compares them."""

    def __init__(self, reference: str, space: Space, *, variables: Mapping[str, str], thorough: bool = False) -> None:
        """Begin, and check that `suggest` asks for the same twice in this process.

        Args:
            reference: canonical name of a space of the user's own.
            space: the same, as it is loaded.
            variables: environment variables that the code gets in addition to the allowed ones.
            thorough: begin processes also if the code has no set.

        Raises:
            ValueError: `suggest` fails, has a choice that cannot be stored, or asks for other ranges the second time.
        """
        self._ranges = ranges_of(space)
        _compare(self._ranges, ranges_of(space))
        sets = _like_sets(self._ranges)
        self._processes: list[subprocess.Popen[bytes]] = []
        if sets and (thorough or _has_sets(reference)):
            environment = {**allowed(os.environ), **variables}
            self._processes = [_begin(reference, environment, seed=seed) for seed in _other_seeds(sets)]

    def check(self) -> None:
        """Wait for the other processes, unless their answer is known; code that fails there counts as the same.

        Raises:
            ValueError: a parameter has other choices, or another range, in another process.
        """
        found: list[dict[str, list[str]]] = []
        while self._processes:
            process = self._processes.pop()
            try:
                *_, last = process.communicate(timeout=PATIENCE_SECONDS)[0].splitlines()
                found.append(json.loads(last))
            except (subprocess.TimeoutExpired, ValueError):
                process.kill()
            atexit.unregister(process.kill)
        for ranges in found:
            _compare(self._ranges, ranges, elsewhere=True)


def _begin(reference: str, environment: Mapping[str, str], *, seed: int) -> "subprocess.Popen[bytes]":
    path = os.pathsep.join([str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", __name__, reference],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**environment, "PYTHONPATH": path, "PYTHONHASHSEED": str(seed)},
    )
    atexit.register(process.kill)
    return process


def _compare(here: Mapping[str, list[str]], there: Mapping[str, list[str]], *, elsewhere: bool = False) -> None:
    changed = [name for name in {**here, **there} if here.get(name) != there.get(name)]
    for name in changed:
        if _unordered(here.get(name, [])) == _unordered(there.get(name, [])):
            raise ValueError(
                f"the choices of {name} change their order from one process to the next, as a set does, so the search"
                " could not be resumed; use a list or sorted(...)"
            )
    if changed and elsewhere:
        raise ValueError(
            f"suggest gives {changed[0]} another range in another process, so its trials could not be trained; give"
            " the environment variables that it reads with --env"
        )
    if changed:
        raise ValueError(
            f"suggest gives {changed[0]} another range when it is called again, so the search could not be resumed; a"
            " range must depend only on values of the trial"
        )


def _unordered(ranges: Sequence[str]) -> list[list[str]]:
    """Ranges as JSON, without the order of their choices."""
    return sorted(sorted(map(repr, json.loads(text)["attributes"].get("choices", [text]))) for text in ranges)


def _like_sets(ranges: Mapping[str, list[str]]) -> list[list[Any]]:
    """The choices of each range, some of them texts, that may have the order of a set of them in this process."""
    choices = [json.loads(text)["attributes"].get("choices", []) for texts in ranges.values() for text in texts]
    return [some for some in choices if any(isinstance(one, str) for one in some) and _may_be_a_set(some)]


def _may_be_a_set(choices: Sequence[Any]) -> bool:
    """The order of a set may also depend on that in which it was filled."""
    return any(list(set(filling)) == list(choices) for filling in _fillings(choices))


def _fillings(choices: Sequence[Any]) -> list[Sequence[Any]]:
    return [*permutations(choices)] if len(choices) <= _FEW else [choices, choices[::-1]]


def _has_sets(reference: str) -> bool:
    """Whether the user's code has a set in it, or makes one of the keys of a dict."""
    origin = locate(reference)
    if origin.is_declared:
        return False
    for name, content in read_sources(origin).files.items():
        with suppress(SyntaxError, ValueError):
            if any(map(_is_set, ast.walk(ast.parse(content, filename=name)))):
                return True
    return False


def _is_set(node: ast.AST) -> bool:
    match node:
        case ast.Set() | ast.SetComp() | ast.Name(id="set" | "frozenset") | ast.Attribute(attr="keys"):
            return True
    return False


def _other_seeds(sets: Sequence[Sequence[Any]]) -> list[int]:
    """Seeds of the hashes with which sets have other orders than here: few, for as many of the sets as can be."""
    program = "import json, sys; print(json.dumps([[[*set(one)] for one in some] for some in json.load(sys.stdin)]))"
    fillings = json.dumps([_fillings(some) for some in sets]).encode()
    changed: dict[int, set[int]] = {}
    for seed in range(1, MOST_SEEDS + 1):
        environment = {**allowed(os.environ), "PYTHONHASHSEED": str(seed)}
        command = [sys.executable, "-S", "-c", program]
        done = subprocess.run(command, input=fillings, capture_output=True, env=environment, check=False)
        orders = json.loads(done.stdout or "[]")
        pairs = enumerate(zip(orders, sets, strict=False))
        changed[seed] = {place for place, (found, here) in pairs if list(here) not in found}
        if len(changed[seed]) == len(sets):
            return [seed]
    found: list[int] = []
    left = set(range(len(sets)))
    while left and len(found) < MOST_PROCESSES:
        found.append(max(changed, key=lambda seed: len(changed[seed] & left)))
        left -= changed[found[-1]]
    return found


if __name__ == "__main__":
    print("\n" + json.dumps(ranges_of(spaces.space.load(sys.argv[1]))), flush=True)
    os._exit(0)  # nothing that the user's code prints at its end follows
