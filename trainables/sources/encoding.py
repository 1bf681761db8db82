"""Detects the encoding of a CSV file from its bytes: UTF-8, UTF-16, UTF-32, or else Latin-1, with a note.

Chinese, Japanese and Korean files in other encodings are refused: as Latin-1 their names would be unreadable, and half
of a character may be a separator.
"""

import codecs
import re
import shlex
import unicodedata
from collections import Counter

_WORD_START, _WORD_END = re.compile(r"^[^\s,;|\"]*"), re.compile(r"[^\s,;|\"]*$")
_NO_TEXT = {
    b"PK": "a zip archive or a workbook",
    b"PAR1": "Parquet",
    b"\x1f\x8b": "a gzip archive",
    b"\xd0\xcf": "an Excel file",
}
_MARKS = {codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32", codecs.BOM_UTF16_LE: "utf-16",
          codecs.BOM_UTF16_BE: "utf-16"}  # fmt: skip
_WIDTHS = {"utf-16": 2, "utf-32": 4}
_ASIAN = {"GB18030": "gb18030", "Big5": "big5", "CP932": "cp932", "EUC-JP": "euc_jp", "CP949": "cp949"}
"""Name for iconv -> name for Python."""
_SCRIPTS = ("CJK UNIFIED", "HIRAGANA", "KATAKANA", "HANGUL", "IDEOGRAPHIC", "FULLWIDTH", "LEFT", "RIGHT")


def decode(data: bytes, path: str) -> tuple[str, list[str]]:
    """The text, and a note where its encoding is a guess.

    Args:
        data: content of the file.
        path: for messages.

    Raises:
        ValueError: it is not text, it is damaged, or its encoding must be converted first.
    """
    kind = next((kind for magic, kind in _NO_TEXT.items() if data.startswith(magic)), None)
    wide = next((encoding for mark, encoding in _MARKS.items() if data.startswith(mark)), None) or _unmarked(data)
    if kind or (wide is None and b"\0" in data[:4096]):
        raise ValueError(f"{path} must be a CSV file, it looks like {kind or 'binary data'}; save the table as CSV")
    if wide is not None:
        text, notes = _decode_wide(data, wide, path), []
    else:
        text, notes = _decode_bytes(data, path)
    if "\0" in text:
        line = _line_of(text, text.index("\0"))
        raise ValueError(
            f"line {line} of {path} contains a NUL character; the file is damaged, save the table as CSV again"
        )
    return text.removeprefix("\ufeff"), notes


def _unmarked(data: bytes) -> str | None:
    """The encoding of UTF-16 without its byte order mark, in which every other byte is zero; else None."""
    head = data[:4096]
    zeros = [head[start::2].count(0) for start in (0, 1)]
    if len(head) < 4 or max(zeros) < 0.4 * len(head) / 2 or min(zeros) > 0.05 * len(head) / 2:
        return None
    return "utf-16-be" if zeros[0] > zeros[1] else "utf-16-le"


def _decode_wide(data: bytes, encoding: str, path: str) -> str:
    width = _WIDTHS[encoding[:6]]
    surplus = len(data) % width
    if surplus and not data[-surplus:].strip(b"\0\r\n"):
        data = data[:-surplus]  # a line end of one byte, which some tools append
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        before = data[: error.start - error.start % width].decode(encoding, errors="replace")
        raise ValueError(
            f"{path} is damaged {encoding.upper()} ({error.reason}) in line {_line_of(before, len(before))}; save the"
            " table as UTF-8"
        ) from None


def _decode_bytes(data: bytes, path: str) -> tuple[str, list[str]]:
    try:
        return data.decode("utf-8"), []
    except UnicodeDecodeError as error:
        line = len(re.findall(rb"\r\n|\r|\n", data[: error.start])) + 1
        if data.startswith(codecs.BOM_UTF8):
            raise ValueError(f"{path} is damaged UTF-8 in line {line}; save the table as UTF-8 again") from None
        if asian := _asian(data):
            raise ValueError(
                f"{path} is not UTF-8 (line {line}), it looks like {' or '.join(asian)}; save it as UTF-8:"
                f" iconv -f {asian[0]} -t UTF-8 {shlex.quote(path)} > utf8.csv"
            ) from None
        try:
            text = data.decode("cp1252")
        except UnicodeDecodeError:
            text = data.decode("latin-1")  # has a character for every byte, so that different texts stay different
        start = error.start - len(_WORD_END.findall(text[max(0, error.start - 20) : error.start])[0])
        word = _WORD_START.findall(text[start : start + 20])[0]
        return text, [
            f"{path} is not UTF-8; it is read as Latin-1 (Windows-1252), such as {word!r} in line {line}; if that is"
            " wrong, save it as UTF-8"
        ]


def _asian(data: bytes) -> list[str]:
    """The Chinese, Japanese and Korean encodings that these bytes probably have; empty for Western text."""
    return [name for name, encoding in _ASIAN.items() if _is_asian(data[: 1 << 20].rpartition(b"\n")[0], encoding)]


def _is_asian(data: bytes, encoding: str) -> bool:
    """Whether the bytes are valid in this encoding, and look more like Asian words than like accented letters."""
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        return False
    found = Counter(_judge(word, encoding) for word in re.finditer(r"[^\x00-\x7f]+", text))
    return found["asian"] > 4 * found["western"]


def _judge(found: re.Match[str], encoding: str) -> str:
    """Whether a run of non-ASCII characters is asian, western or either; western ones are single letters in a word, as
    in `café`, `ação` and `Größe`."""
    word, text = found[0], found.string
    if not all(unicodedata.name(sign, "").startswith(_SCRIPTS) for sign in word):
        return "western"
    before, after = text[found.start() - 1 : found.start()], text[found.end() : found.end() + 1]
    if (before.isalpha() and after.isalpha()) or (len(word) == 1 and (before.islower() or after.islower())):
        return "western"
    two_high = len(word) > 1 or min(word.encode(encoding)) > 0x7F
    return "asian" if two_high else "either"  # as `Öl` and `20 °C` are


def _line_of(text: str, place: int) -> int:
    """Number of the line, from 1, that contains this character."""
    return len(re.findall(r"\r\n|\r|\n", text[:place])) + 1
