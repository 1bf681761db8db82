"""The report's section on reproducibility: commands, settings, versions."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pandas as pd

from analysis.pages.page import Folder, Section, text

_SAID_ELSEWHERE = ("baseline", "plan", "forecast")
_SECRET = ("study_url", "config")
"""They may hold an address, or a password."""
_WORDS = {
    "fingerprint": "checksum of the space",
    "decided": "decisions on the columns",
    "min_epochs": "epochs of the first rung",
    "slots": "trials at once",
    "created": "started",
}


def reproducibility(run: Any, folder: Folder, *, report: str) -> Section:
    """Commands, settings and versions.

    Args:
        run: what was searched; None for a study that plain Optuna made.
        folder: where the table goes.
        report: the command of the report.
    """
    if run is None:
        said = "A study without run.json says nothing of it."
        return Section(id="again", title="Reproducibility", blocks=(text(said),))
    stored = asdict(run)
    nested = {k: stored.pop(k, None) or {} for k in ("versions", "machine")}
    rows = [(_WORDS.get(k, k.replace("_", " ")), v) for k, v in stored.items() if k not in (*_SAID_ELSEWHERE, *_SECRET)]
    rows += [(f"{group}: {key.replace('_', ' ')}", v) for group, found in nested.items() for key, v in found.items()]
    known = [(what, _plain(value)) for what, value in rows if value not in (None, "", (), [], {})]
    table = pd.DataFrame(known, columns=pd.Index(["what", "value"]))
    said = f"Search: {run.command or 'unknown'}. Report: {report}."
    blocks = (text(said), folder.table("run", table, caption="Settings of the search, and versions."))
    return Section(id="again", title="Reproducibility", blocks=blocks)


def _plain(value: Any) -> str:
    """A setting without the brackets and quotes of Python: `parameter: alpha; levels: 0.0001, 0.001`."""
    if isinstance(value, Mapping):
        return "; ".join(
            f"{key}: {_plain(found)}" for key, found in value.items() if found not in (None, "", (), [], {})
        )
    if isinstance(value, list | tuple):
        return ", ".join(_plain(found) for found in value)
    return str(value)
