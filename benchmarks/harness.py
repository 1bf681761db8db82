"""Common parts of the benchmarks: calibration of the machine, contestants in turn, ratios per round, table and JSON."""

import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from trainables.cpu import cpu_fields

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """One way to do the work."""

    name: str
    run: Callable[[], float]
    """Does a share of the work and returns how much it was, in the unit of the benchmark; it is timed as a whole."""
    required: float | None = None
    """How many times faster the first contestant has to be."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """Median, least and greatest of the rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Interval":
        return cls(median=statistics.median(values), low=min(values), high=max(values))

    def text(self, digits: int) -> str:
        return f"{self.median:,.{digits}f} ({self.low:,.{digits}f} to {self.high:,.{digits}f})"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Rates of all contestants, round by round."""

    name: str
    unit: str
    contestants: tuple[Contestant, ...]
    """Ours is the first."""
    rates: dict[str, list[float]]
    notes: dict[str, Any] = field(default_factory=dict)
    """Further figures, by name."""

    def ratio(self, name: str) -> Interval:
        """How many times the first contestant is as fast as this one, by rounds."""
        ours = self.rates[self.contestants[0].name]
        return Interval.of([a / b for a, b in zip(ours, self.rates[name], strict=True)])

    def publish(self, console: Console, *, calibration: dict[str, float], conditions: dict[str, Any]) -> Path:
        """Print the table and write `results/NAME.json`; returns its path."""
        table = Table("contestant", self.unit, "ours is faster by", "target", title=self.name)
        for contestant in self.contestants:
            must = f"{contestant.required:g}x" if contestant.required else ""
            rate, ratio = Interval.of(self.rates[contestant.name]), self.ratio(contestant.name)
            table.add_row(contestant.name, rate.text(0), ratio.text(2), must)
        console.print(table)
        for title, values in (("figures", self.notes), ("calibration", calibration), ("conditions", conditions)):
            console.print(f"{title}: " + ", ".join(f"{key} {value}" for key, value in values.items()))
        result = {"name": self.name, "unit": self.unit, "rates": self.rates, "notes": self.notes}
        result["ratios"] = {contestant.name: asdict(self.ratio(contestant.name)) for contestant in self.contestants}
        result["required"] = {contestant.name: contestant.required for contestant in self.contestants}
        result |= {"calibration": calibration, "conditions": conditions}
        path = write_result(self.name, result)
        console.print(f"written to {path}")
        return path


def compare(
    name: str, contestants: Sequence[Contestant], *, unit: str, rounds: int, notes: dict[str, Any]
) -> Comparison:
    """Run the contestants in turn, A B C A B C ..., so that a change of the machine's speed meets all of them.

    Args:
        name: of the result.
        contestants: ours first; each is run once before, unmeasured.
        unit: of the rates, such as img/s.
        rounds: measured turns.
        notes: further figures for the result.
    """
    rates: dict[str, list[float]] = {contestant.name: [] for contestant in contestants}
    for number in range(rounds + 1):
        for contestant in contestants:
            start = time.perf_counter()
            amount = contestant.run()
            if number:
                rates[contestant.name].append(amount / (time.perf_counter() - start))
    return Comparison(name=name, unit=unit, contestants=tuple(contestants), rates=rates, notes=notes)


def write_result(name: str, result: dict[str, Any]) -> Path:
    """Write `results/NAME.json`; returns its path."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    return path


def calibrate() -> dict[str, float]:
    """The most that this machine can do: GFLOP/s of matrix products and GB/s of a memory copy (read + write)."""
    before, found = torch.get_num_threads(), {}
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for precision in (torch.float32, torch.bfloat16):
            found[f"{str(precision)[6:]}_gflops_{threads}_threads"] = round(_best_gflops(precision), 1)
        source = torch.zeros(1 << 28, dtype=torch.uint8)
        target = torch.empty_like(source)
        seconds = _best_seconds(lambda: target.copy_(source), repeats=5)  # noqa: B023
        found[f"copy_gb_per_second_{threads}_threads"] = round(2 * len(source) / seconds / 1e9, 1)
    torch.set_num_threads(before)
    return found


def calibrate_gpu() -> dict[str, float]:
    """The most that this GPU can do: TFLOP/s of a bfloat16 matrix product and TB/s of a copy (read + write)."""
    a, b = (torch.randn(8192, 8192, device="cuda").bfloat16() for _ in range(2))
    source = torch.randint(0, 256, (1 << 31,), dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)

    def finished(work: Callable[[], Any]) -> Callable[[], None]:
        def run() -> None:
            work()
            torch.cuda.synchronize()

        return run

    return {
        "bfloat16_tflops": round(2e-12 * 8192**3 / _best_seconds(finished(lambda: a @ b), repeats=20), 1),
        "copy_tb_per_second": round(2e-12 * len(source) / _best_seconds(finished(lambda: target.copy_(source))), 2),
    }


def describe_conditions(*, seed: int, **options: Any) -> dict[str, Any]:
    """Where and when this runs: versions, machine, load, date, commit, seed and the benchmark's own options."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit.stdout.strip() or "unknown",
        "seed": seed,
        **options,
        "load_average": round(os.getloadavg()[0], 2),
        "cpus": os.cpu_count(),
        "cpu": _cpu_model(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "python": platform.python_version(),
        **{package: version(package) for package in ("torch", "torchvision", "ray", "optuna", "numpy")},
    }


def _best_gflops(precision: torch.dtype) -> float:
    """The larger of two sizes: with two threads 1024 alone came out slower than with one."""
    rates = []
    for size, repeats in ((1024, 30), (2048, 10)):
        a, b = (torch.randn(size, size).to(precision) for _ in range(2))
        rates.append(2e-9 * size**3 / _best_seconds(lambda a=a, b=b: a @ b, repeats=repeats))
    return max(rates)


def _best_seconds(work: Callable[[], Any], *, repeats: int = 30) -> float:
    work()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def _cpu_model() -> str:
    cpu = cpu_fields()
    features = {"amx_bf16", "avx512_bf16"} & set(cpu.get("flags", "").split())
    return " ".join([cpu.get("model name", platform.machine()), *sorted(features)])


def kept_cells(
    cells: Iterable[dict[str, Any]], keep: Path, measure: Callable[[dict[str, Any]], Any]
) -> Iterator[tuple[dict[str, Any], Any]]:
    """Each cell with what is measured in it; kept in a file, a line each, from which a later call continues."""
    keep.parent.mkdir(parents=True, exist_ok=True)
    lines = keep.read_text().splitlines() if keep.exists() else []
    known = {json.dumps(cell): found for cell, found in map(json.loads, lines)}
    for cell in cells:
        if (key := json.dumps(cell)) not in known:
            known[key] = measure(cell)
            with keep.open("a") as file:
                file.write(json.dumps([cell, known[key]]) + "\n")
        yield cell, known[key]
