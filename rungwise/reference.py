"""Writes docs/reference/ from the code: the help of every command, and the docstrings of the Python interface.

python -m rungwise.reference [--check]
"""

import ast
import contextlib
import importlib
import io
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from unittest import mock

from rungwise.cli import COMMANDS, GROUPS
from rungwise.packages import ROOT
from search.process.arguments import Flag, parse, report_error
from trainables.files.whole import write_whole

_PARTS = (
    "suggest_training", "suggest_table_training", "suggest_cnn", "CnnRange", "suggest_mlp", "suggest_encoder",
    "suggest_optimizer", "suggest_short_optimizer", "suggest_adamw", "suggest_schedule", "suggest_augmentation",
)  # fmt: skip
NAMES = {
    "A space and its trials": {
        "Space": "spaces/space.py",
        "LoopRun": "trainables/own/looprun.py",
        "Trainable": "trainables/trainable.py",
        "Diverged": "trainables/trainable.py",
        "Paused": "trainables/own/looprun.py",
        "Predictions": "analysis/scores/predictions.py",
        "Reference": "spaces/space.py",
        "seed_everything": "trainables/own/randomness.py",
    },
    "Searching and reading runs": {
        "search": "rungwise/searching.py",
        "open_run": "rungwise/run.py",
        "FinishedRun": "rungwise/run.py",
        "BestTrial": "rungwise/run.py",
        "compare": "analysis/compare.py",
        "Comparison": "analysis/pages/compare.py",
    },
    "Parts of spaces for the built-in networks": dict.fromkeys(_PARTS, "spaces/parts.py"),
}
"""Chapter -> public name -> the file that defines it."""
INHERITED = {"LoopRun": ("Conditions", "trainables/own/conditions.py")}
"""Public name -> the class from which it has attributes that are described with it, and its file."""
_WIDTH = 100
_GENERATED = "<!-- written by `make docs`; edit the docstrings instead -->"


@dataclass(frozen=True, kw_only=True)
class Options:
    """Write docs/reference/commands.md and docs/reference/python.md."""

    out: Path = ROOT / "docs" / "reference"
    """Folder of the reference."""
    check: Flag = False
    """Write nothing; exit with 2 if a page does not match the code."""


def main(argv: list[str]) -> int:
    """The command; 0 when done, 2 for bad input or, with --check, a page that is out of date."""
    try:
        options = parse(Options, argv, prog="python -m rungwise.reference")
        for name, text in pages().items():
            path = options.out / name
            if not options.check:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_whole(path, text)
            elif not path.exists() or path.read_text() != text:
                raise ValueError(f"{path} does not match the code; update it with: make docs")
    except (ValueError, OSError) as error:
        return report_error(error)
    return 0


def pages() -> dict[str, str]:
    """File name -> text of every page of the reference."""
    return {"commands.md": "\n".join(_commands()), "python.md": "\n".join(_python())}


def _commands() -> Iterator[str]:
    yield f"# Commands\n\n{_GENERATED}\n"
    yield "Each command also runs as a module, for example `python -m search.run` for `rungwise search`."
    yield "[exit-codes.md](exit-codes.md) lists what they return.\n"
    for name, (module, what) in COMMANDS.items():
        also = "" if module in GROUPS else f" (`python -m {module}`)"
        yield f"## rungwise {name}{also}\n\n{what[0].upper()}{what[1:]}.\n"
        yield f"```text\n{help_of(name)}\n```\n"


def help_of(command: str) -> str:
    """The `--help` of a command, as a terminal of fixed width shows it."""
    module = importlib.import_module(COMMANDS[command][0])
    words = [command, "--help"] if module.__name__ in GROUPS else ["--help"]
    said = io.StringIO()
    fixed = {"COLUMNS": str(_WIDTH), "NO_COLOR": "1", "TERM": "dumb", "RUNGWISE_PROGRAM": "rungwise"}
    with mock.patch.dict(os.environ, fixed), contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        module.main(words)
    return "\n".join(_plain(said.getvalue())).strip()


