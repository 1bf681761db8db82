"""Probes whether a server listens at an address."""

import socket
import time
from collections.abc import Callable

_CONNECT_SECONDS = 5


class Probe:
    """A function that returns whether a server listens at an address, or did a short time ago."""

    def __init__(
        self,
        address: tuple[str, int] | str,
        *,
        patience_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            address: host and port, or the path of a Unix socket.
            patience_seconds: how long the server may be unreachable before the answer is False.
        """
        self._address, self._patience, self._clock = address, patience_seconds, clock
        self._heard = clock()

    def __call__(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX) if isinstance(self._address, str) else _tcp(self._address) as line:
                if isinstance(self._address, str):
                    line.settimeout(_CONNECT_SECONDS)
                    line.connect(self._address)
            self._heard = self._clock()
        except OSError:
            return self._clock() - self._heard < self._patience
        return True


def _tcp(address: tuple[str, int]) -> socket.socket:
    return socket.create_connection(address, timeout=_CONNECT_SECONDS)
