"""Numbers as files write them, and as they are shown."""

import pytest

from trainables.data.notation import format_value, format_within, plain_columns


def read(cells: list[str], *, separator: str = ",", **others: list[str]) -> list[str]:
    changed, *_ = plain_columns({"x": cells, **others}, separator=separator)
    return list(changed.get("x", cells))


@pytest.mark.parametrize(
    ("cells", "plain"),
    [
        (["0,5", "1,25", "3"], ["0.5", "1.25", "3"]),
        (["1.234,5", "2.000", "3,5"], ["1234.5", "2000", "3.5"]),
        (["1,234.5", "12,345,678", "99"], ["1234.5", "12345678", "99"]),
        (["$1000", "-$20", "$3,500.25", "0"], ["1000", "-20", "3500.25", "0"]),
        (["5 €", "7,5 €", "1.000 €"], ["5", "7.5", "1000"]),
        (["12 %", "0.5%", "-3 %"], ["12", "0.5", "-3"]),
        (["\u22125", "\u22123.2", "4"], ["-5", "-3.2", "4"]),
        (["1'234.5", "12"], ["1234.5", "12"]),
        (["1 234,5", "1\u00a0000", "7"], ["1234.5", "1000", "7"]),
        (["1,5e3", "2,5E-3"], ["1.5e3", "2.5E-3"]),
        (["(42)", "17", "(3.5)"], ["-42", "17", "-3.5"]),
        (["(42.10)", "(17)", "(3.50)"], ["-42.10", "-17", "-3.50"]),
        (["($1,234.50)", "$2,000", "$(7)"], ["-1234.50", "2000", "-7"]),
        (["(1.234,5)", "12,5", "( 3,5 )"], ["-1234.5", "12.5", "-3.5"]),
        (["12.50-", "3.20", "1,204.00 -"], ["-12.50", "3.20", "-1204.00"]),
        (["1,00,000", "12,34,567.5", "99,999", "7,12,34,56,789"], ["100000", "1234567.5", "99999", "7123456789"]),
        (["\u20b9 1,50,000", "-\u20b92,00,000"], ["150000", "-200000"]),
        (["\u0663\u066b\u0665", "\u0661\u066c\u0662\u0663\u0664\u066b\u0665"], ["3.5", "1234.5"]),
    ],
)  # fmt: skip
def test_a_column_in_one_notation_is_read_as_numbers(cells: list[str], plain: list[str]) -> None:
    assert read(cells) == plain


@pytest.mark.parametrize(
    "cells",
    [
        ["id-5", "id-6"],
        ["2024-01-15", "2024-01-16"],
        ["12:30", "13:00"],
        ["1.2.3", "1.2.4"],
        ["C5", "C6"],
        ["+", "-"],
        ["(1)", "(2)", "(3)"],
        ["1-", "2-"],
        ["(1) a", "(2) b"],
        ["12,3,456", "1,2,345"],
        ["(-1)", "(+2)"],
        ["((1))", "((2))"],
    ],
)
def test_what_is_no_number_stays_a_text(cells: list[str]) -> None:
    assert read(cells) == cells


def test_a_comma_before_three_digits_follows_the_other_columns_and_then_the_separator() -> None:
    cells = ["1,234", "12,345"]
    assert read(cells) == ["1234", "12345"]
    assert read(cells, separator=";") == ["1.234", "12.345"]
    assert read(cells, separator="\t", other=["0,5", "7,25"]) == ["1.234", "12.345"]
    assert read(cells, separator=";", other=["0.5", "7.25"]) == ["1234", "12345"]
    assert read(["1.234", "12.345"], separator=";", other=["0,5", "7,25"]) == ["1234", "12345"]
    assert read(["1.234", "12.345"], separator=";") == ["1.234", "12.345"]


def test_an_odd_cell_among_numbers_stays_as_it_is() -> None:
    cells = [f"{i},5" for i in range(30)] + ["#DIV/0!"]
    assert read(cells) == [f"{i}.5" for i in range(30)] + ["#DIV/0!"]
    mixed = ["12 %"] * 30 + ["0.12"]
    assert read(mixed)[-2:] == ["12", "0.12"]


def test_values_are_shown_with_the_digits_that_tell_them_apart() -> None:
    shown = [format_value(value) for value in (0.97222, 12.5, 0.00123456, 1.318e-14, 37837.1234, 0.0, None)]
    assert shown == ["0.9722", "12.5000", "0.001235", "1.318e-14", "37837.123", "0.0000", "-"]
    assert format_within(1_000_000_012_034.3, 3e4) == "1000000012034"
    assert format_within(2460310.52, 1.0) == "2460310.52"
    assert format_within(1.23456789e-13, 1e-13, digits=6) == "1.234568e-13"
    assert format_within(0.123456789, 0.0, digits=6) == "0.123457"
