"""How many trials a cluster has room for: on nodes that are only described, on a clock of the test's own."""

import pytest

from search.execution.slots import Slots, as_begun, differences
from search.runtime.resources import Resources, capacity, share_nodes
from search.session.options import Options
from search.session.planning import plan
from tests.ledgers import make_run

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
    assert capacity([{"CPU": 2.0}, {"CPU": 2.0}], resources) == 0


SINGLE = make_run(slots=1, cpus_per_trial=2, gpus_per_trial=0.0)
SEVERAL = make_run(slots=4, cpus_per_trial=2, gpus_per_trial=0.0)


@pytest.mark.parametrize(
    ("run", "stated", "wishes"),
    [
        (SINGLE, {}, (1, 2, 0.0)),  # one slot: the order of the trials is part of the study
        (SEVERAL, {}, (None, 2, 0.0)),  # as many as fit
        (SINGLE, {"concurrent": 3}, (3, 2, 0.0)),
        (SINGLE, {"cpus_per_trial": 1}, (1, 1, 0.0)),
        (SINGLE, {"gpus_per_trial": 0.5}, (1, 2, 0.5)),
        (SEVERAL, {"concurrent": 1, "cpus_per_trial": 1, "gpus_per_trial": 1.0}, (1, 1, 1.0)),
    ],
)
def test_a_resume_gives_each_trial_what_the_run_gave_it_unless_told_otherwise(run, stated, wishes):
    found = as_begun(run, {**NO_WISH, **stated})
    assert tuple(found[name] for name in NO_WISH) == wishes


def test_on_a_cluster_the_slots_of_a_resumed_run_follow_the_nodes():
    assert as_begun(SINGLE, NO_WISH, on_cluster=True)["concurrent"] is None


def test_a_resume_on_this_machine_repeats_one_slot_and_its_threads():
    run = make_run(slots=1, cpus_per_trial=1, gpus_per_trial=0.0)
    planned = plan(Options(resume=True, name="x"), run)
    assert (planned.slots, planned.cpus_per_trial) == (1, 1)
    assert differences(run, planned) is None


def test_what_the_user_states_is_done_though_the_run_had_something_else_that_no_longer_fits():
    wide = make_run(slots=1, cpus_per_trial=1000, gpus_per_trial=0.0)
    planned = plan(Options(resume=True, name="x", cpus_per_trial=1), wide)
    assert planned.cpus_per_trial == 1
    assert plan(Options(resume=True, name="x"), wide).cpus_per_trial < 1000


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (Resources(slots=1, cpus_per_trial=2, gpus_per_trial=0.0), None),
        (
            Resources(slots=1, cpus_per_trial=1, gpus_per_trial=0.0),
            "1 thread per trial, this run used 2; values will differ in the last digits",
        ),
        (
            Resources(slots=1, cpus_per_trial=2, gpus_per_trial=0.5),
            "trials train on a GPU, this run used the CPU; values will differ",
        ),
        (
            Resources(slots=2, cpus_per_trial=2, gpus_per_trial=0.0),
            "2 trials at once, this run trained one; the order of the trials, and therefore the study, is not "
            "reproducible",
        ),
    ],
)
def test_one_line_says_what_makes_the_values_of_a_resume_differ(now: Resources, said: str | None):
    assert differences(SINGLE, now) == said


def test_more_or_fewer_slots_than_several_are_no_difference():
    assert differences(SEVERAL, Resources(slots=2, cpus_per_trial=2, gpus_per_trial=0.0)) is None
