"""A network for tables that looks at the training rows nearest to a row, in a space that it learns.

Each row is embedded, and so are the training rows; near are those whose keys, a linear map of the embedding, are near.
The softmax of the negative squared distances weighs their targets: their mean, their spread, and the mean difference of
the keys enter the rest of the network beside the row itself. It is a cheaper form of TabR (Gorishniy et al. 2023,
arXiv:2307.14338), which passes each neighbour through a network of its own, and of ModernNCA (Ye et al. 2024,
arXiv:2407.03257), which predicts the weighted mean.

In training, the neighbours of all training rows are searched once per epoch, by `begin_epoch`, and never contain a row
with the same inputs. Their keys have gradients. In evaluation they are searched for each row.
"""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainables.data.dataset import Dataset
from trainables.data.sample import sample_rows

MAX_CANDIDATES = 20_000
"""Most training rows among which neighbours are searched."""
_BLOCK = 512
"""Rows whose neighbours are searched at once."""
_MOST_EQUAL = 16
"""Candidates equal to a row, on average, up to which they are listed."""
_GROUP = 16
"""Columns of a group in which the smallest distances are searched."""
_ENCODED = 4096
"""Candidates that are embedded at once."""
Equal = Tensor | tuple[Tensor, Tensor]
"""Pairs of a row and a candidate: numbers of rows and of candidates, or a mask (N, C)."""


