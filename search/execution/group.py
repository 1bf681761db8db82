"""The process group of the workers of a trial: torch.distributed over gloo on CPUs, over NCCL on GPUs."""

import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import psutil

_BROKEN = ("gloo/transport", "NCCL")
"""In the errors of a connection to another worker."""
_LATE = "Timed out"
"""In the error of an exchange in which another worker takes no part, although it lives."""


class Host:
    """Where the workers of a trial meet: a key-value store in the process of worker 0."""

    def __init__(self, address: str) -> None:
        """
        Args:
            address: of this node, as Ray's other nodes reach it; the store listens there alone.
        """
        from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage] - documented

        with socket.create_server((address, 0), family=_family(address)) as listener:
            self.address, self.port = address, listener.getsockname()[1]
            self.store = TCPStore(
                address, self.port, is_master=True, wait_for_workers=False, master_listen_fd=listener.detach()
            )


def connect(address: str, port: int) -> Any:
    """The store of worker 0, from another worker."""
    from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage]

    return TCPStore(address, port, is_master=False, wait_for_workers=False)


def join(store: Any, *, leg: int, rank: int, world_size: int, device: str, address: str) -> None:
    """Make the process group of a leg; returns when all workers have joined.

    Args:
        leg: its number, the same in all workers.
        address: of this node.
    """
    import torch.distributed as dist

    name = interface(address)
    for variable in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME") if name else ():
        os.environ.setdefault(variable, name)
    leave()
    backend = "nccl" if device == "cuda" else "gloo"
    store = dist.PrefixStore(f"leg{leg}", store)  # pyright: ignore[reportPrivateImportUsage]
    dist.init_process_group(backend, store=store, rank=rank, world_size=world_size)


def leave() -> None:
    """End the process group, if there is one."""
    import torch.distributed as dist

    if dist.is_initialized():
        if dist.get_backend() == "nccl":
            abort()  # the end of a communicator would wait for the others
        with suppress(Exception):  # of a group that is broken already
            dist.destroy_process_group()


def abort() -> None:
    """Break off what this process exchanges with others; can be called in any thread."""
    import torch.distributed as dist

    with suppress(Exception):
        dist.group.WORLD.abort()  # pyright: ignore[reportOptionalMemberAccess]


def is_broken(error: BaseException) -> bool:
    """Whether an error comes from a connection that another worker has closed: the cause is there."""
    from torch.distributed import DistError

    return any(
        isinstance(one, DistError | RuntimeError)
        and any(word in str(one) for word in _BROKEN)
        and _LATE not in str(one)
        for one in _chain(error)
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and those that it was raised from."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def interface(address: str) -> str:
    """Name of the network interface with this address; empty if there is none."""
    found = psutil.net_if_addrs().items()
    return next((name for name, parts in found if any(part.address == address for part in parts)), "")


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET
