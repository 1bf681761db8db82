"""Discussion of a final evaluation on a table: other methods, limits, use, what to try next."""

from collections.abc import Iterator
from typing import Any

from analysis.studies.results import Entrant, FinalResults
from analysis.wording import between, feature_names, gap, number, percent, plain, together, verdict
from search.process.text import counted

LARGE = 0.25
"""Share of the median target from which an error of one row in ten is called large."""
_VERDICTS = {
    "better": "the network is better",
    "worse": "the network is worse",
    "no clear difference": "the interval includes zero, so the difference is not statistically clear",
}

_CONSTANTS = {"mean of the training target": "the mean", "class frequencies": "the most frequent class"}


def discuss_table(results: FinalResults, winner: Entrant) -> list[tuple[str, str]]:
    """Topics and sentences; nothing for images.

    Args:
        results: what is known so far.
        winner: its entrant.
    """
    topics = {
        "verdict": (_against_baselines, _against_published),
        "weakness": (_bands,),
        "limit": (_ends, _outside, _geography, _gaps),
        "practice": (_size_of_errors, _which_method, _what_it_uses, _luck),
        "next": (_ensemble, _unused),
    }
    return [(topic, text) for topic, parts in topics.items() for part in parts for text in part(results, winner)]


def _against_baselines(results: FinalResults, _winner: Entrant) -> Iterator[str]:
    metric = results.metric
    for baseline in results.baselines:
        if not baseline.uses_features and verdict(metric, baseline.difference) != "better":
            constant = _CONSTANTS.get(baseline.title, f"the {baseline.title}")
            yield (
                f"The winner is not clearly better than always predicting {constant}, which reaches"
                f" {between(metric, baseline.scores[metric])}: there is no sign that it learned anything from the "
                f"columns."
            )
    for baseline in results.informed_baselines:
        found = baseline.difference
        tuned = "" if baseline.tuned else " (not tuned)"
        yield (
            f"On the same rows, {baseline.title}{tuned} reaches {between(metric, baseline.scores[metric])}; the "
            f"difference of the winner is {gap(metric, found)}: {_VERDICTS[verdict(metric, found)]}."
        )


def _against_published(results: FinalResults, winner: Entrant) -> Iterator[str]:
    metric, sign = results.metric, 1 if results.is_less_better else -1
    published = sorted((r for r in results.references if not r["disputed"]), key=lambda r: sign * r["value"])
    if not published or not results.columns:
        return
    found = winner.scores[metric]
    beaten = [r for r in published if sign * (r["value"] - found["value"]) > 0]
    clearly = [r for r in beaten if r["value"] > found["high"] or r["value"] < found["low"]]
    ahead = [r for r in published if r not in beaten]

    def listed(some: list[dict[str, Any]]) -> str:
        return ", ".join(f"{r['model']} {number(metric, r['value'])}" for r in some) or "none"

    rows = results.conditions["train_rows"]
    some = counted(len(published), "published result")
    yield (
        f"Of {some} ({results.in_unit(metric)}; other rows and conditions, see the table), the winner, trained on "
        f"{rows:,} rows, is better than {len(beaten)} ({listed(beaten)}), "
        f"{len(clearly)} of them outside its interval. Better than the winner: {listed(ahead)}."
    )


def _bands(results: FinalResults, _winner: Entrant) -> Iterator[str]:
    bands = results.bands
    if len(bands) < 2:
        return
    worst, best = (pick(bands, key=lambda band: band["rmse"]["value"]) for pick in (max, min))
    yield (
        f"The {results.in_unit('rmse')} is highest where the target is between {_range(worst)}:"
        f" {between('rmse', worst['rmse'])}, compared with {between('rmse', best['rmse'])} between {_range(best)}."
    )
    low, high = bands[0]["bias"], bands[-1]["bias"]
    if low["low"] > 0 and high["high"] < 0:
        yield (
            f"Rows with extreme targets are predicted closer to the mean, as by every model that explains less than "
            f"all of the variance: in the lowest band {between('bias', low)} too high on average, in the highest "
            f"{plain(abs(high['value']))} too low."
        )


def _range(band: dict[str, Any]) -> str:
    return " and ".join(together([band["low"], band["high"]]))


def _ends(results: FinalResults, _winner: Entrant) -> Iterator[str]:
    for name, side in (("cap", "above"), ("floor", "below")):
        found = getattr(results, name)
        if not found or results.own:  # an earlier release took the test rows of own code for its training rows
            continue
        text = (
            f"{100 * found['train_share']:.1f} % of the training rows have the same {results.target or 'target'},"
            f" {plain(found['value'])}, and no value is {side}. Values {side} that limit can be neither learned nor "
            f"measured."
        )
        if "rmse_there" in found and "rmse_elsewhere" in found:
            text += (
                f" On the {found['rows_there']:,} test rows with this value the RMSE is "
                f"{between('rmse', found['rmse_there'])}, "
                f"on all other rows {between('rmse', found['rmse_elsewhere'])}."
            )
        yield text


def _outside(results: FinalResults, _winner: Entrant) -> Iterator[str]:
    found = results.range
    if not found:
        return
    text = (
        f"Outside the range of the training rows in some feature: {found['outside']:,} of"
        f" {results.conditions['test_rows']:,} test rows. Nothing was measured farther outside."
    )
    if results.places:
        spans = [f"{name} {' to '.join(together(ends))}" for name, ends in found["places"].items()]
        text += f" The training rows are within {' and '.join(spans)}; the network has not learned about other places."
    yield text
    for name, share in found.get("beyond", {}).items():
        yield (
            f"{name} is outside the range of the training rows in {share:.0%} of the test rows, as a date is if the"
            f" split is by time. Its importance compares such values with each other: whether the network needs this"
            f" column remains open."
        ).replace("%", " %", 1)


