"""A model that is divided over the workers of a trial by FSDP, and states that are the same with any number of them.

Each worker holds a part of every parameter, gradient and state of the optimizer. A state is stored as one worker would
store it: with whole tensors under the plain names, in worker 0. It is divided again when it is loaded.
"""

import weakref
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer

from trainables.own.stored import mapped
from trainables.own.tracked import load_state, state_of
from trainables.trainable import Diverged, MisuseError

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


class Shards:
    """The models of a training that are divided over all workers; every worker calls each method at the same place."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._is_first = device, dist.get_rank() == 0
        self._mesh = init_device_mesh(device.type, (dist.get_world_size(),))
        self._models: list[nn.Module] = []
        self._replaced: list[weakref.ref[Tensor]] = []

    def add(self, model: nn.Module, options: dict[str, Any]) -> nn.Module:
        """Divide a model, with the weights that it has in worker 0.

        The members of its `nn.Sequential`, `nn.ModuleList` and `nn.ModuleDict` are gathered one at a time when they
        compute, the rest of the model together.

        Args:
            options: of `torch.distributed.fsdp.fully_shard`.
        """
        self._take_from_first([*model.parameters(), *model.buffers()])
        self._replaced += map(weakref.ref, model.parameters())
        uses = Counter(_uses(model))
        for block in list(dict.fromkeys(_blocks(model))):
            inside = Counter(_uses(block))
            if inside and all(uses[key] == count for key, count in inside.items()):  # else something in it is shared
                fully_shard(block, mesh=self._mesh, **options)
        fully_shard(model, mesh=self._mesh, **options)
        self._models.append(model)
        return model

    def agree(self, error: Exception | None) -> None:
        """Raise an error of worker 0 in all workers, so that none waits for it."""
        has_failed = torch.tensor(int(error is not None), device=self._device)
        dist.broadcast(has_failed, src=0)
        if has_failed:
            raise error or Diverged("worker 0 has reported a metric that is not finite")

    def gather(self, objects: Mapping[str, Any]) -> dict[str, Any]:
        """The states of tracked objects with whole tensors in the memory of the CPU in worker 0, otherwise nothing.

        All workers have the buffers of worker 0 afterwards.

        Raises:
            MisuseError: a state could not be restored.
        """
        self._take_from_first([buffer for model in self._models for buffer in model.buffers()])
        states = {}
        for name, thing in objects.items():
            _check_shapes(thing, name)
            states[name] = state_of(thing, name, change=self._whole)
        return states if self._is_first else {}

    def check(self, thing: Any, name: str) -> None:
        """Raise MisuseError or StateError if the state of an object cannot be stored and restored."""
        if isinstance(thing, Optimizer):
            replaced = {id(found) for reference in self._replaced if (found := reference()) is not None}
            if any(id(parameter) in replaced for group in thing.param_groups for parameter in group["params"]):
                raise MisuseError(
                    f"{name!r} was made before run.prepare(model, sharded=True), which replaces the parameters; make it"
                    " from the parameters of the model that run.prepare returns"
                )
        elif not isinstance(thing, nn.Module) and _has_parts(thing):
            raise MisuseError(
                f"run.track({name}=...) got a {type(thing).__name__} with sharded tensors in its state; only models and"
                " optimizers of torch can have them: leave it out, or call run.prepare without sharded=True"
            )
        state_of(thing, name, change=lambda state: mapped(state, _own_part))

    def load(self, thing: Any, name: str, stored: Any) -> None:
        """Restore the state of an object from whole tensors.

        Raises:
            StateError: the state is of another object.
        """
        load_state(thing, name, stored, change=lambda state: _divided(state, thing))

    def _whole(self, state: Any) -> Any:
        """The state with whole tensors, gathered one after another; those of other workers are empty."""

        def whole(tensor: Tensor) -> Tensor:
            full = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
            return full.detach().to("cpu", copy=True) if self._is_first else torch.empty(0)

        return mapped(state, whole)

    def _take_from_first(self, tensors: Iterable[Tensor]) -> None:
        """Give the tensors of all workers the values that they have in worker 0."""
        for tensor in tensors:
            if tensor.numel():
                sent = tensor.detach().to(self._device).contiguous()
                dist.broadcast(sent.view(-1).view(torch.uint8), src=0)  # bytes, because gloo does not know every type
                tensor.detach().copy_(sent)


def _uses(model: nn.Module) -> Iterator[int]:
    """The identity of each parameter, as often as a module has it."""
    for module in model.modules():
        yield from (id(parameter) for parameter in module._parameters.values() if parameter is not None)


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    """The outermost members of containers of modules that are not containers themselves."""
    for child in module.children():
        if isinstance(module, _CONTAINERS) and not isinstance(child, _CONTAINERS):
            yield child
        else:
            yield from _blocks(child)


def _check_shapes(thing: Any, name: str) -> None:
    """Raise MisuseError if an optimizer has a state that is not divided as its parameter."""
    for parameter, state in thing.state.items() if isinstance(thing, Optimizer) else ():
        for key, value in state.items():
            if isinstance(value, DTensor) and value.shape != parameter.shape:
                raise MisuseError(
                    f"the state {key!r} of {name!r} has the shape {tuple(value.shape)} for a sharded parameter of shape"
                    f" {tuple(parameter.shape)}, and only states of the same shape can be restored; use an optimizer"
                    " such as AdamW or SGD, or call run.prepare without sharded=True"
                )


def _has_parts(thing: Any) -> bool:
    found = []
    if hasattr(thing, "state_dict"):
        mapped(thing.state_dict(), found.append)
    return any(isinstance(tensor, DTensor) for tensor in found)


def _own_part(tensor: Tensor) -> Tensor:
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def _divided(state: Any, thing: Any) -> Any:
    """The state, in which whole tensors are replaced by the parts that this worker has in the object that loads it."""
    if isinstance(thing, nn.Module):
        _divide(state, thing.state_dict())
    elif isinstance(thing, Optimizer):
        numbers = [number for group in state["param_groups"] for number in group["params"]]
        parameters = [parameter for group in thing.param_groups for parameter in group["params"]]
        parts = dict(zip(numbers, parameters, strict=True))
        for number, slots in state["state"].items():
            _divide(slots, dict.fromkeys(slots, parts[number]))
    return state


def _divide(state: dict[str, Any], like: Mapping[str, Any]) -> None:
    """Divide the tensors of a state as those of the same names and shapes in another one."""
    for name, value in state.items():
        target = like.get(name)
        if isinstance(target, DTensor) and isinstance(value, Tensor) and value.shape == target.shape:
            part = distribute_tensor(value, target.device_mesh, target.placements, src_data_rank=None)
            state[name] = part.clone()  # which keeps no whole tensor in memory