class NeighbourNet(nn.Module):
    """A network that embeds rows, adds what their neighbours say, and predicts.

    Rows are (N, F) as in the data set. Where weights are loaded, the candidates come with them.
    """

    def __init__(
        self, embed: nn.Module, body: nn.Module, dataset: Dataset, *, width: int, count: int, dropout: float
    ) -> None:
        """Keep the training rows as candidates.

        Args:
            embed: rows (N, F) to embeddings (N, width).
            body: embeddings to outputs.
            dataset: whose training rows are the candidates.
            width: size of an embedding.
            count: neighbours of a row.
            dropout: chance that a neighbour, or a unit of their summary, is dropped in training.
        """
        super().__init__()
        self.embed, self.body, self.count, self.dropout = embed, body, count, dropout
        chosen = torch.from_numpy(sample_rows(len(dataset.train), MAX_CANDIDATES)).to(dataset.train.x.device)
        targets = _targets(dataset)[chosen]
        self.rows, self.targets = nn.Buffer(dataset.train.x[chosen]), nn.Buffer(targets)
        self.key = nn.Linear(width, width)
        num_targets = targets.shape[1]
        self.label = nn.Linear(num_targets, width)
        self.summary = nn.Sequential(
            nn.Linear(width + 2 * num_targets, 2 * width, bias=False),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(2 * width, width, bias=False),
        )
        self._train_rows = dataset.train.x
        self._keys: Tensor | None = None
        """Keys of the candidates in evaluation, computed when they are first needed."""
        self._order, self._neighbours = torch.empty(0), torch.empty(0)
        """Fingerprints of the training rows, ascending, and the neighbours of each."""

    def forward(self, x: Tensor) -> Tensor:
        embedded = self.embed(x)
        keys = self.key(embedded)  # (N, width)
        if self.training:
            near = self._neighbours[torch.searchsorted(self._order, fingerprints(x))]  # (N, count)
            chosen = self._choose(near)
        else:
            candidates = self._kept_keys()
            near = self._search(keys, candidates)
            chosen = candidates[near]
        return self.body(embedded + self._context(keys, chosen, near))

    def _context(self, keys: Tensor, chosen: Tensor, near: Tensor) -> Tensor:
        """What the neighbours say, (N, width).

        Args:
            keys: of the rows, (N, width).
            chosen: keys of the neighbours with their squared lengths, (N, count, width + 1).
            near: numbers of the candidates (N, count); -1 for none.
        """
        known = near >= 0
        nearness = torch.bmm(chosen, -_facing(keys)[:, :, None])[..., 0]  # but for a constant of each row
        weights = nearness.masked_fill(~known, -math.inf).nan_to_num(neginf=-1e30).softmax(1) * known
        weights = F.dropout(weights, self.dropout, self.training)
        targets = (
            self.targets[near.clamp_min(0)]
            if len(self.targets)
            else self.targets.new_zeros(*near.shape, self.targets.shape[1])
        )
        mean = (weights[..., None] * targets).sum(1)
        spread = ((weights[..., None] * (targets - mean[:, None]).square()).sum(1) + 1e-6).sqrt()
        offset = keys * weights.sum(1, keepdim=True) - torch.bmm(weights[:, None], chosen)[:, 0, :-1]
        return self.label(mean) + self.summary(torch.cat([offset, mean, spread], dim=1))

    @torch.no_grad()
    def begin_epoch(self) -> None:
        """Search the neighbours of all training rows with the weights as they are now."""
        self.eval()
        device = self.rows.device
        keys, own = self._all_keys(), fingerprints(self.rows).sort(stable=True)
        rows = self._train_rows.to(device)
        prints = fingerprints(rows)
        found = [
            self._search(self.key(self.embed(rows[part])), keys, barred=_equal_pairs(prints[part], *own))
            for part in torch.arange(len(rows), device=device).split(_BLOCK)
        ]
        order, places = prints.sort(stable=True)
        neighbours = torch.cat(found)[places]
        if self._neighbours.shape == neighbours.shape:  # in place, since a recorded step reads these tensors
            self._neighbours.copy_(neighbours)
        else:
            self._order, self._neighbours = order, neighbours
        self.train()

    def train(self, mode: bool = True) -> "NeighbourNet":
        self._keys = None  # the weights may have changed
        return super().train(mode)

    def probe(self, x: Tensor) -> Tensor:
        """A pass through every layer as often as training uses it for one row, to count its multiply-adds.

        Args:
            x: one row (1, F), which stands for its neighbours too.
        """
        embedded = self.embed(x)
        chosen = torch.stack([_with_squares(self.key(self.embed(x))) for _ in range(self.count)], dim=1)
        near = torch.full((1, self.count), -1)
        return self.body(embedded + self._context(self.key(embedded), chosen, near))

    def _search(self, keys: Tensor, candidates: Tensor, *, barred: Equal | None = None) -> Tensor:
        """Numbers of the nearest candidates (N, count), not sorted; -1 where there are too few.

        Args:
            keys: of the rows, (N, width).
            candidates: their keys with squared lengths (C, width + 1).
            barred: candidates that are no neighbours of a row, as `_equal_pairs` gives them.
        """
        distances = _facing(keys) @ candidates.T  # (N, C), but for a constant of each row
        if barred is not None:
            distances[barred] = math.inf
        values, indices = _smallest(distances, min(self.count, candidates.shape[0]))
        return indices.masked_fill(values == math.inf, -1)

    def _kept_keys(self) -> Tensor:
        """What `_all_keys` gives, computed once after the weights have changed."""
        if torch.compiler.is_exporting():
            return self._all_keys()
        if self._keys is None:
            self._keys = self._all_keys()
        return self._keys

    def _all_keys(self) -> Tensor:
        """Keys of all candidates with their squared lengths (C, width + 1)."""
        return torch.cat([_with_squares(self.key(self.embed(rows))) for rows in self.rows.split(_ENCODED)])

    def _choose(self, near: Tensor) -> Tensor:
        """Keys of these candidates with their squared lengths (N, count, width + 1), each embedded once on a CPU."""
        near = near.clamp_min(0)
        if near.is_cuda:  # the number of different ones is not known to a recorded step
            return _with_squares(self.key(self.embed(self.rows[near.flatten()]))).unflatten(0, near.shape)
        different, places = near.unique(return_inverse=True)
        return F.embedding(places, _with_squares(self.key(self.embed(self.rows[different]))))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        for name in ("rows", "targets"):  # there are none without data, and other ones in trials of earlier versions
            stored = state_dict.get(f"{prefix}{name}")
            own = getattr(self, name)
            if isinstance(stored, Tensor) and stored.shape[1:] == own.shape[1:] and len(stored) != len(own):
                setattr(self, name, nn.Buffer(torch.empty_like(stored, device=own.device)))
        self._keys = None
        super()._load_from_state_dict(state_dict, prefix, *args)


