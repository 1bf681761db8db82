"""What the numbers of a final evaluation on a table mean: against other methods, limits, use, what to try next."""

from collections.abc import Iterator
from typing import Any

from analysis.scores.baselines import CONSTANT
from analysis.wording import between, feature_names, gap, in_unit, number, percent, together, verdict
from spaces.objectives import metric_named

LARGE = 0.25
"""Share of the median target from which an error of one row in ten is called large."""
_VERDICTS = {
    "better": "the network is better",
    "worse": "the network is worse",
    "not told apart": "the interval includes zero, so the two cannot be told apart",
}

_WITHOUT_FEATURES = {"mean": "always predicting the mean", "majority": "always predicting the most frequent class"}


def discuss_table(results: dict[str, Any], winner: dict[str, Any]) -> list[tuple[str, str]]:
    """Topics and sentences; nothing for images.

    Args:
        results: final.json so far.
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


def _informed(results: dict[str, Any]) -> list[dict[str, Any]]:
    """Baselines that look at the features, the best on the test rows first."""
    metric = results["metric"]
    sign = 1 if metric_named(metric).less_is_better else -1
    found = [b for b in results.get("baselines", []) if b["name"] not in CONSTANT]
    return sorted(found, key=lambda b: sign * b["scores"][metric]["value"])


def _against_baselines(results: dict[str, Any], _winner: dict[str, Any]) -> Iterator[str]:
    metric = results["metric"]
    for baseline in results.get("baselines", []):
        if baseline["name"] in CONSTANT and verdict(metric, baseline["difference"]) != "better":
            yield (
                f"The winner is not clearly better than {_WITHOUT_FEATURES[baseline['name']]}, which reaches"
                f" {between(metric, baseline['scores'][metric])}: there is no sign that it learned anything from the"
                " columns."
            )
    for baseline in _informed(results):
        found = baseline["difference"]
        yield (
            f"On the same rows {baseline['title']} reaches {between(metric, baseline['scores'][metric])}; the winner"
            f" minus that is {gap(metric, found)}: {_VERDICTS[verdict(metric, found)]}."
        )


def _against_published(results: dict[str, Any], winner: dict[str, Any]) -> Iterator[str]:
    metric, sign = results["metric"], 1 if metric_named(results["metric"]).less_is_better else -1
    published = sorted((r for r in results["references"] if not r["disputed"]), key=lambda r: sign * r["value"])
    if not published or not results.get("columns"):
        return
    found = winner["scores"][metric]
    beaten = [r for r in published if sign * (r["value"] - found["value"]) > 0]
    clearly = [r for r in beaten if r["value"] > found["high"] or r["value"] < found["low"]]
    ahead = [r for r in published if r not in beaten]

    def listed(some: list[dict[str, Any]]) -> str:
        return ", ".join(f"{r['model']} {number(metric, r['value'])}" for r in some) or "none"

    rows = results["conditions"]["train_rows"]
    yield (
        f"Of {len(published)} published results ({in_unit(metric, results)}; other rows and conditions, see the table)"
        f" it is better, trained on {rows:,} rows, than {len(beaten)} ({listed(beaten)}), {len(clearly)} of them"
        f" outside its interval; ahead of it: {listed(ahead)}."
    )


def _bands(results: dict[str, Any], _winner: dict[str, Any]) -> Iterator[str]:
    bands = results.get("bands", [])
    if len(bands) < 2:
        return
    worst, best = (pick(bands, key=lambda band: band["rmse"]["value"]) for pick in (max, min))
    yield (
        f"By {in_unit('rmse', results)} it errs most where the target lies between {_range(worst)}:"
        f" {between('rmse', worst['rmse'])}, against {between('rmse', best['rmse'])} between {_range(best)}."
    )
    low, high = bands[0]["bias"], bands[-1]["bias"]
    if low["low"] > 0 and high["high"] < 0:
        yield (
            f"It pulls towards the middle: in the lowest band it predicts {between('bias', low)} too much on average,"
            f" in the highest {abs(high['value']):.4g} too little."
        )


def _range(band: dict[str, Any]) -> str:
    return " and ".join(together([band["low"], band["high"]]))


def _ends(results: dict[str, Any], _winner: dict[str, Any]) -> Iterator[str]:
    for name, side in (("cap", "above"), ("floor", "below")):
        found = results.get(name)
        if found is None:
            continue
        text = (
            f"{100 * found['train_share']:.1f} % of the training rows have the same {results.get('target', 'target')},"
            f" {found['value']:.4g}, and none lies {side}: what is {side} cannot be learnt, nor measured."
        )
        if "rmse_there" in found and "rmse_elsewhere" in found:
            text += (
                f" On the {found['rows_there']:,} test rows there the RMSE is {between('rmse', found['rmse_there'])},"
                f" on all others {between('rmse', found['rmse_elsewhere'])}."
            )
        yield text


def _outside(results: dict[str, Any], _winner: dict[str, Any]) -> Iterator[str]:
    found = results.get("range")
    if not found:
        return
    text = (
        f"Outside the range of the training rows in some feature: {found['outside']:,} of"
        f" {results['conditions']['test_rows']:,} test rows; farther out nothing was measured at all."
    )
    if results.get("places"):
        spans = [f"{name} {' to '.join(together(ends))}" for name, ends in found["places"].items()]
        text += f" The training rows lie within {' and '.join(spans)}: of other places it knows nothing."
    yield text


def _geography(results: dict[str, Any], _winner: dict[str, Any]) -> Iterator[str]:
    found = results.get("geography")
    if not found:
        return
    near = found["nearest_km"]
    place = f"lie within {near:.2g} km of a training row" if near >= 0.05 else "share their place with a training row"
    yield (
        f"Half of the test rows {place}: the score says how well it"
        f" fills in between neighbours. Errors of a row and of its nearest test rows correlate at"
        f" {found['neighbour_correlation']:+.2f}: {_shared(found['neighbour_correlation'])}."
    )
    if "held_out" in found:
        held = found["held_out"]
        worse = "worse" if held["difference"]["low"] > 0 else "no better"
        yield (
            f"For regions without a training row expect {worse}: with whole regions ({held['num_regions']} of them)"
            f" held out of the training rows gradient boosting has an RMSE of {between('rmse', held['regions'])}, with"
            f" random rows held out {between('rmse', held['random'])}; the difference is"
            f" {gap('rmse', held['difference'])}."
        )


def _shared(correlation: float) -> str:
    return "place still holds what the inputs do not tell" if correlation > 0.1 else "place holds little that is left"


def _gaps(results: dict[str, Any], _winner: dict[str, Any]) -> Iterator[str]:
    gaps = {c["name"]: c["missing"] for c in results.get("columns", []) if c["missing"] > 0}
    if gaps:
        name = max(gaps, key=lambda name: gaps[name])
        yield (
            f"Values are missing in {len(gaps)} of {len(results['columns'])} columns, most in {name}"
            f" ({percent(gaps[name])} of the training rows); a guess and a mark stand in for them."
        )


def _size_of_errors(results: dict[str, Any], winner: dict[str, Any]) -> Iterator[str]:
    if "residuals" not in results or not results.get("target_median"):
        return
    half, most = results["residuals"]["median_absolute"], results["residuals"]["p90_absolute"]
    middle = abs(results["target_median"])
    unit = f" ({results['target_unit']})" if results.get("target_unit") else ""
    text = (
        f"A single prediction is off by {half:.3g}{unit} or less in half of the cases, {100 * half / middle:.0f} % of"
        f" the median target, and by more than {most:.3g} in one of ten, {100 * most / middle:.0f} % of it;"
        f" {100 * winner['scores']['r2']['value']:.0f} % of the variance is explained."
    )
    yield text + (" Use it for averages over many rows rather than for one." if most > LARGE * middle else "")


def _which_method(results: dict[str, Any], winner: dict[str, Any]) -> Iterator[str]:
    informed = _informed(results)
    if not informed:
        return
    best, metric = informed[0], results["metric"]
    times = winner["training_seconds"] / max(best["fit_seconds"], 1e-3)
    cost = f"one network trains in {winner['training_seconds']:.3g} s, {best['title']} in {best['fit_seconds']:.3g} s"
    advice = {
        "better": f"the network is worth its {times:.2g} times the time",
        "worse": f"where only the score counts, {best['title']} is the better choice on this table",
        "not told apart": "they may as well be chosen by cost",
    }[verdict(metric, best["difference"])]
    yield f"Which to use: {cost}, before any search; with {gap(metric, best['difference'])} between them {advice}."


def _what_it_uses(results: dict[str, Any], _winner: dict[str, Any]) -> Iterator[str]:
    alone = [f for f in results.get("importance", []) if len(f["features"]) == 1]
    if not alone:
        return
    metric = results["importance_metric"]
    leading = [f"{f['features'][0]} ({between(metric, f)})" for f in alone[:3] if f["low"] > 0]
    if leading:
        yield (
            f"It goes by {', '.join(leading)} above all: by so much the {in_unit(metric, results)} rises when that"
            " feature is dealt out to other rows. Where these are wrong or late, so is the prediction."
        )
    for group in (f for f in results["importance"] if len(f["features"]) > 1 and f["low"] > 0):
        names = feature_names(group["features"])
        yield f"{names} hang together; dealt out together they cost {between(metric, group)}."


def _luck(results: dict[str, Any], winner: dict[str, Any]) -> Iterator[str]:
    metric, seeds = results["metric"], winner["by_seed"][results["metric"]]
    if len(seeds) > 1 and results.get("columns"):
        yield (
            f"Training once more moves the result: its {len(seeds)} seeds span {number(metric, min(seeds))} to"
            f" {number(metric, max(seeds))}, from the same rows and settings."
        )


def _ensemble(results: dict[str, Any], winner: dict[str, Any]) -> Iterator[str]:
    found = results.get("ensemble")
    if not found:
        return
    metric = results["metric"]
    gain = {"better": "is worth its cost where the score counts", "worse": "does not help here"}
    yield (
        f"The mean of the {len(winner['seeds'])} networks' answers reaches {between(metric, found['score'])},"
        f" {gap(metric, found['difference'])} against one of them: averaging"
        f" {gain.get(verdict(metric, found['difference']), 'makes no difference that can be told')}."
    )


def _unused(results: dict[str, Any], _winner: dict[str, Any]) -> Iterator[str]:
    alone = [f for f in results.get("importance", []) if len(f["features"]) == 1]
    unused = [f["features"][0] for f in alone if f["low"] <= 0]
    if unused and len(unused) < len(alone):
        shown = ", ".join(unused[:5]) + (f" and {len(unused) - 5} more" if len(unused) > 5 else "")
        yield (
            f"{len(unused)} of {len(alone)} features have no importance that can be told from zero ({shown}): a search"
            " without them is cheaper, and shows whether they matter."
        )
