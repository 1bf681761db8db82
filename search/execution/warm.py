"""Makes the workers of a private Ray ready before their first trial is known: their imports take longest."""

import importlib
import sys
from types import ModuleType
from typing import Any


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
            """Whatever else is asked of the compiler is answered by itself; who only looks through all modules, as
            `inspect` does for `__file__`, asks nothing of it, perhaps in the middle of an import that it needs."""
            if name.startswith("__") and name != "__path__":
                raise AttributeError(name)
            if sys.modules.get(self.__name__) is self:
                del sys.modules[self.__name__], torch._dynamo
            return getattr(importlib.import_module(self.__name__), name)

    absent: Any = Absent("torch._dynamo")
    absent.graph_break = bool
    absent.disable = lambda function, *_, **__: function
    if sys.modules.setdefault(absent.__name__, absent) is absent:
        torch._dynamo = absent
