"""Which configurations the final evaluation trains, and on which seeds.

Contenders are the best of the search by a criterion that one lucky epoch cannot decide, the baseline, and one drawn at
random, which says what searching was worth. They are named, and the winner among them, before the test set is opened.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any, Literal

import optuna
from optuna.trial import FrozenTrial

from analysis.studies.criterion import BASELINE, RANDOM, window
from search.process.text import counted
from search.scheduling.constraints import make_examiner
from search.storage.run import Planned, Run
from search.storage.seeds import fresh_seed
from search.storage.standings import Standing, Standings
from search.storage.trials import is_finished, kept_epoch
from spaces.space import Space

TOP, SEEDS = 3, 5
"""Best configurations that are retrained, and fresh seeds of each, where no option says otherwise."""
MAX_DRAWS = 1000
"""Random configurations that are drawn until one keeps to the limits of the run."""


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One configuration, before it is trained again."""

    name: str
    """`trial-7`, `baseline` or `random`; with `/i` behind it, the tag of its training on the i-th seed."""
    params: dict[str, Any]
    trial: int | None = None
    """Its number in the search, if it was trained to the full budget there."""
    search_value: float | None = None
    """The objective at its last epoch, by which the search judged it."""
    criterion: float | None = None
    """By which it was chosen: the value of the kept epoch, or the mean of the objective over the last epochs."""
    stop_epoch: int | None = None
    """The epoch that the search kept, with which its training ends; None for all epochs."""

    @property
    def role(self) -> Literal["top", "baseline", "random"]:
        """top, baseline or random."""
        return {BASELINE: "baseline", RANDOM: "random"}.get(self.name, "top")  # pyright: ignore[reportReturnType]


def rank(study: optuna.Study, run: Run) -> list[Contender]:
    """The completed configurations of a search, the best by the criterion first, each only once.

    A single value is the maximum of many noisy ones: the best of forty trials is lucky as a rule. The mean over the
    last epochs takes out the luck of one epoch, and the mean over several trainings that of a seed; the rest is what
    the fresh seeds and the test set measure.
    """
    found: dict[str, tuple[bool, Contender]] = {}
    for one in Standings(run.objective, study.get_trials(deepcopy=False)).all:
        if (contender := _of_standing(one, run)) is not None:
            found.setdefault(repr(sorted(one.trial.params.items())), (bool(one.failed), contender))

    def place(of: tuple[bool, Contender]) -> tuple[bool, float, int]:
        return of[0], run.objective.order(of[1].criterion or 0.0), of[1].trial or 0

    return [contender for _, contender in sorted(found.values(), key=place)]


def _of_standing(standing: Standing, run: Run) -> Contender | None:
    """The contender of a trial, with the means over its trainings."""
    each = [contender for trial in standing.trials if (contender := _of_trial(trial, run)) is not None]
    if len(each) < 2:
        return next(iter(each), None)
    means = {name: fmean(getattr(one, name) for one in each) for name in ("search_value", "criterion")}
    return replace(each[0], **means)


def _of_trial(trial: FrozenTrial, run: Run) -> Contender | None:
    if not is_finished(trial) or trial.value is None:
        return None
    values = [value for _, value in sorted(trial.intermediate_values.items())]
    last = values[-window(run.epochs) :] or [trial.value]  # another program may add a trial without reports
    name = BASELINE if run.baseline and trial.params == run.baseline else f"trial-{trial.number}"
    is_kept = run.keep_epoch == "best"
    return Contender(
        name=name,
        params=trial.params,
        trial=trial.number,
        search_value=trial.value,
        criterion=trial.value if is_kept else sum(last) / len(last),
        stop_epoch=kept_epoch(trial) if is_kept else None,
    )


def choose(
    study: optuna.Study, run: Run, space: Space, dataset: Any, *, top: int, preferred: Sequence[FrozenTrial] = ()
) -> list[Contender]:
    """The `top` best configurations, the best first, then the baseline and a random one.

    The baseline counts among the best if it is one of them; it is trained in any case, unless the run has none.

    Args:
        preferred: trials whose configurations are chosen in place of the best ones.

    Raises:
        ValueError: no trial was trained to the full budget.
    """
    ranked = rank(study, run)
    if not ranked:
        raise ValueError(
            f"run {run.name!r} has no trial that was trained for its full {counted(run.epochs, 'epoch')}; resume it"
        )
    stated = [contender for trial in preferred if (contender := _of_trial(trial, run)) is not None]
    chosen = list({contender.name: contender for contender in stated}.values()) or ranked[:top]
    baseline = next(
        (c for c in (*chosen, *ranked) if c.name == BASELINE), Contender(name=BASELINE, params=dict(run.baseline))
    )
    if run.baseline and baseline not in chosen:
        chosen.append(baseline)
    return [*chosen, Contender(name=RANDOM, params=draw_random(space, run, dataset))]


