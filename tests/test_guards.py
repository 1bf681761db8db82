"""Rules of the architecture that hold for every file."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.__main__ import ELSEWHERE, LANE, lanes
from tests.searching import ROOT

PACKAGES = ("search", "spaces", "trainables", "analysis", "rungwise")
SOURCES = sorted(p for package in PACKAGES for p in (ROOT / package).rglob("*.py"))
UNSAFE = re.compile(r"pickle\.loads?\(|weights_only=False|allow_pickle=True|joblib\.load|(?<![.\w])(?:eval|exec)\(")


def test_the_import_arrows_hold():
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([str(linter)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_test_set_is_opened_by_the_final_evaluation_alone():
    callers = {str(p.relative_to(ROOT)) for p in SOURCES if "load_test(" in p.read_text()}
    assert callers <= {"trainables/sources/load.py", "analysis/final.py"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_nothing_is_unpickled(path: Path):
    allowed = ["pickle.loads("] if path.name == "cifar10.py" else []  # the official files, after their checksum
    assert UNSAFE.findall(path.read_text()) in ([], allowed)


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_module_says_what_it_is_and_stays_small(path: Path):
    text = path.read_text()
    assert text.startswith('"""'), "a module begins with what it is"
    assert text.count("\n") <= 300, "a file has one job: under 300 lines"


def test_no_function_is_longer_than_forty_lines():
    long = {
        f"{path.relative_to(ROOT)} {node.name}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and (node.end_lineno or 0) - node.lineno + 1 > 40
    }
    assert long == set(), "cut it by meaning; its signature and docstring count"


def test_ray_is_never_imported_while_a_module_of_ours_is_merely_read():
    modules = "search.storage.study search.scheduling.search search.storage.ledger search.session.options"
    program = f"import sys, {', '.join(modules.split())}; assert 'ray' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


def test_the_two_lanes_of_the_tests_are_whole_and_share_no_file():
    first, second = (set(command[3:]) for command in lanes([]))
    files = {f"tests/{name}.py" for name in LANE}
    others = files | {f"tests/{name}.py" for name in ELSEWHERE}
    assert all((ROOT / file).is_file() for file in others)
    assert first == files
    assert second >= {f"--ignore={file}" for file in others} | {"tests"}
    assert sum(word.startswith("--ignore") for word in second) == len(others)


def test_what_several_tests_build_with_is_no_test_file():
    """Builders are in files of their own; a test that starts another process may name itself there."""
    found = {
        f"{path.name} imports {name}"
        for path in (ROOT / "tests").glob("*.py")
        for name in re.findall(r"(?:from|import) tests\.(test_\w+)", path.read_text())
        if name != path.stem
    }
    assert found == set()


@pytest.mark.parametrize("package", ["analysis", "rungwise", "search", "trainables"])
def test_the_docstring_of_a_package_lists_what_is_in_it(package: str):
    listed = (ROOT / package / "__init__.py").read_text().split('"""')[1]
    inside = {
        path.stem for path in (ROOT / package).iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    missing = {name for name in inside if not name.startswith("__") and not re.search(rf"\b{name}\b", listed)}
    assert missing == set()


THIRD_PERSON = re.compile(
    r"(Adds|Asks|Builds|Calls|Checks|Computes|Creates|Draws|Estimates|Fits|Gives|Holds|Lets|Makes|Moves|Opens|Prints|Puts"
    r"|Raises|Reads|Removes|Returns|Runs|Says|Sets|Suggests|Takes|Trains|Writes|Yields)\b(?! of\b)"
)


def test_the_docstring_of_a_function_begins_with_a_noun_phrase_or_an_imperative():
    found = {
        f"{path.relative_to(ROOT)} {node.name}: {text.splitlines()[0]}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and (text := ast.get_docstring(node)) and THIRD_PERSON.match(text)
    }
    assert found == set()


def test_a_number_agrees_with_its_noun_by_one_helper():
    above = [path for path in SOURCES if path.relative_to(ROOT).parts[0] not in ("trainables", "spaces")]
    assert [str(path) for path in above if re.search(r"""['"]s['"] \* \(?|else ['"]s['"]""", path.read_text())] == []
