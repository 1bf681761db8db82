"""CPUs and memory as they are allotted: by affinity, by a container, by a batch system; and the limits of a shell."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from search.diagnosis.limits import check_limits, check_priority, check_start
from search.process.allotted import allotted_cpus, available_memory
from search.runtime.private_ray import is_uncompiled
from tests.searching import ROOT

V2, V1 = "0::/job/step\n", "4:cpu,cpuacct:/job\n3:memory:/job\n1:name=systemd:/\n0::/\n"


def groups(root: Path, files: dict[str, str]) -> Path:
    """A tree of control groups with these files."""
    for name, text in files.items():
        path = root / "groups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root / "groups"


def member(root: Path, text: str) -> Path:
    path = root / "cgroup"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("membership", "files", "count"),
    [
        (V2, {"cpu.max": "max 100000"}, 128),
        (V2, {"cpu.max": "400000 100000"}, 4),  # a container sees its group at the top
        (V2, {"job/step/cpu.max": "max 100000", "job/cpu.max": "200000 100000"}, 2),  # the group around it limits it
        (V2, {"job/step/cpu.max": "150000 100000"}, 1),
        (V2, {"job/step/cpu.max": "50000 100000"}, 1),
        (V2, {"job/step/cpu.max": "nonsense"}, 128),
        (V1, {"cpu,cpuacct/job/cpu.cfs_quota_us": "300000", "cpu,cpuacct/job/cpu.cfs_period_us": "100000"}, 3),
        (V1, {"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"}, 2),
        (V1, {"cpu,cpuacct/job/cpu.cfs_quota_us": "-1", "cpu,cpuacct/job/cpu.cfs_period_us": "100000"}, 128),
        ("0::/../../other\n", {"cpu.max": "800000 100000"}, 8),
        ("", {}, 128),
    ],
)
def test_a_container_s_quota_limits_the_cpus(membership: str, files: dict[str, str], count: int, tmp_path: Path):
    found = allotted_cpus(
        built_in=128, affinity=128, environment={}, membership=member(tmp_path, membership),
        groups=groups(tmp_path, files),
    )  # fmt: skip
    assert found.count == count
    assert str(found) == ("128 CPUs" if count == 128 else f"{count} of 128 CPUs (CPU quota of the container)")


@pytest.mark.parametrize(
    ("affinity", "environment", "said"),
    [
        (128, {}, "128 CPUs"),
        (1, {}, "1 of 128 CPUs (CPU affinity)"),
        (128, {"SLURM_CPUS_PER_TASK": "4", "SLURM_CPUS_ON_NODE": "16"}, "4 of 128 CPUs (SLURM_CPUS_PER_TASK)"),
        (128, {"SLURM_CPUS_ON_NODE": "16"}, "16 of 128 CPUs (SLURM_CPUS_ON_NODE)"),
        (8, {"SLURM_CPUS_ON_NODE": "16"}, "8 of 128 CPUs (CPU affinity)"),
        (128, {"NSLOTS": "6"}, "6 of 128 CPUs (NSLOTS)"),
        (128, {"SLURM_CPUS_PER_TASK": ""}, "128 CPUs"),
        (128, {"SLURM_CPUS_PER_TASK": "many"}, "128 CPUs"),
        (128, {"SLURM_CPUS_PER_TASK": "0"}, "128 CPUs"),
        (128, {"SLURM_CPUS_PER_TASK": "500"}, "128 CPUs"),
    ],
)
def test_affinity_and_batch_systems_limit_the_cpus(
    affinity: int, environment: dict[str, str], said: str, tmp_path: Path
):
    found = allotted_cpus(
        built_in=128, affinity=affinity, environment=environment, membership=tmp_path / "none", groups=tmp_path
    )
    assert str(found) == said


PLANNED = """
import os, sys
from search.runtime.resources import plan_resources
from search.process.allotted import allotted_cpus
one = plan_resources(concurrent=None, cpus_per_trial=None, gpus_per_trial=0)
print(one.slots, one.cpus_per_trial, allotted_cpus())
try:
    plan_resources(concurrent=2, cpus_per_trial=1, gpus_per_trial=0)
