"""docs/reliability.md: every test that it names exists, and every row of faults and attacks is accounted for."""

import ast
import re

from tests.searching import ROOT

TEXT = (ROOT / "docs" / "reliability.md").read_text()
FAULTS = (
    "F01 F02 F05 F06 F07 F08 F09 F10 F11 F12 F14 F15 F16 F17 F18 F19 F20 F22 F23 F25 F26 F28 F29 F30 F31 F33 F34 F35"
    " F36 F37 F38 F39 F40 F41 F42 F43 F45 F46 F48 F49 F50 S01 S02 S03 S04 S06 S07 S08 S09 S11 S12 S13 S14 S15 S16 S17"
).split()


def test_every_test_that_is_named_exists():
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", TEXT)
    assert len(named) > 60
    for file, test in named:
        tree = ast.parse((ROOT / "tests" / file).read_text())
        assert test in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, f"{file}::{test}"


def test_every_fault_and_attack_is_accounted_for():
    assert [row for row in FAULTS if not re.search(rf"\b{row}\b", TEXT)] == []
