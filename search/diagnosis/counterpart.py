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
from pathlib import Path

import spaces.space
from search.process.environment import allowed, named
from search.storage.source_code import canonical
from spaces.fingerprint import ranges_of
from spaces.origin import is_own, locate
from spaces.sources import read_sources
from spaces.space import Space

PATIENCE_SECONDS = 120
"""After this time without an answer, the space counts as the same."""
MOST_SEEDS = 16
"""Seeds of the hashes that are tried until sets of the choices have another order than here."""
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
    """Another process that gets the ranges of a space; `check` compares them."""

    def __init__(self, reference: str, space: Space, *, variables: Mapping[str, str], thorough: bool = False) -> None:
        """Begin, and check that `suggest` asks for the same twice in this process.

        Args:
            reference: canonical name of a space of the user's own.
            space: the same, as it is loaded.
            variables: environment variables that the code gets in addition to the allowed ones.
            thorough: begin a process also if the code has no set.

        Raises:
            ValueError: `suggest` fails, has a choice that cannot be stored, or asks for other ranges the second time.
        """
        self._ranges = ranges_of(space)
        _compare(self._ranges, ranges_of(space))
        texts = _texts(self._ranges)
        self._process: subprocess.Popen[bytes] | None = None
        if texts and (thorough or _has_sets(reference)):
            path = os.pathsep.join([str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", __name__, reference],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**allowed(os.environ), **variables, "PYTHONPATH": path, "PYTHONHASHSEED": str(_other_seed(texts))},
            )
            atexit.register(self._process.kill)

    def check(self) -> None:
        """Wait for the other process, unless its answer is known; code that fails there counts as the same.

        Raises:
            ValueError: a parameter has other choices, or another range, in another process.
        """
        if (process := self._process) is None:
            return
        self._process = None
        found: dict[str, list[str]] = self._ranges
        try:
            *_, last = process.communicate(timeout=PATIENCE_SECONDS)[0].splitlines()
            found = json.loads(last)
        except (subprocess.TimeoutExpired, ValueError):
            process.kill()
        atexit.unregister(process.kill)
        _compare(self._ranges, found)


def _compare(here: Mapping[str, list[str]], there: Mapping[str, list[str]]) -> None:
    changed = [name for name in {**here, **there} if here.get(name) != there.get(name)]
    for name in changed:
        if _unordered(here.get(name, [])) == _unordered(there.get(name, [])):
            raise ValueError(
                f"the choices of {name} have another order in each process, as those of a set do, so the search could"
                f" not be resumed; use a list or sorted(...)"
            )
    if changed:
        raise ValueError(
            f"suggest gives {changed[0]} another range when it is called again, so the search could not be resumed; a"
            " range must depend only on values of the trial"
        )


def _unordered(ranges: Sequence[str]) -> list[list[str]]:
    """Ranges as JSON, without the order of their choices."""
    return sorted(sorted(map(repr, json.loads(text)["attributes"].get("choices", [text]))) for text in ranges)


def _texts(ranges: Mapping[str, list[str]]) -> list[list[str]]:
    """The choices that are texts, of each range with at least two."""
    choices = [json.loads(text)["attributes"].get("choices", ()) for texts in ranges.values() for text in texts]
    found = [[choice for choice in some if isinstance(choice, str)] for some in choices]
    return [some for some in found if len(some) > 1]


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


def _other_seed(choices: Sequence[Sequence[str]]) -> int:
    """A seed of the hashes with which sets of these texts have other orders than the texts have here."""
    program = f"print([list(set(some)) for some in {choices!r}])"
    best, most = 1, 0
    for seed in range(1, MOST_SEEDS + 1):
        environment = {**allowed(os.environ), "PYTHONHASHSEED": str(seed)}
        done = subprocess.run([sys.executable, "-S", "-c", program], capture_output=True, env=environment, check=False)
        orders = ast.literal_eval(done.stdout.decode() or "[]")
        num_other = sum(one != other for one, other in zip(orders, choices, strict=False))
        if num_other > most:
            best, most = seed, num_other
        if most == len(choices):
            break
    return best


if __name__ == "__main__":
    print("\n" + json.dumps(ranges_of(spaces.space.load(sys.argv[1]))), flush=True)
    os._exit(0)  # nothing that the user's code prints at its end follows
