"""Which planned trials are trained together: seeds of one configuration that share most of the work of an epoch."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from search.storage.ledger import Ledger
from search.storage.run import Planned


@dataclass(frozen=True, kw_only=True)
class Stacks:
    """The planned trials of each stack; the default stacks nothing.

    The leg of one trial also trains the others that are not finished, and saves a checkpoint of each after every epoch.
    Their own legs then find their epochs trained, and report them.
    """

    plan: Sequence[Planned] = ()
    of: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    """For the number of a trial all numbers of its stack, ascending."""

    def waits(self, number: int, live: Collection[int]) -> bool:
        """Whether the leg of another trial may be training this one now."""
        return any(other in live for other in self.of.get(number, ()) if other != number)

    def ready(self, numbers: Collection[int], live: Collection[int]) -> int | None:
        """The first of these trials that no other leg may be training."""
        return min((number for number in numbers if not self.waits(number, live)), default=None)

    def mates(self, number: int, ledger: Ledger) -> tuple[tuple[int, int], ...]:
        """Number and seed of the trials that are trained along with this one: those of its stack that go on."""
        others = [other for other in self.of.get(number, ()) if other != number]
        stored = [other for other in others if other < ledger.num_stored]
        ended = {other for other in stored if ledger.trial(other).state.is_finished()}
        return tuple((other, self.plan[other].seed or 0) for other in others if other not in ended)


def make_stacks(
    plan: Sequence[Planned], can_stack: Callable[[dict[str, Any]], bool], *, slots: int, ended: Collection[int]
) -> Stacks:
    """The stacks of the planned trials that have not ended.

    A configuration is one stack if there are enough of them to keep all slots busy. Of those that are left over for the
    last slots, each is divided.

    Args:
        can_stack: whether trials with these parameters can be trained together.
        slots: how many legs run at once.
        ended: numbers of the trials that have ended.
    """
    alike: dict[Any, list[int]] = {}
    for number, planned in enumerate(plan):
        if number not in ended and planned.seed is not None:
            alike.setdefault((repr(sorted(planned.params.items())), planned.stop_epoch), []).append(number)
    groups = [numbers for numbers in alike.values() if len(numbers) > 1 and can_stack(plan[numbers[0]].params)]
    rest = len(groups) % slots
    of: dict[int, tuple[int, ...]] = {}
    for place, numbers in enumerate(groups):
        parts = -(-slots // rest) if place >= len(groups) - rest else 1
        for part in range(parts):
            members = numbers[part::parts]
            of |= {number: tuple(members) for number in members}
    return Stacks(plan=plan, of=of)