def _geography(results: FinalResults, _winner: Entrant) -> Iterator[str]:
    found = results.geography
    if not found:
        return
    near = found["nearest_km"]
    place = f"lie within {near:.2g} km of a training row" if near >= 0.05 else "have the same place as a training row"
    yield (
        f"Half of the test rows {place}, so the score measures interpolation between neighbours. The errors of a row "
        f"and of its nearest test rows have a correlation of"
        f" {found['neighbour_correlation']:+.2f}: {_shared(found['neighbour_correlation'])}."
    )
    if "held_out" in found:
        held = found["held_out"]
        worse = "worse results" if held["difference"]["low"] > 0 else "no better results"
        yield (
            f"Expect {worse} for regions without training rows: with whole regions ({held['num_regions']} of them)"
            f" held out of the training rows gradient boosting has an RMSE of {between('rmse', held['regions'])}, with"
            f" random rows held out {between('rmse', held['random'])}; the difference is"
            f" {gap('rmse', held['difference'])}."
        )


def _shared(correlation: float) -> str:
    return (
        "place still explains part of the error that the inputs do not"
        if correlation > 0.1
        else "place explains little of the remaining error"
    )


def _gaps(results: FinalResults, _winner: Entrant) -> Iterator[str]:
    gaps = {c.get("text") or c["name"]: c["missing"] for c in results.columns if c["missing"] > 0}
    num_columns = len({c.get("text") or c["name"] for c in results.columns})
    if gaps:
        name = max(gaps, key=lambda name: gaps[name])
        some = f"{len(gaps)} of {counted(num_columns, 'column')}{', most in' if len(gaps) > 1 else ':'}"
        yield (
            f"Values are missing in {some} {name} ({percent(gaps[name])} of the training rows); they are replaced by a"
            " typical value and marked."
        )


def _size_of_errors(results: FinalResults, winner: Entrant) -> Iterator[str]:
    if not results.residuals or not results.target_median:
        return
    half, most = results.residuals["median_absolute"], results.residuals["p90_absolute"]
    middle = abs(results.target_median)
    unit = f" ({results.target_unit})" if results.target_unit else ""
    text = (
        f"Half of the predictions are off by at most {plain(half, digits=3)}{unit}, which is"
        f" {100 * half / middle:.0f} % of the median target, and one in ten by more than {plain(most, digits=3)}, which"
        f" is {100 * most / middle:.0f} %. The network explains {100 * winner.scores['r2']['value']:.0f} % of the"
        " variance."
    )
    yield text + (" Use it for averages over many rows rather than for single rows." if most > LARGE * middle else "")


def _which_method(results: FinalResults, winner: Entrant) -> Iterator[str]:
    if not results.informed_baselines or winner.training_seconds is None:
        return
    best, metric = results.informed_baselines[0], results.metric
    times = winner.training_seconds / max(best.fit_seconds, 1e-3)
    cost = f"one network trains in {winner.training_seconds:.3g} s, {best.title} in {best.fit_seconds:.3g} s"
    advice = {
        "better": f"the network is better, at {times:.2g} times the training time",
        "worse": f"if only the score matters, {best.title} is the better choice on this table",
        "no clear difference": "choose by cost",
    }[verdict(metric, best.difference)]
    yield f"Which to use: {cost} (without the search). The difference is {gap(metric, best.difference)}: {advice}."


def _what_it_uses(results: FinalResults, _winner: Entrant) -> Iterator[str]:
    alone = [f for f in results.importance if len(f["features"]) == 1]
    if not alone:
        return
    metric = results.importance_metric
    leading = [f"{f['features'][0]} ({between(metric, f)})" for f in alone[:3] if f["low"] > 0]
    if leading:
        yield (
            f"The most important features are {', '.join(leading)}: this is how much the {results.in_unit(metric)} "
            f"increases when the feature is permuted among the rows. If these values are wrong or outdated, so is the "
            f"prediction."
        )
    for group in (f for f in results.importance if len(f["features"]) > 1 and f["low"] > 0):
        names = feature_names(group["features"])
        yield (
            f"{names} are correlated; permuting them together increases the {results.in_unit(metric)} by"
            f" {between(metric, group)}."
        )


def _luck(results: FinalResults, winner: Entrant) -> Iterator[str]:
    metric, seeds = results.metric, winner.by_seed[results.metric]
    if len(seeds) > 1 and results.columns:
        yield (
            f"The result varies with the seed: the {len(seeds)} seeds range from {number(metric, min(seeds))} to"
            f" {number(metric, max(seeds))}, with the same rows and settings."
        )


def _ensemble(results: FinalResults, winner: Entrant) -> Iterator[str]:
    found = results.ensemble
    if not found:
        return
    metric = results.metric
    gain = {"better": "is worth its cost if the score matters", "worse": "does not help here"}
    yield (
        f"The average prediction of the {len(winner.seeds)} networks reaches {between(metric, found['score'])},"
        f" {gap(metric, found['difference'])} compared with a single network: averaging"
        f" {gain.get(verdict(metric, found['difference']), 'makes no clear difference')}."
    )


def _unused(results: FinalResults, _winner: Entrant) -> Iterator[str]:
    alone = [f for f in results.importance if len(f["features"]) == 1]
    beyond = results.range.get("beyond", {})
    unused = [f["features"][0] for f in alone if f["low"] <= 0 and f["features"][0] not in beyond]
    if unused and len(unused) < len(alone):
        shown = ", ".join(unused[:5]) + (f" and {len(unused) - 5} more" if len(unused) > 5 else "")
        yield (
            f"Features without an importance that is clearly above zero: {len(unused)} of {len(alone)} ({shown}). A "
            f"search without them is cheaper and shows whether they matter."
        )
