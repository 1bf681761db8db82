"""The encoding of a CSV file: guessed where that does no harm, refused with the way out where it does."""

import shlex
import subprocess
from pathlib import Path

import pytest

from trainables.sources.sheet import parse_sheet

ASIAN = {
    "chinese": ("gb18030", "GB18030", "等级,价格\n", ("低", "中", "高", "优秀", "A级")),
    "gbk from Excel": ("gbk", "GB18030", "id,grade\n", ("是", "否", "不确定")),
    "taiwan": ("big5", "Big5", "等級,價格\n", ("許", "功能", "蓋", "裝潢")),  # their second bytes are those of \ and |
    "japanese": ("cp932", "CP932", "種類,値段\n", ("表示", "ソース", "あり", "なし", "十")),
    "japanese on Unix": ("euc_jp", "EUC-JP", "種類,値段\n", ("あり", "なし", "表示")),
    "korean": ("cp949", "CP949", "등급,가격\n", ("예", "아니오", "모름")),
}
WESTERN = {
    "french": "ville,été\nGenève,déjà vu\nÉcole,naïf\n",
    "portuguese": "situação,maçã\naprovação,irmãs\n",
    "finnish": "hää,työ\nöljy,jäätelö\n",
    "german": "Größe,Maß\nÜbung,Ä\n",
    "fuels": "fuel,x\nÖl,1\nGas,2\nÖl,3\n",
    "units": "temp,length\n20 °C,5 µm\n30 °C,7 µm\n",
    "quotes of Word": "text,x\nit’s,1\n“so”,2\ncosts 5 €,3\n",
}


@pytest.mark.parametrize("name", ASIAN)
def test_an_asian_encoding_is_refused_with_a_command_that_converts_the_file(name: str, tmp_path: Path):
    encoding, named, header, words = ASIAN[name]
    text = header + "".join(f"{word},{row}\n" for row in range(9) for word in words)
    path = tmp_path / "it's.csv"
    path.write_bytes(text.encode(encoding))
    with pytest.raises(
        ValueError, match=r"it's.csv is not UTF-8 \(line [12]\), it looks like .*; save it as UTF-8"
    ) as said:
        parse_sheet(path.read_bytes(), str(path))
    assert named in str(said.value)
    command = str(said.value).partition("save it as UTF-8: ")[2]
    assert command.startswith("iconv -f ")
    words_of_it = shlex.split(command)
    words_of_it[2] = named  # several may be named, of which the user knows which it is
    done = subprocess.run(words_of_it[: words_of_it.index(">")], capture_output=True, check=True)
    assert done.stdout.decode() == text


@pytest.mark.parametrize("name", WESTERN)
def test_western_text_is_read_as_before_and_said(name: str):
    text = WESTERN[name]
    sheet = parse_sheet(text.encode("cp1252"), "table.csv")
    assert [",".join(row) for row in zip(*sheet.texts.values(), strict=True)] == text.splitlines()[1:]
    assert "is read as Latin-1 (Windows-1252)" in sheet.notes[0]


@pytest.mark.parametrize("encoding", ["cp1251", "koi8-r", "iso8859-7"])
def test_other_alphabets_keep_their_words_apart_and_the_guess_is_said(encoding: str):
    words = ("привет", "три", "да") if encoding != "iso8859-7" else ("ναι", "όχι", "ίσως")
    text = "x,y\n" + "".join(f"{row},{word}\n" for row in range(5) for word in words)
    sheet = parse_sheet(text.encode(encoding), "table.csv")
    assert len(set(sheet.texts["y"])) == len(words)
    assert "is read as Latin-1" in sheet.notes[0]


def test_names_of_columns_are_compared_composed_and_without_invisible_marks():
    sheet = parse_sheet("\ufeff\ufeffgro\u0308\u00dfe,\u200by\u200b\n1,2\n".encode(), "table.csv")
    assert list(sheet.cells) == ["gr\u00f6\u00dfe", "y"]
    with pytest.raises(ValueError, match="has 'é' twice"):
        parse_sheet("\u00e9,e\u0301\n1,2\n".encode(), "table.csv")


@pytest.mark.parametrize("places", [[2], [3, 4], [2, 5]])
def test_a_header_between_rows_is_left_out_and_counted(places: list[int]):
    lines = ["a,b", "1,2", "3,4", "5,6", "7,8"]
    for place in places:
        lines.insert(place - 1, " a ,b")
    sheet = parse_sheet("\n".join(lines).encode(), "table.csv")
    assert sheet.cells["a"].tolist() == ["1", "3", "5", "7"]
    assert f"{len(places)} row" in sheet.notes[0]
    assert f"(line {', '.join(map(str, places))})" in sheet.notes[0]