def draw_random(space: Space, run: Run, dataset: Any) -> dict[str, Any]:
    """One configuration drawn at random from the space, within the run's limits; the same for the same run."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=fresh_seed(run.seed, -1)))
    examine = make_examiner(run, dataset, space=space)
    for _ in range(MAX_DRAWS):
        trial = study.ask()
        if not examine(space.suggest(trial)).infeasible:
            return trial.params
    raise ValueError(
        f"{MAX_DRAWS} random configurations exceed the limits of run {run.name!r}; raise the limits, or restrict "
        f"its space"
    )


def fresh_seeds(study: optuna.Study, run: Run, *, count: int) -> list[int]:
    """The first `count` seeds that no trial of the search was trained on."""
    used = {trial.user_attrs.get("seed") for trial in study.get_trials(deepcopy=False)}
    return [seed for seed in (fresh_seed(run.seed, i) for i in range(count + len(used))) if seed not in used][:count]


def settle_plan(
    study: optuna.Study,
    run: Run,
    space: Space,
    dataset: Any,
    *,
    top: int | None,
    seeds: int | None,
    stored: Sequence[Planned],
    epochs: int | None = None,
    preferred: Sequence[FrozenTrial] = (),
) -> tuple[list[Contender], tuple[Planned, ...], int]:
    """Contenders, plan and number of seeds: those of an earlier call unless more is asked for.

    Args:
        top: best configurations; None for those of the earlier call, or 3.
        seeds: for each of them; None for those of the earlier call, or 5.
        stored: the plan of the earlier call, if there was one.
        epochs: over which the schedule runs; those of the search when None.
        preferred: trials whose configurations are chosen in place of the best ones.
    """
    ranked = rank(study, run)
    if stored and top is None and not preferred:
        chosen = planned_contenders(stored, [], ranked)
    else:
        chosen = choose(study, run, space, dataset, top=top or TOP, preferred=preferred)
    trained = len({planned.tag.split("/")[1] for planned in stored})
    count = max(seeds or trained or SEEDS, trained)
    chosen = with_stop_epochs(chosen, ranked, run, epochs=epochs or run.epochs)
    plan = make_plan(chosen, fresh_seeds(study, run, count=count), stored=stored)
    return planned_contenders(plan, chosen, ranked), plan, count


def with_stop_epochs(
    contenders: Sequence[Contender], ranked: Sequence[Contender], run: Run, *, epochs: int
) -> list[Contender]:
    """The contenders with the epoch after which each is done, where the search kept the best epoch of a trial.

    One that no trial trained to the end, such as the random configuration, gets the median of those that were. If the
    schedule is longer or shorter than in the search, the epoch is moved in proportion.
    """
    known = sorted(c.stop_epoch for c in ranked if c.stop_epoch is not None)
    if not known:
        return list(contenders)
    usual = known[len(known) // 2]
    return [replace(c, stop_epoch=max(1, round((c.stop_epoch or usual) * epochs / run.epochs))) for c in contenders]


def make_plan(
    contenders: Sequence[Contender], seeds: Sequence[int], *, stored: Sequence[Planned]
) -> tuple[Planned, ...]:
    """Every contender on every seed, seed by seed, after what an earlier plan holds already.

    All contenders train on the first seed before any trains on the second, so that what is finished at any time is
    comparable; seeds that can be trained together are trained with the first. A plan that grows, by seeds or by
    contenders, begins with the stored one: nothing is trained twice.
    """
    wanted = [
        Planned(params=contender.params, seed=seed, tag=f"{contender.name}/{index}", stop_epoch=contender.stop_epoch)
        for index, seed in enumerate(seeds)
        for contender in contenders
    ]
    known = {planned.tag for planned in stored}
    return (*stored, *(planned for planned in wanted if planned.tag not in known))


def planned_contenders(
    plan: Sequence[Planned], chosen: Sequence[Contender], ranked: Sequence[Contender]
) -> list[Contender]:
    """The contenders of a plan, with the parameters that it trains: those chosen now, then those of an earlier choice.

    Args:
        plan: all trainings.
        chosen: what `choose` names today.
        ranked: what `rank` knows of the search.
    """
    known = {contender.name: contender for contender in (*ranked, *chosen)}
    planned = {p.tag.split("/")[0]: p for p in reversed(plan)}
    names = dict.fromkeys([*(c.name for c in chosen), *(p.tag.split("/")[0] for p in plan)])
    return [
        replace(
            known.get(name, Contender(name=name, params={}, trial=_number(name))),
            params=planned[name].params,
            stop_epoch=planned[name].stop_epoch,
        )
        for name in names
    ]


def _number(name: str) -> int | None:
    return int(name.removeprefix("trial-")) if name.startswith("trial-") else None
