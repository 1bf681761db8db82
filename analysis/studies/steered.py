"""What a person changed in a search while it ran: a sentence, and a table with one row for each request."""

from collections import Counter

import pandas as pd

from analysis.studies.trials import Trials
from search.process.text import counted


def steered(trials: Trials) -> str:
    """That a person steered the search, and how; empty if that did not happen."""
    verbs = Counter(request.verb for request in _accepted(trials))
    if not verbs:
        return ""
    number = counted(verbs.total(), "request")
    return (
        f"A person steered this search while it ran, with {number}: {', '.join(f'{n} {v}' for v, n in verbs.items())}."
    )


def request_table(trials: Trials) -> pd.DataFrame:
    """request, answered (UTC), asked, answer: the accepted requests."""
    rows = [
        {
            "request": request.number,
            "answered": request.answered[:19].replace("T", " "),
            "asked": request.text,
            "answer": request.answer,
        }
        for request in _accepted(trials)
    ]
    return pd.DataFrame(rows)


def _accepted(trials: Trials) -> list:
    return [request for request in trials.requests if request.state == "accepted"]
