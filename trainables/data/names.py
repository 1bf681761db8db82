"""Names of columns in options and messages: lists that a comma in a name cannot break, and commands to be pasted."""

import csv
import io
import shlex
import unicodedata
from collections.abc import Collection, Sequence
from difflib import get_close_matches

_INVISIBLE = " \t\r\n\u00a0\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"


def clean_name(name: str) -> str:
    """A name of a column as it is compared: composed (NFC), without blanks and invisible marks around it."""
    return unicodedata.normalize("NFC", name).strip(_INVISIBLE).strip()


def split_names(text: str) -> tuple[str, ...]:
    """The names in a list as CSV writes it: `id,"weight, kg"`."""
    rows = csv.reader([text], skipinitialspace=True, strict=True)
    try:
        return tuple(clean_name(name) for row in rows for name in row if clean_name(name))
    except csv.Error:
        raise ValueError(
            f"a name with a comma goes into double quotes, got {text[:80]!r}; write 'id,\"weight, kg\"'"
        ) from None


def join_names(names: Sequence[str]) -> str:
    """The list that `split_names` reads."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(names)
    return text.getvalue()


def option(flag: str, *names: str, suffix: str = "") -> str:
    """An option that can be pasted into a shell: `--drop 'Customer Name'`.

    Args:
        flag: such as `--drop`.
        names: its value.
        suffix: follows each name, such as `=number`.
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
