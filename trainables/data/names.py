"""Names in options and messages: lists in which a name may contain a comma, options to paste, and close matches."""

import csv
import io
import shlex
import unicodedata
from collections.abc import Collection, Sequence
from difflib import get_close_matches

_INVISIBLE = " \t\r\n\u00a0\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"


def clean_name(name: str) -> str:
    """A column name in the form in which names are compared: composed (NFC), without outer blanks and invisible
    marks."""
    return unicodedata.normalize("NFC", name).strip(_INVISIBLE).strip()


def split_names(text: str) -> tuple[str, ...]:
    """The names in a list in CSV form: `id,"weight, kg"`."""
    rows = csv.reader([text], skipinitialspace=True, strict=True)
    try:
        return tuple(clean_name(name) for row in rows for name in row if clean_name(name))
    except csv.Error:
        raise ValueError(
            f"a name with a comma goes into double quotes, got {text[:80]!r}; write 'id,\"weight, kg\"'"
        ) from None


def join_names(names: Sequence[str]) -> str:
    """The list in the form that `split_names` reads."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(names)
    return text.getvalue()


def option(flag: str, *names: str, suffix: str = "") -> str:
    """An option to paste into a shell: `--drop 'Customer Name'`.

    Args:
        flag: the option, such as `--drop`.
        names: its values.
        suffix: text after each name, such as `=number`.
    """
    return f"{flag} {shlex.quote(join_names([name + suffix for name in names]))}"


def did_you_mean(name: str, known: Collection[str], *, cutoff: float = 0.6) -> str:
    """A hint for an unknown name: ` (did you mean accuracy?)`; empty if no known name is close.

    Args:
        cutoff: least similarity of the two names, from 0 to 1.
    """
    near = get_close_matches(name, list(known), n=1, cutoff=cutoff)
    return f" (did you mean {near[0]}?)" if near else ""


def nearest(name: str, names: Collection[str]) -> str:
    """The names that there are, and the closest one: `; it has a, b (did you mean b?)`."""
    listed = ", ".join(join_names([one]) for one in list(names)[:12]) + (", ..." if len(names) > 12 else "")
    return f"; it has {listed}{did_you_mean(name, names, cutoff=0.5)}"
