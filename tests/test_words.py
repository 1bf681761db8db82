"""Texts that a user reads are plain, idiomatic English: some stilted words are not in them."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.searching import ROOT

STILTED = (
    r"wanted|mend(s|ed|ing)?|told|tells?(?! (you|how|which|whether|what)\b)|looks? whether|looked whether|kept its word"
    r"|beyond doubt|deal(s|t|ing)? out|bereft|anew|whatever|whoever|spoken for|last words|passes for|late bloomers"
    r"|all in all|stands? apart|hangs? together|goes by|stands? ready|worth its keep|no verdict|hardly at all"
    r"|tak(en|es) for|too hopeful|too kind|aloud|nobody|mishap|free are|stood in"
)
"""Words of translated English, each with a plain one: say *report* or *show*, not *tell*; *repair*, not *mend*."""

PAGES = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    + [path for path in (ROOT / "docs").rglob("*.md") if path.name != "LOG.md"]  # a notebook, which is not rewritten
    + list((ROOT / "analysis" / "templates").iterdir())
)
MODULES = sorted(
    path for name in ("analysis", "search", "rungwise", "spaces", "trainables") for path in (ROOT / name).rglob("*.py")
)
ALLOWED: dict[str, str] = {}
"""Part of a line -> why the word is right there."""


def prose(page: str) -> Iterator[tuple[int, str]]:
    """The lines of a page with their numbers, without code: names of tests are sentences of their own."""
    for number, line in enumerate(page.splitlines(), 1):
        yield number, re.sub(r"`[^`]*`|\]\([^)]*\)", "", line)


def messages(source: str) -> Iterator[tuple[int, str]]:
    """The texts in a module with their lines, without docstrings."""
    tree = ast.parse(source)
    silent = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in silent:
            yield node.lineno, node.value if " " in node.value.strip() else ""  # a single word is a key


def stilted(texts: Iterator[tuple[int, str]]) -> list[str]:
    return [
        f"line {number}: {found[0]!r} in {text.strip()!r}"
        for number, text in texts
        for found in [re.search(rf"(?i)(?<![\w-])(?:{STILTED})(?![\w-])", text)]
        if found and not any(part in text for part in ALLOWED)
    ]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_page_has_no_stilted_words(path: Path):
    assert not stilted(prose(path.read_text(encoding="utf-8")))


def test_no_message_has_stilted_words():
    found = {str(path.relative_to(ROOT)): stilted(messages(path.read_text(encoding="utf-8"))) for path in MODULES}
    assert not {name: lines for name, lines in found.items() if lines}


def test_every_exception_is_still_needed():
    texts = [text for path in PAGES for _, text in prose(path.read_text(encoding="utf-8"))]
    texts += [text for path in MODULES for _, text in messages(path.read_text(encoding="utf-8"))]
    assert all(any(part in text for text in texts) for part in ALLOWED)


UNCLEAR = r"told|whoever|whom|nobody|somebody|mishap|anew|aloud|for want of|bereft|as it stands|its own affair"
"""Words that docstrings and comments avoid as well: they hide who does what."""


def explanations(source: str) -> Iterator[tuple[int, str]]:
    """The docstrings and comments of a module with their lines."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.lineno, node.value.value
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def test_no_docstring_or_comment_has_unclear_words():
    found = [
        f"{path.relative_to(ROOT)}:{number}: {match[0]}"
        for path in MODULES
        for number, text in explanations(path.read_text(encoding="utf-8"))
        if (match := re.search(rf"(?i)\b(?:{UNCLEAR})\b", text))
    ]
    assert found == []


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("A gain of 1.3 was wanted.", 1),
        ("No pair does more than its sum, beyond doubt.", 1),
        ("The doctor tells you how to fix it.", 0),
        ("It tells the epoch.", 1),
        ("A search recommends nothing.", 0),
    ],
)
def test_a_stilted_word_is_found_as_a_word_of_its_own(text: str, count: int):
    assert len(stilted(prose(text))) == count


def test_messages_are_texts_in_code_and_not_docstrings():
    source = '"""What is told."""\nprint(f"{x} is told")\nraise ValueError("so" " told")\n'
    assert [number for number, text in messages(source) if "told" in text] == [3, 2]
