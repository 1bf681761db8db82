"""The first layer of a network for tables: it scales and embeds numbers, missing values and category codes.

Everything that depends on the data is fitted here, on the training rows alone, and stored in buffers, so that it is
saved, averaged and exported with the weights.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from trainables.data.dataset import Dataset
from trainables.data.sample import sample_rows
from trainables.data.table import Column

Scaling = Literal["standard", "quantile"]
Embedding = Literal["none", "piecewise_linear", "periodic"]
NUM_KNOTS = 256
"""Points of the curve by which a column is scaled."""
_TINY = float(np.finfo(np.float32).tiny)
_MAX_FITTED_ROWS = 50_000
"""Most training rows to which scales are fitted; more would hardly change a quantile."""


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """How the columns of a table become inputs of the network.

    A missing number becomes the mean of its scaled column; if the training rows have missing values too, an additional
    input marks it. A category is a learnt vector; a missing or unknown one is the zero vector, unless missing values in
    the training rows teach another. Embedded numbers pass a linear layer and a ReLU per column (Gorishniy et al. 2022,
    arXiv:2203.05556).
    """

    scaling: Scaling = "quantile"
    """standard: zero mean, unit variance; quantile: by rank to a normal distribution, which is robust to outliers."""
    embedding: Embedding = "none"
    """none: each number as it is; piecewise_linear: its position in each quantile bin; periodic: sines and cosines."""
    embedding_size: int = 16
    """Outputs per number."""
    num_bins: int = 32
    """Bins of the piecewise-linear embedding."""
    num_frequencies: int = 16
    """Frequencies of the periodic embedding, which are learnt."""
    frequency_scale: float = 0.3
    """Standard deviation of the initial frequencies, in periods per standard deviation of the column."""
    category_size: int = 8
    """Length of the vector of a category."""

    def __post_init__(self) -> None:
        for name, choices in (("scaling", get_args(Scaling)), ("embedding", get_args(Embedding))):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, got {getattr(self, name)!r}")
        for name in ("embedding_size", "num_bins", "num_frequencies", "category_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not (self.frequency_scale > 0 and math.isfinite(self.frequency_scale)):
            raise ValueError(f"frequency_scale must be positive and finite, got {self.frequency_scale}")


class Encoder(nn.Module):
    """Converts rows of a table, (N, F) with NaN for missing values, to float32 (N, `num_outputs`).

    The fitted values have the type of the rows, so that float64 columns are centred in float64.
    """

    num_outputs: int
    """Outputs for each row."""
    sizes: list[int]
    """Outputs of each number, each mark of a gap and each category, in their order."""

    def __init__(self, config: EncoderConfig, dataset: Dataset) -> None:
        """Fit scaling and bins to the training rows; without rows all is zero, until stored weights are loaded.

        The columns of a data set that names none count as numbers without missing values.
        """
        super().__init__()
        unnamed = (Column(name=f"column {i}", kind="number") for i in range(dataset.image_shape[0]))
        columns = dataset.columns or tuple(unnamed)
        numbers = [i for i, column in enumerate(columns) if column.kind == "number"]
        categories = [i for i, column in enumerate(columns) if column.kind == "category"]
        sizes = [len(columns[i].categories) + 1 for i in categories]
        self.numbers, self.categories = _places(numbers), _places(categories)
        self.gaps = _places([place for place, i in enumerate(numbers) if columns[i].gaps])
        self.offsets = _places(np.cumsum([0, *sizes])[:-1].tolist())
        rows = torch.from_numpy(sample_rows(len(dataset.train), _MAX_FITTED_ROWS))
        x = dataset.train.x[rows.to(dataset.train.x.device)][:, numbers].cpu().numpy()
        self.scale = _SCALES[config.scaling](x)
        self.embed = _EMBEDDINGS[config.embedding](config, self.scale(torch.from_numpy(x)))
        self.embed_categories = nn.Embedding(sum(sizes), config.category_size) if sizes else None
        if self.embed_categories is not None:
            nn.init.normal_(self.embed_categories.weight, std=config.category_size**-0.5)
            self.embed_categories.weight.data[self.offsets] = 0.0
        self.sizes = [self.embed.size] * len(numbers) + [1] * len(self.gaps) + [config.category_size] * len(sizes)
        self.num_outputs = sum(self.sizes)

    def forward(self, x: Tensor) -> Tensor:
        return self.embedded(x, *self.scaled(x))

    def scaled(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The numbers scaled, 0 for missing ones, and which are missing: the part without weights; each (N, M)."""
        numbers = x.index_select(1, self.numbers)
        missing = numbers.isnan()
        return self.scale(numbers).masked_fill(missing, 0.0), missing

    def embedded(self, x: Tensor, scaled: Tensor, missing: Tensor) -> Tensor:
        """The outputs (N, `num_outputs`) for rows whose numbers are scaled."""
        parts = [self.embed(scaled), missing.index_select(1, self.gaps).float()]
        if self.embed_categories is not None:
            codes = x.index_select(1, self.categories).long() + self.offsets  # (N, C)
            parts.append(self.embed_categories(codes).flatten(1))
        return torch.cat(parts, dim=1)


class StandardScale(nn.Module):
    """Scales each column to zero mean and unit variance on the fitted rows; a constant column becomes zero."""

    def __init__(self, x: np.ndarray) -> None:
        """Fit to numbers (N, M) with NaN where one is missing."""
        super().__init__()
        columns = [_present(x[:, i]).astype(np.float64) for i in range(x.shape[1])]
        self.mean = nn.Buffer(_tensor([values.mean() for values in columns], x.dtype))
        self.factor = nn.Buffer(_tensor([1 / v.std() if np.ptp(v) else 0.0 for v in columns], x.dtype))

    def forward(self, x: Tensor) -> Tensor:
        return ((x - self.mean) * self.factor).float()  # (N, M)


