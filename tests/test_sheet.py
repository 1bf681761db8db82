"""CSV files in every encoding, with every separator and line end, whole and damaged."""

import codecs
import shlex

import pytest

from trainables.data.names import option, split_names
from trainables.sources.sheet import Sheet, parse_sheet

ROWS = "a,b,y\n1,2,x\n4,5,ü\n"


def read(data: bytes) -> Sheet:
    return parse_sheet(data, "own.csv")


def rows_of(sheet: Sheet) -> list[list[str]]:
    return [list(row) for row in zip(*sheet.texts.values(), strict=True)]


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r", "\r\r\n"])
@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"]
)  # fmt: skip
def test_every_line_end_and_encoding_gives_the_same_rows(line_end: str, encoding: str) -> None:
    sheet = read(ROWS.replace("\n", line_end).encode(encoding))
    assert rows_of(sheet) == [["1", "2", "x"], ["4", "5", "ü"]]
    assert list(sheet.texts) == ["a", "b", "y"]


@pytest.mark.parametrize("surplus", [b"\n", b"\0", b"\r"])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_a_line_end_of_one_byte_after_wide_characters_is_left_out(surplus: bytes, encoding: str) -> None:
    assert len(read(ROWS.encode(encoding) + surplus).places) == 2


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_every_separator_is_found_or_stated_in_the_first_line(separator: str) -> None:
    data = ROWS.replace(",", separator)
    assert rows_of(read(data.encode())) == rows_of(read(f"sep={separator}\r\n{data}".encode()))
    assert read(f"sep={separator}\r\n{data}".encode()).places.tolist() == [[1, 3], [2, 4]]


def test_a_quote_that_is_never_closed_is_named_with_its_line() -> None:
    rows = "".join(f"{i},{chr(34) if i == 100 else ''}ok,{i % 9}\n" for i in range(30_000))
    with pytest.raises(ValueError, match="the quote that opens in line 102 of own.csv is never closed"):
        read(f"a,note,y\n{rows}".encode())
    with pytest.raises(ValueError, match="opens in line 3 .* is never closed"):
        read(b'a,b\n1,2\n3,"')


def test_a_quote_that_swallows_rows_and_closes_in_another_is_said() -> None:
    sheet = read(b'a,b,y\n1,"ok,1\n2,ok,2\n3,ok",3\n4,ok,4\n')
    assert len(sheet.places) == 2
    assert "the row in line 2 of own.csv goes on to line 4 within quotes" in " ".join(sheet.notes)
    assert not read(b'a,b,y\n1,"two\nlines",1\n').notes


def test_a_cell_may_be_longer_than_a_hundred_kilobytes() -> None:
    assert read(b"a,b\n1," + b"z" * 200_000 + b"\n").texts["b"][0] == "z" * 200_000


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"a,b\n1,2\n3\r,4\n", r"got 1 in '3'.*\(line 3\)"),
        (b"a,b\n" + b"1,2\n" * 3000 + b"1,\0\n", "line 3002 of own.csv holds a NUL character"),
        (ROWS.encode("utf-16") + b"x", "is damaged UTF-16 .* in line 4; save the table as UTF-8"),
        (ROWS.encode("utf-32")[:-6], "is damaged UTF-32 .* in line 3"),
        ("a,b\n1,\ud800\n".encode("utf-16", "surrogatepass"), "is damaged UTF-16 .* in line 2"),
        (codecs.BOM_UTF8 + b"a,b\n1,\xff\n", "is damaged UTF-8 in line 2"),
        (b"\n \n\r\n", "own.csv is empty"),
        (b'a,b\n1,"x', "opens in line 2"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_one_line_with_the_place(data: bytes, cause: str) -> None:
    with pytest.raises(ValueError, match=cause) as raised:
        read(data)
    assert "\n" not in str(raised.value)


def test_a_guessed_encoding_shows_a_word_and_merges_no_texts() -> None:
    (note,) = read("a,b\n1,да\n2,три\n".encode("koi8-r")).notes
    assert "is not UTF-8; it is read as Latin-1 (Windows-1252), such as 'ÄÁ' in line 2" in note
    labels = read(b"a,b\n1,\x81\n2,\x8d\n3,\xfc\n").texts["b"]
    assert len(set(labels)) == 3


@pytest.mark.parametrize(
    "name", ["Customer Name", "id, text", 'the "old" one', "a'b", "--x", "$HOME", "a=b", "ünïcode"]
)
def test_an_option_in_a_message_can_be_pasted(name: str) -> None:
    _, value = shlex.split(option("--drop", name))
    assert split_names(value) == (name,)
    _, value = shlex.split(option("--types", name, suffix="=number"))
    assert split_names(value) == (f"{name}=number",)
