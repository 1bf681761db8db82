"""What `search --json` answers: how a search went, or what it would do, as one object for a program."""

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from optuna.trial import TrialState

from search.forecast.forecast import Ahead, Forecast
from search.scheduling.constraints import Examine
from search.scheduling.search import Search
from search.session.story import why_stopped
from search.session.tradeoffs import front_facts
from search.storage.expected import Expected, content
from search.storage.run import Run
from search.storage.standings import Standing, Standings
from search.storage.trials import epochs_reached, is_infeasible, is_repeat
from spaces.space import Space

_STATES = {TrialState.COMPLETE: "finished", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}


def summary(
    search: Search, received: int | None, *, run_dir: Path, resume: str, code: int, expected: Expected | None = None
) -> dict[str, Any]:
    """How a search went.

    Args:
        received: the signal that stopped it, if any.
        resume: the command that continues it.
        code: exit code.
        expected: what more training is expected to gain, where that is known.
    """
    run, trials = search.run, search.ledger.trials
    reason, detail = why_stopped(search, received)
    real = [trial for trial in trials if not is_infeasible(trial)]
    counts = Counter(_STATES.get(trial.state, "unfinished") for trial in real if not is_repeat(trial))
    return {
        "exit_code": code,
        "run": run.name,
        "folder": str(run_dir),
        "reason": reason,
        "detail": detail,
        "metric": run.metric,
        "direction": run.direction,
        "trials": {"asked": run.trials, **{name: counts[name] for name in (*_STATES.values(), "unfinished")}},
        "infeasible": len(trials) - len(real),
        "repeats": sum(map(is_repeat, real)),
        "epochs": sum(len(trial.intermediate_values) for trial in real),
        "best": _best(Standings(run.objective, trials).best),
        **front_facts(run, trials),
        "expected": None if expected is None else content(expected),
        "requests": [one.facts for one in search.ledger.requests()],
        "resume": resume,
    }


def preview(run: Run, space: Space, forecast: Forecast | None, draws: list[Ahead], examine: Examine) -> dict[str, Any]:
    """What a search would do.

    Args:
        forecast: None if nothing is left to train.
        draws: what it trains first.
    """
    shown = [
        {
            "trial": one.trial,
            "epochs": one.reported,
            "params": one.params,
            "costs": dict(examine(space.decode(one.params)).attrs),
        }
        for one in draws
    ]
    settings = asdict(run) | {"rungs": run.rungs}
    expected = None if forecast is None else asdict(forecast)
    return {"exit_code": 0, "settings": settings, "configurations": shown, "forecast": expected}


def _best(best: Standing | None) -> dict[str, Any] | None:
    if best is None:
        return None
    epochs, params = epochs_reached(best.trial), best.trial.params
    return {"trial": best.trial.number, "value": best.value, "values": best.values, "epochs": epochs, "params": params}