except ValueError as error:
    print(error)
"""


@pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity") or os.cpu_count() == 1, reason="needs two CPUs to take one away"
)
def test_a_search_plans_with_the_cpus_it_may_use():
    first = min(os.sched_getaffinity(0))
    done = subprocess.run(
        [sys.executable, "-c", f"import os; os.sched_setaffinity(0, {{{first}}})\n{PLANNED}"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    planned, refused = done.stdout.splitlines()
    assert planned == f"1 1 1 of {os.cpu_count()} CPUs (CPU affinity)"
    assert refused.endswith("on the 1 CPU that this process may use (CPU affinity), got 2")


@pytest.mark.parametrize(
    ("membership", "files", "room"),
    [
        (V2, {}, 64e9),
        (V2, {"memory.max": "max", "memory.current": "5"}, 64e9),
        (V2, {"job/memory.max": "8000000000", "job/memory.current": "3000000000"}, 5e9),
        (V2, {"memory.max": "8000000000", "memory.current": "9000000000"}, 0),
        (
            V2,
            {
                "memory.max": "8000000000",
                "memory.current": "7000000000",
                "memory.stat": "anon 1\ninactive_file 2000000000",  # a cache, which gives way
            },
            3e9,
        ),
        (
            V1,
            {"memory/job/memory.limit_in_bytes": "2000000000", "memory/job/memory.usage_in_bytes": "500000000"},
            1.5e9,
        ),
        (V1, {"memory/memory.limit_in_bytes": str(2**63 - 4096), "memory/memory.usage_in_bytes": "5"}, 64e9),
    ],
)
def test_a_container_s_limit_counts_as_memory_that_is_not_there(
    membership: str, files: dict[str, str], room: float, tmp_path: Path
):
    found = available_memory(membership=member(tmp_path, membership), groups=groups(tmp_path, files), free=int(64e9))
    assert found == room


@pytest.mark.parametrize(
    ("limits", "fatal", "said"),
    [
        ({}, False, "ulimit -v, -u and -n are high enough"),
        ({"-v": 4_096_000_000}, True, "ulimit -v allows 4.1 GB of address space"),
        ({"-u": 60}, True, "ulimit -u allows 20 more processes and threads, but a search needs about"),
        ({"-u": 10}, True, "ulimit -u allows 0 more"),
        ({"-u": 100_000}, False, "high enough"),
        ({"-n": 256}, False, "ulimit -n allows 256 open files, but Ray needs 1024"),
        ({"-n": 64}, True, "ulimit -n allows 64 open files"),
        ({"-v": 0}, True, "ulimit -v allows"),
    ],
)
def test_the_limits_of_a_shell_are_named_with_the_way_out(limits: dict[str, int], fatal: bool, said: str):
    finding = check_limits(limits, threads=40, root=False)
    assert finding.fatal == fatal
    assert said in finding.found
    assert bool(finding.do) == ("high enough" not in said)


def test_root_s_processes_are_not_counted():
    finding = check_limits({"-u": 60}, threads=40, root=True)
    assert not finding.do
    assert finding.found.endswith("; -u 60 does not apply to root")


def test_a_search_at_a_low_priority_or_on_a_busy_machine_is_noted():
    assert not check_priority({"RAY_worker_niceness": str(-os.nice(0))}, busy="").do  # the tests themselves may be nice
    assert "hardly advances" in check_priority({"RAY_worker_niceness": "15"}, busy="load 9 on 2 CPUs").do
    assert check_priority({"RAY_worker_niceness": str(-os.nice(0))}, busy="load 9 on 2 CPUs").do == (
        "other programs are using this machine, so a search takes longer"
    )


def test_modules_that_are_compiled_in_every_process_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    package = tmp_path / "slowly"
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert is_uncompiled("slowly")
    subprocess.run([sys.executable, "-m", "compileall", "-q", str(package)], check=True)
    assert not is_uncompiled("slowly")
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    assert not check_start().do
