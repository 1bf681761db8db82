"""Prepares the workers of a private Ray before their first trial is known: their imports take longest."""

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
    """Put a stand-in in the place of torch's compiler until something is compiled.

    At its first step an optimizer imports the compiler, which takes more than a second, only to mark where its graphs
    end.
    """
    import torch

    class Absent(ModuleType):
        def __getattr__(self, name: str) -> Any:
            """Any other attribute imports the compiler and is taken from it.

            Names such as `__file__` do not: `inspect` asks all modules for them, perhaps during an import that the
            compiler itself needs.
            """
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