def _plain(text: str) -> list[str]:
    """The lines without a frame, which a page has no use for."""
    unframed = (re.sub(r"^[│|] ?|\s*[│|]$", "", line).rstrip() for line in text.splitlines())
    return [line for line in unframed if not re.fullmatch(r"[ ╰+─-]+[╯+]?", line) or not line]


def _python() -> Iterator[str]:
    yield f"# Python\n\n{_GENERATED}\n"
    yield "Import `rungwise as rw` for the first two chapters, and `spaces.parts` for the third.\n"
    for chapter, names in NAMES.items():
        yield f"## {chapter}\n"
        for name, file in names.items():
            yield from _described(name, _definition(ROOT / file, name))


def _definition(path: Path, name: str) -> ast.ClassDef | ast.FunctionDef:
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return node
    raise ValueError(f"{path} does not define {name}")


def _described(name: str, node: ast.ClassDef | ast.FunctionDef) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef):
        yield f"### {name}\n\n```python\n{_signature(node)}\n```\n"
        yield _prose(ast.get_docstring(node) or "")
        return
    yield f"### {name}\n"
    yield _prose(ast.get_docstring(node) or "")
    classes = [node]
    if name in INHERITED:
        base, file = INHERITED[name]
        classes.append(_class(ROOT / file, base))
    fields = [line for part in classes for line in (*_fields(part), *_assigned(part))]
    if fields:
        yield "\n".join(fields) + "\n"
    for method in (statement for part in classes for statement in part.body):
        if isinstance(method, ast.FunctionDef) and _is_public(method):
            yield f"```python\n{name}.{_signature(method)}\n```\n"
            yield _prose(ast.get_docstring(method) or "")


def _class(path: Path, name: str) -> ast.ClassDef:
    found = _definition(path, name)
    assert isinstance(found, ast.ClassDef)
    return found


def _assigned(node: ast.ClassDef) -> Iterator[str]:
    """A line for each public attribute that `__init__` sets and describes."""
    inits = [part for part in node.body if isinstance(part, ast.FunctionDef) and part.name == "__init__"]
    for statement, following in ((s, f) for init in inits for s, f in pairwise(init.body)):
        target = statement.targets[0] if isinstance(statement, ast.Assign) else getattr(statement, "target", None)
        said = following.value if isinstance(following, ast.Expr) else None
        if isinstance(target, ast.Attribute) and not target.attr.startswith("_") and isinstance(said, ast.Constant):
            yield f"- `{target.attr}`: " + " ".join(str(said.value).split())


def _is_public(method: ast.FunctionDef) -> bool:
    return not method.name.startswith("_") and ast.get_docstring(method) is not None


def _fields(node: ast.ClassDef) -> Iterator[str]:
    """A line for each annotated attribute, with the text under it."""
    for statement, following in zip(node.body, [*node.body[1:], None], strict=True):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        if statement.target.id.startswith("_"):
            continue
        default = "" if statement.value is None else f" = {ast.unparse(statement.value)}"
        said = ""
        if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
            said = ": " + " ".join(str(following.value.value).split())
        yield f"- `{statement.target.id}: {ast.unparse(statement.annotation)}{default}`{said}"


def _signature(node: ast.FunctionDef) -> str:
    arguments = re.sub(r"^self(, )?", "", ast.unparse(node.args).replace("'", '"'))
    if any(isinstance(decorator, ast.Name) and decorator.id == "property" for decorator in node.decorator_list):
        return node.name
    returns = "" if node.returns is None else f" -> {ast.unparse(node.returns).strip(chr(39))}"
    return f"{node.name}({arguments}){returns}"


def _prose(docstring: str) -> str:
    """A Google docstring as Markdown: its sections become lists."""
    lines: list[str] = []
    for line in docstring.splitlines():
        if re.fullmatch(r"(Args|Returns|Raises|Yields|Attributes):", line):
            lines += [f"*{line[:-1]}*", ""]
        elif match := re.fullmatch(r" {4}([\w, |.]+): (.*)", line):
            lines.append(f"- `{match[1]}`: {match[2]}")
        elif line.startswith("        "):
            lines.append(f"  {line.strip()}")
        else:
            lines.append(line.strip() if line.startswith("    ") and lines[-1:] != [""] else line)
    return "\n".join(lines).strip() + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
