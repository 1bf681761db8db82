"""Host, processors, versions and commit, for the record."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import spaces
from search.runtime.resources import Resources, count_gpus
from search.runtime.versions import versions
from trainables.cpu import cpu_fields


def describe_machine(resources: Resources) -> dict[str, Any]:
    """Host, processors and resources, for run.json; nothing of the environment."""
    return {
        "host": platform.node(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu_model": cpu_model(),
        "cpus": os.cpu_count(),
        "gpus": count_gpus(),
        "gpu_model": gpu_model(),
        "threads_per_trial": resources.cpus_per_trial,
        "gpus_per_trial": resources.gpus_per_trial,
        **_workers(resources),
    }


def _workers(resources: Resources) -> dict[str, int]:
    """`workers_per_trial`, where there are several."""
    return {"workers_per_trial": resources.workers_per_trial} if resources.workers_per_trial > 1 else {}


def cpu_model() -> str:
    """The name of the processor."""
    return cpu_fields().get("model name") or platform.processor() or "unknown"


def gpu_model() -> str | None:
    """The name of the first GPU; None without one."""
    if not count_gpus():
        return None
    import torch

    return torch.cuda.get_device_name()


def commit() -> str | None:
    """The commit of the source tree, with `-dirty` if it has been changed; None outside a checkout."""
    root = Path(spaces.__file__).resolve().parent.parent
    try:
        command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None


def provenance(resources: Resources) -> dict[str, Any]:
    """The fields of a `Run` about where, when and with which versions it was made."""
    return {
        "slots": resources.slots,
        "cpus_per_trial": resources.cpus_per_trial,
        "gpus_per_trial": resources.gpus_per_trial,
        **_workers(resources),
        **({"workers_by_config": True} if resources.by_configuration else {}),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "versions": versions(),
        "machine": describe_machine(resources),
    }
