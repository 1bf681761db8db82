"""How many trials a cluster has room for: on nodes that are only described, on a clock of the test's own."""

import pytest

from search.cluster import Resources
from search.slots import Slots, count_places, share_nodes

GPU_NODE = {"CPU": 16.0, "GPU": 4.0, "memory": 1e9}
CPU_NODE = {"CPU": 4.0}
NO_WISH = {"concurrent": None, "cpus_per_trial": None, "gpus_per_trial": None}


@pytest.mark.parametrize(
    ("nodes", "wishes", "slots", "cpus", "gpus"),
    [
        ([CPU_NODE, CPU_NODE], {}, 8, 1, 0.0),
        ([CPU_NODE, {"CPU": 1.0}], {"cpus_per_trial": 2}, 2, 2, 0.0),
        ([CPU_NODE, GPU_NODE], {}, 4, 4, 1.0),  # the node without a GPU serves nobody
        ([GPU_NODE, {"CPU": 4.0, "GPU": 4.0}], {}, 8, 1, 1.0),  # the share of the node that has least
        ([GPU_NODE], {"gpus_per_trial": 0.25}, 16, 1, 0.25),
        ([GPU_NODE], {"gpus_per_trial": 0.4}, 8, 2, 0.4),  # two on a GPU: a part lies on one GPU
        ([GPU_NODE], {"gpus_per_trial": 0.0}, 16, 1, 0.0),
        ([CPU_NODE], {"cpus_per_trial": 64}, 1, 64, 0.0),  # waits: a larger node may join
        ([CPU_NODE], {"gpus_per_trial": 1.0}, 1, 1, 1.0),
        ([], {}, 1, 1, 0.0),
        ([CPU_NODE], {"concurrent": 3}, 3, 1, 0.0),
        ([CPU_NODE], {"concurrent": 30}, 30, 1, 0.0),  # to grow to
    ],
)
def test_a_trial_gets_its_share_of_the_nodes(nodes, wishes, slots: int, cpus: int, gpus: float):
    planned = share_nodes(nodes, **{**NO_WISH, **wishes})
    assert (planned.slots, planned.cpus_per_trial, planned.gpus_per_trial) == (slots, cpus, gpus)
    assert planned.elastic == ("concurrent" not in wishes)


def test_slots_follow_the_nodes_with_one_leg_that_waits():
    nodes, now = [CPU_NODE], [0.0]
    resources = Resources(slots=4, cpus_per_trial=1, gpus_per_trial=0.0, elastic=True)
    slots = Slots(resources, nodes=lambda: nodes, clock=lambda: now[0])
    assert slots() == 5
    nodes.append(CPU_NODE)
    assert slots() == 5, "the nodes are looked at once a second"
    now[0] += 1
    assert slots() == 9
    nodes.clear()
    now[0] += 1
    assert slots() == 1, "which waits for a place"


def test_slots_that_were_asked_for_stay():
    resources = Resources(slots=2, cpus_per_trial=1, gpus_per_trial=0.0)
    assert Slots(resources, nodes=lambda: [CPU_NODE])() == 2


def test_places_of_different_nodes_do_not_add_up_to_one():
    resources = Resources(slots=1, cpus_per_trial=3, gpus_per_trial=0.0)
    assert count_places([{"CPU": 2.0}, {"CPU": 2.0}], resources) == 0
