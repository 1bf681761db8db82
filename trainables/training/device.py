"""Precision and memory format for a device, and clocks that do not make it wait."""

import ctypes
import sys
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

import torch

from trainables.cpu import cpu_fields


@dataclass(frozen=True, kw_only=True)
class Numerics:
    """How a network is computed; weights, optimiser and statistics are always float32."""

    precision: Literal["float32", "bfloat16"]
    """Precision of convolutions and matrix products."""
    channels_last: bool
    """Memory format of images and kernels: (N, H, W, C) instead of (N, C, H, W)."""

    @property
    def dtype(self) -> torch.dtype:
        return torch.bfloat16 if self.precision == "bfloat16" else torch.float32

    @property
    def memory_format(self) -> torch.memory_format:
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def autocast(self, device: torch.device) -> AbstractContextManager:
        """The context in which a forward pass runs."""
        return torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bfloat16")


FLOAT32 = Numerics(precision="float32", channels_last=False)
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def choose_numerics(device: torch.device, shape: tuple[int, ...]) -> Numerics:
    """The fastest precision and memory format that are exact enough for a small network on this device.

    Networks for tables are float32: bfloat16 would round predictions to three digits, which matters if R2 is near 1,
    and it is faster only for layers of about 500 units or more.

    The rule depends only on the hardware and not on measured times, so that a repeated trial gives the same numbers;
    `benchmarks/training_speed.py` checks the rule.

    Args:
        device: device of the network.
        shape: shape of one row: (C, H, W) of an image, (F,) of a table.
    """
    if len(shape) != 3:
        return FLOAT32
    if device.type == "cuda":
        fast = torch.cuda.get_device_capability(device)[0] >= 8  # Ampere and newer multiply bfloat16 at full rate
    else:
        fast = torch.backends.mkldnn.is_available() and multiplies_bfloat16_faster(cpu_fields())
    return Numerics(precision="bfloat16" if fast else "float32", channels_last=True)


def multiplies_bfloat16_faster(cpu: dict[str, str]) -> bool:
    """Whether this processor multiplies bfloat16 faster than float32: with AMX, with AVX512-BF16 of AMD, or on ARM.

    Intel's AVX512-BF16 without AMX, as on many virtual machines, takes 1.6 times as long as float32.

    Args:
        cpu: the fields of one processor, as `cpu_fields` reads them; False if there are none.
    """
    features = set(cpu.get("flags", cpu.get("Features", "")).split())
    if cpu.get("vendor_id") == "AuthenticAMD":
        return "avx512_bf16" in features
    return bool(features & {"amx_bf16", "bf16"})


def keep_freed_memory() -> None:
    """Let this process keep up to 256 MB of freed memory for the tensors of the next step (glibc only).

    Otherwise the memory of images returns to Linux and is allocated again, page by page and zeroed, in every step.
    """
    if sys.platform != "linux" or not hasattr(libc := ctypes.CDLL(None), "mallopt"):
        return
    libc.mallopt(_M_MMAP_THRESHOLD, 64 << 20)
    libc.mallopt(_M_TRIM_THRESHOLD, 256 << 20)


class Clock:
    """Measures the seconds of named parts of an epoch; on CUDA by events, for which the device does not wait."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._marks: list[tuple[str, float | torch.cuda.Event]] = []

    def mark(self, part: str) -> None:
        """Begin this part of the epoch: the time from now on counts for it."""
        if self._cuda:
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self._marks.append((part, event))
        else:
            self._marks.append((part, time.perf_counter()))

    def seconds(self) -> dict[str, float]:
        """The seconds of each part up to now; waits for the device."""
        self.mark("end")
        if self._cuda:
            torch.cuda.synchronize()
        totals: dict[str, float] = {}
        for (part, start), (_, end) in zip(self._marks, self._marks[1:], strict=False):
            totals[part] = totals.get(part, 0.0) + _between(start, end)
        return totals


def _between(start: float | torch.cuda.Event, end: float | torch.cuda.Event) -> float:
    if isinstance(start, torch.cuda.Event) and isinstance(end, torch.cuda.Event):
        return start.elapsed_time(end) / 1000
    assert isinstance(start, float)
    assert isinstance(end, float)
    return end - start
