"""docs/reference/ is what the code gives, and covers all that is public."""

import re

import rungwise
from rungwise import reference
from rungwise.cli import COMMANDS
from tests.searching import ROOT


def test_the_reference_is_what_the_code_gives():
    for name, text in reference.pages().items():
        assert (ROOT / "docs" / "reference" / name).read_text() == text, "make docs"


def test_a_page_that_is_out_of_date_is_noticed(tmp_path, capsys):
    assert reference.main(["--out", str(tmp_path)]) == 0
    assert reference.main(["--out", str(tmp_path), "--check"]) == 0
    (tmp_path / "python.md").write_text("old")
    assert reference.main(["--out", str(tmp_path), "--check"]) == 2
    assert "python.md does not match the code; update it with: make docs" in capsys.readouterr().err


def test_all_public_names_and_all_commands_are_in_it():
    pages = reference.pages()
    assert set(rungwise.__all__) <= set(re.findall(r"^### (\w+)$", pages["python.md"], re.MULTILINE))
    assert re.findall(r"^## rungwise (\w+)", pages["commands.md"], re.MULTILINE) == list(COMMANDS)
