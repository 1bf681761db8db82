"""Makes the workers of a private Ray ready before their first trial is known: their imports take longest."""

import importlib
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

WARM_UP = f"{__name__}.warm_up"
_ROOT = Path(__file__).resolve().parent.parent


def warming(hook: str, *, cpus_per_trial: int) -> dict[str, str]:
    """Variables with which the processes of a private Ray make themselves ready.

    Ray starts a process for each CPU, and calls the hook in each of its workers. Where trials have several CPUs that
    would be more than are ever used; then a worker starts with its first trial.
    """
    path = os.pathsep.join([str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    ready = cpus_per_trial == 1
    return {
        "PYTHONPATH": path,  # before it knows its driver, a worker knows no other path to this package
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(cpus_per_trial)),  # Ray says so only to a trial
        "RAY_prestart_worker_first_driver": str(int(ready)),
        "RAY_idle_worker_killing_time_threshold_ms": "60000",  # as soon as trials have their CPUs, before they start
        **({"__RAY_WORKER_PROCESS_SETUP_HOOK_ENV_VAR": hook} if ready else {}),
    }


def warm_up() -> None:
    """Import what a worker needs; called in its process."""
    import search.execution.worker  # noqa: F401

    spare_notebook()
    _put_compiler_off()


def spare_notebook() -> None:
    """Tune imports IPython in each worker, where it is installed, only to forget a notebook that is not there."""
    from ray.tune.trainable import trainable

    trainable.disable_ipython = lambda: None  # pyright: ignore[reportPrivateImportUsage]


def _put_compiler_off() -> None:
    """At its first step an optimizer imports torch's compiler, more than a second of computing, only to tell it where
    its graphs end. Until somebody compiles, this stands in for it."""
    import torch

    class Absent(ModuleType):
        def __getattr__(self, name: str) -> Any:
            """Whatever else is asked of the compiler is answered by itself."""
            if sys.modules.get(self.__name__) is self:
                del sys.modules[self.__name__], torch._dynamo
            return getattr(importlib.import_module(self.__name__), name)

    absent: Any = Absent("torch._dynamo")
    absent.graph_break = bool
    absent.disable = lambda function, *_, **__: function
    if sys.modules.setdefault(absent.__name__, absent) is absent:
        torch._dynamo = absent