def _with_squares(keys: Tensor) -> Tensor:
    """Keys (C, width) with the square of their length as a last column."""
    return torch.cat([keys, keys.square().sum(1, keepdim=True)], dim=1)


def _facing(keys: Tensor) -> Tensor:
    """(N, width + 1), whose product with `_with_squares` of others is |other|^2 - 2 keys.other: the squared distance
    but for |keys|^2."""
    return F.pad(-2 * keys, (0, 1), value=1.0)


def _smallest(distances: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The smallest of each row (N, count) and their places, not sorted.

    On a CPU, `topk` of a long row is slow. The smallest lie in those `count` groups of columns whose minima are the
    smallest, so only these are looked through.
    """
    groups = distances.shape[1] // _GROUP
    if distances.is_cuda or torch.compiler.is_exporting() or groups < 2 * count:
        found = distances.topk(count, dim=1, largest=False, sorted=False)
        return found.values, found.indices
    grouped, rest = distances[:, : groups * _GROUP].unflatten(1, (_GROUP, groups)), distances[:, groups * _GROUP :]
    best = grouped.amin(1).topk(count, dim=1, largest=False, sorted=False).indices  # (N, count)
    inside = grouped.gather(2, best[:, None].expand(-1, _GROUP, -1)).flatten(1)
    numbers = (torch.arange(_GROUP)[:, None] * groups + best[:, None]).flatten(1)
    beyond = torch.arange(groups * _GROUP, distances.shape[1]).expand(len(distances), -1)
    values, places = torch.cat([inside, rest], dim=1).topk(count, dim=1, largest=False, sorted=False)
    return values, torch.cat([numbers, beyond], dim=1).gather(1, places)


def _equal_pairs(prints: Tensor, known: Tensor, order: Tensor) -> Equal:
    """The pairs with equal fingerprints; as a mask where they are many.

    Args:
        prints: of the rows.
        known: those of the candidates, ascending.
        order: the number of each of these candidates.
    """
    first = torch.searchsorted(known, prints)
    counts = torch.searchsorted(known, prints, right=True) - first
    if counts.sum() > _MOST_EQUAL * len(prints):
        equal = torch.empty(len(prints), len(known), dtype=torch.bool, device=prints.device)
        return equal.index_copy_(1, order, prints[:, None] == known)
    rows = torch.arange(len(prints), device=prints.device).repeat_interleave(counts)
    ends = counts.cumsum(0)
    places = torch.arange(len(rows), device=prints.device) - (ends - counts)[rows] + first[rows]
    return rows, order[places]


def fingerprints(x: Tensor) -> Tensor:
    """An int64 for each row (N,), equal for rows with equal inputs; different ones almost certainly differ.

    Args:
        x: float32 or float64 (N, F); -0 counts as 0.
    """
    bits = (x + 0.0).view(torch.int32 if x.dtype == torch.float32 else torch.int64).long()
    rng = np.random.default_rng(0)
    factors = torch.from_numpy(rng.integers(-(2**62), 2**62, x.shape[1]) * 2 + 1).to(x.device)
    mixed = (bits ^ (bits >> 17)) * factors
    return (mixed ^ (mixed >> 29)).sum(1)


def _targets(dataset: Dataset) -> Tensor:
    """Targets as neighbours show them, float32: standardised (N, 1), or one column for each class (N, K)."""
    y = dataset.train.y
    if dataset.task == "classification":
        return F.one_hot(y, max(1, dataset.num_classes)).float()
    if not len(y):
        return torch.zeros(0, 1)
    return ((y - y.mean()) / y.std(correction=0).clamp_min(torch.finfo(y.dtype).tiny)).float()[:, None]
