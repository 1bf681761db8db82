"""What a network does to the columns of a table before its first layer, in sentences."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from analysis.datasets.tables import TableOverview
from trainables.data.table import Column

if TYPE_CHECKING:
    from search.storage.run import Run

SCALES = {
    "standard": "standardised with the training rows",
    "log": "its logarithm, standardised with the training rows",
    "quantile": "by its rank among the training rows to a normal distribution",
}
"""The scale on which a network learns the target, in words."""


def preprocessing(run: "Run", params: Mapping[str, Any], found: TableOverview) -> list[str]:
    """What a network does to the columns before its first layer; nothing where the space no longer has these params.

    Args:
        run: that trained the network.
        params: the network's hyperparameters.
        found: the table.
    """
    from search.storage.space import space_of

    try:
        config = space_of(run).decode(params)
    except ValueError:
        return []
    encoder = getattr(config.model, "encoder", None)
    if encoder is None:
        return []
    columns = found.train.columns
    sentences = _numbers(encoder, columns) if any(column.kind == "number" for column in columns) else []
    if categories := sum(column.kind == "category" for column in columns):
        sentences.append(
            f"Categories ({categories}): a learned vector of length {encoder.category_size} for each level."
        )
    if found.task == "regression":
        sentences.append(f"Target: {SCALES[config.target_scaling]}; predictions are converted back to its unit.")
    sentences.append("All of this is fitted without the test rows and stored with the weights.")
    return sentences


def _numbers(encoder: Any, columns: Sequence[Column]) -> list[str]:
    """What happens to the columns of numbers and to the numbers of texts, and to missing ones."""
    numbers = sum(column.reads_as == "number" for column in columns)
    of_texts = sum(column.reads_as == "text" for column in columns)
    shown = f"{numbers}, and {of_texts} of texts" if of_texts else f"{numbers}"
    gaps = sum(column.gaps for column in columns if column.kind == "number")
    what = "numbers and texts" if of_texts else "numbers"
    all_of = ", and all numbers of a missing text" if of_texts else ""
    scaling = {"standard": "to zero mean and unit variance", "quantile": "by their rank to a normal distribution"}
    return [
        f"Numbers ({shown}): scaled {scaling[encoder.scaling]}{_embedding(encoder)}.",
        f"Missing {what}: in {gaps} of these columns among the training rows. The middle of the scaled column "
        f"replaces a missing number{all_of}, and an additional input marks it as missing."
        if gaps
        else (
            f"Missing {what}: none among the training rows. If one occurs later, the middle of the scaled "
            "column replaces it."
        ),
    ]


def _embedding(encoder: Any) -> str:
    if encoder.embedding == "piecewise_linear":
        return (
            f", then split into {encoder.num_bins} quantile bins and embedded in {encoder.embedding_size} values each"
        )
    if encoder.embedding == "periodic":
        return (
            f", then sines and cosines of {encoder.num_frequencies} learned frequencies, embedded in"
            f" {encoder.embedding_size} values each"
        )
    return ", used as they are"
