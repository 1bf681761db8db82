"""Files of settings: YAML, JSON and TOML say the same, and a mistake is one line with its place."""

from pathlib import Path
from typing import Any

import pytest

from trainables.files.settings import read_settings

YAML = """\
# a comment
trials: 40
lr: 1e-4
name: "on"
word: on
flag: true
nothing: null
fix: {depth: 2, norm: false}
try:
  - a.json
  - b.json
"""
JSON = """{"trials": 40, "lr": 1e-4, "name": "on", "word": "on",
\t"flag": true, "nothing": null, "fix": {"depth": 2, "norm": false}, "try": ["a.json", "b.json"]}"""
TOML = """trials = 40
lr = 1e-4
name = "on"
word = "on"
flag = true
try = ["a.json", "b.json"]
[fix]
depth = 2
norm = false
"""
SAID = {
    "trials": 40, "lr": 1e-4, "name": "on", "word": "on", "flag": True, "nothing": None,
    "fix": {"depth": 2, "norm": False}, "try": ["a.json", "b.json"],
}  # fmt: skip


def write(folder: Path, text: str | bytes, ending: str = "yaml") -> Path:
    path = folder / f"my.{ending}"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize(
    ("text", "ending"), [(YAML, "yaml"), (YAML, "yml"), (JSON, "json"), (TOML, "toml"), (JSON, "yaml")]
)
def test_the_three_forms_say_the_same(tmp_path: Path, text: str, ending: str):
    text = text.replace("\t", " ") if ending == "yaml" else text
    found = read_settings(write(tmp_path, text, ending), option="--config").values
    assert found == {name: SAID[name] for name in found}
    assert len(found) >= len(SAID) - (ending == "toml")
    assert type(found["trials"]) is int


def test_the_line_of_every_value_is_known(tmp_path: Path):
    yaml = read_settings(write(tmp_path, YAML), option="--config")
    assert yaml.at("try", 1) == f"{tmp_path}/my.yaml, line 11"
    assert yaml.at("fix", "depth") == f"{tmp_path}/my.yaml, line 8"
    assert yaml.at("fix", "depth", "unknown") == f"{tmp_path}/my.yaml, line 8"
    assert yaml.at("unknown") == f"{tmp_path}/my.yaml"
    assert read_settings(write(tmp_path, JSON, "json"), option="--config").at("flag").endswith("my.json, line 2")
    assert read_settings(write(tmp_path, TOML, "toml"), option="--config").at("fix").endswith("my.toml, line 7")


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-4", 1e-4), ("1E5", 1e5), ("-2", -2), (".5", 0.5), ("3.", 3.0), ("010", 10), ("yes", "yes"), ("1:30", "1:30"),
     ("2024-01-31", "2024-01-31"), ("1e-4..1e-2:log", "1e-4..1e-2:log"), ("'5'", "5"), ("True", True), ("", None),
     ("0x10", "0x10"), ("nan", "nan"), (".inf", ".inf"), ("!!python/object:os.system x", "x")],
)  # fmt: skip
def test_a_word_of_yaml_means_what_it_looks_like(tmp_path: Path, text: str, value: Any):
    found = read_settings(write(tmp_path, f"a: {text}"), option="--config").values["a"]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "ending", "message"),
    [
        ("a: 1\na: 2", "yaml", r"my.yaml, line 2: 'a' appears twice"),
        ("a: b: c", "yaml", r"my.yaml, line 1 is not YAML: mapping values are not allowed here"),
        ("a: [1, 2", "yaml", r"my.yaml, line 1 is not YAML: "),
        ("a:\n\t- 1", "yaml", r"my.yaml, line 2 is not YAML: found character '\\t'"),
        ("a: &x 1\nb: *x", "yaml", r"names for parts of the file \(&name, \*name\) are not supported"),
        ("[1]: 2", "yaml", r"my.yaml, line 1: a name is needed before the colon"),
        ("- 1", "yaml", r"must contain names and values, such as `trials: 40`"),
        ("", "yaml", r"must contain names and values"),
        ("a: 1\n---\nb: 2", "yaml", r"is not YAML: but found another document"),
        ("a: \x01", "yaml", r"is not YAML: "),
        ('{"a": 1, "a": 2}', "json", r"my.json: 'a' appears twice"),
        ('{"a": NaN}', "json", r"NaN is not a number of JSON"),
        ('{"a": 1,\n}', "json", r"my.json, line \d is not JSON: "),
        ("[" * 100_000, "json", r"is nested too deeply"),
        ("a: " + "[" * 3000 + "]" * 3000, "yaml", r"is nested too deeply"),
        ("a = ", "toml", r"my.toml is not TOML: "),
        ("a = 1\na = 2", "toml", r"my.toml is not TOML: "),
        (b"a: \xff", "yaml", r"my.yaml is not UTF-8"),
        ("a: 1", "txt", r"--config must name a file that ends in .yaml, .yml, .json, .toml, got "),
        ("a: 1\n" * 300_000, "yaml", r"a file of settings has at most 200,000 bytes"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_used_is_refused_in_one_line(
    tmp_path: Path, text: str | bytes, ending: str, message: str
):
    with pytest.raises(ValueError, match=message) as caught:
        read_settings(write(tmp_path, text, ending), option="--config")
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path):
    with pytest.raises(ValueError, match=r"gone.yaml cannot be read \(No such file or directory\)"):
        read_settings(tmp_path / "gone.yaml", option="--config")
    (tmp_path / "d.yaml").mkdir()
    with pytest.raises(ValueError, match=r"d.yaml cannot be read \(Is a directory\)"):
        read_settings(tmp_path / "d.yaml", option="--config")