class QuantileScale(nn.Module):
    """Maps each column by rank to a normal distribution with zero mean and unit variance on the fitted rows.

    The map is a curve of straight lines between the quantiles of the column, constant beyond both ends. Equal quantiles
    share the mean of their ranks.
    """

    def __init__(self, x: np.ndarray) -> None:
        """Fit to numbers (N, M) with NaN where one is missing."""
        super().__init__()
        curves = [_rank_curve(_present(x[:, i]).astype(np.float64), x.dtype) for i in range(x.shape[1])]
        self.knots = nn.Buffer(_tensor([knots for knots, _ in curves], x.dtype).reshape(-1, NUM_KNOTS))
        self.heights = nn.Buffer(_tensor([heights for _, heights in curves], np.float32).reshape(-1, NUM_KNOTS))

    def forward(self, x: Tensor) -> Tensor:
        columns = x.T.contiguous()  # (M, N)
        if torch.compiler.is_exporting():  # ONNX has no searchsorted
            above = (columns[:, :, None] >= self.knots[:, None, :]).sum(2)
        else:
            above = torch.searchsorted(self.knots, columns, right=True)
        above = above.clamp(1, NUM_KNOTS - 1)
        low, high = self.knots.gather(1, above - 1), self.knots.gather(1, above)
        share = ((columns - low) / (high - low).clamp_min(_TINY)).clamp(0.0, 1.0).float()
        return torch.lerp(self.heights.gather(1, above - 1), self.heights.gather(1, above), share).T


class PlainNumbers(nn.Module):
    """Each number as it is."""

    size = 1

    def __init__(self, _config: EncoderConfig, _scaled: Tensor) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return x


class PiecewiseLinear(nn.Module):
    """The position of a number in each quantile bin of its column, 0 to 1, then a linear layer and a ReLU."""

    def __init__(self, config: EncoderConfig, scaled: Tensor) -> None:
        super().__init__()
        levels = np.linspace(0, 1, config.num_bins + 1)
        edges = _tensor([np.quantile(_present(column), levels) for column in scaled.T.numpy()], np.float32)
        edges = edges.reshape(-1, config.num_bins + 1)
        self.low = nn.Buffer(edges[:, :-1].contiguous())
        self.factor = nn.Buffer(1 / edges.diff(dim=1).clamp_min(1e-6))
        self.linear = ColumnLinear(len(edges), config.num_bins, config.embedding_size)
        self.size = config.embedding_size

    def forward(self, x: Tensor) -> Tensor:
        shares = ((x[:, :, None] - self.low) * self.factor).clamp(0.0, 1.0)  # (N, M, bins)
        return torch.relu(self.linear(shares))


class Periodic(nn.Module):
    """Sines and cosines of a number at learnt frequencies, then a linear layer and a ReLU."""

    def __init__(self, config: EncoderConfig, scaled: Tensor) -> None:
        super().__init__()
        num_columns = scaled.shape[1]
        # a vector, like a bias, so that weight decay does not draw all frequencies to zero
        self.frequencies = nn.Parameter(config.frequency_scale * torch.randn(num_columns * config.num_frequencies))
        self.linear = ColumnLinear(num_columns, 2 * config.num_frequencies, config.embedding_size)
        self.size = config.embedding_size

    def forward(self, x: Tensor) -> Tensor:
        angles = 2 * math.pi * x[:, :, None] * self.frequencies.view(x.shape[1], -1)  # (N, M, frequencies)
        return torch.relu(self.linear(torch.cat([angles.sin(), angles.cos()], dim=2)))


class ColumnLinear(nn.Module):
    """A separate linear layer for each of M columns: (N, M, inputs) to (N, M * outputs)."""

    def __init__(self, num_columns: int, num_inputs: int, num_outputs: int) -> None:
        super().__init__()
        bound = num_inputs**-0.5
        self.weight = nn.Parameter(torch.empty(num_columns, num_inputs, num_outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(num_columns * num_outputs).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        return torch.bmm(x.transpose(0, 1), self.weight).transpose(0, 1).flatten(1) + self.bias


_SCALES = {"standard": StandardScale, "quantile": QuantileScale}
_EMBEDDINGS = {"none": PlainNumbers, "piecewise_linear": PiecewiseLinear, "periodic": Periodic}


def _places(places: list[int]) -> nn.Buffer:
    """A buffer that is computed from the columns and not stored."""
    return nn.Buffer(torch.tensor(places, dtype=torch.int64), persistent=False)


def _present(values: np.ndarray) -> np.ndarray:
    """The values that are not missing, or a single zero if all are."""
    kept = values[~np.isnan(values)]
    return kept if len(kept) else np.zeros(1, values.dtype)


def _rank_curve(values: np.ndarray, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
    """Knots of this type, ascending, and the heights of the curve there; both (NUM_KNOTS,), the last one
    repeated."""
    levels = (np.arange(NUM_KNOTS) + 0.5) / NUM_KNOTS
    ranks = np.array([NormalDist().inv_cdf(level) for level in levels])
    knots, place, counts = np.unique(np.quantile(values, levels).astype(dtype), return_inverse=True, return_counts=True)
    heights = np.bincount(place, weights=ranks) / counts
    fitted = np.interp(values, knots, heights)
    heights = (heights - fitted.mean()) / max(fitted.std(), 1e-12)
    missing = NUM_KNOTS - len(knots)
    return np.pad(knots, (0, missing), mode="edge"), np.pad(heights, (0, missing), mode="edge")


def _tensor(values: list, dtype: Any) -> Tensor:
    return torch.from_numpy(np.array(values, dtype))
