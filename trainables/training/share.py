"""The share of one of several workers that train a network together, and what they exchange over torch.distributed.

Each worker holds the whole network and the whole data, and computes a part of the rows of every batch. The loss of a
batch is the sum over the workers of (own rows / rows) * mean loss of the own rows, so gradients are added up.
"""

import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Share:
    """One of the workers of the process group of this process."""

    rank: int
    """Its number, from 0."""
    workers: int
    """At least 2."""

    def rows(self, size: int, *, rank: int | None = None) -> slice:
        """The rows of a worker among so many: consecutive, and as many as others have, give or take one.

        Args:
            rank: of the worker; this one when None.

        Raises:
            ValueError: there are fewer rows than workers.
        """
        if size < self.workers:
            raise ValueError(
                f"a batch must have at least one row for each of the {self.workers} workers of a trial, got {size}; "
                "use fewer workers"
            )
        rank = self.rank if rank is None else rank
        return slice(size * rank // self.workers, size * (rank + 1) // self.workers)

    def sizes(self, size: int, *, parts: int = 1, number: int = 0) -> list[int]:
        """How many of so many rows each worker has, or how many are in one of the parts that it splits its rows into.

        Args:
            parts: into which each worker splits its rows, as evenly as possible and the longer ones first.
            number: of the part.
        """
        owned = [self.rows(size, rank=rank) for rank in range(self.workers)]
        return [(own.stop - own.start) // parts + (number < (own.stop - own.start) % parts) for own in owned]

    def parts(self, size: int, num_parts: int) -> int:
        """Parts into which each worker splits its rows if one worker alone would split a batch into `num_parts`."""
        return min(size // self.workers, -(-num_parts // self.workers))

    def add(self, tensors: Iterable[Tensor]) -> None:
        """Replace tensors of one type by their sums over the workers, in one exchange; all get the same bits."""
        found = list(tensors)
        sums = torch.cat([tensor.detach().reshape(-1) for tensor in found])
        dist.all_reduce(sums)
        for tensor, total in zip(found, sums.split([tensor.numel() for tensor in found]), strict=True):
            tensor.detach().copy_(total.view(tensor.shape))

    def gather(self, own: Tensor) -> Tensor:
        """The tensors of all workers, of one shape, along a new first dimension."""
        found = own.new_empty(self.workers, *own.shape)
        dist.all_gather(list(found.unbind()), own.contiguous())
        return found

    def map(self, function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """`function(x)`, which gives a row for each row; each worker computes it for its own, if there are enough."""
        if len(x) < self.workers:
            return function(x)
        own, sizes = function(x[self.rows(len(x))]), self.sizes(len(x))
        padded = own.new_zeros(max(sizes), *own.shape[1:])
        padded[: len(own)] = own
        return torch.cat([part[:count] for part, count in zip(self.gather(padded), sizes, strict=True)])

    def check_equal(self, networks: Iterable[nn.Module], *, epoch: int) -> None:
        """Raise RuntimeError unless these networks have the same bits in all workers."""
        checksum = 0
        for value in (value for network in networks for value in network.state_dict().values()):
            checksum = zlib.crc32(value.cpu().contiguous().reshape(-1).numpy().data, checksum)
        device = "cuda" if dist.get_backend() == "nccl" else "cpu"
        found = self.gather(torch.tensor([checksum], device=device)).flatten().tolist()
        if len(set(found)) > 1:
            raise RuntimeError(
                f"epoch {epoch}: the weights of the workers differ; train on nodes with equal processors, or use "
                "--workers-per-trial 1"
            )
