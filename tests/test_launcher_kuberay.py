"""docs/examples/kuberay.yaml: held against the schema of KubeRay; no Kubernetes is asked anything."""

import copy
import re
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import pytest
import yaml

from tests.kuberay import MANIFEST, mistakes
from tests.searching import ROOT

CLUSTER = yaml.safe_load(MANIFEST.read_text())
PAGE = (ROOT / "docs" / "how-to" / "kubernetes.md").read_text()
HEAD = CLUSTER["spec"]["headGroupSpec"]
(WORKERS,) = CLUSTER["spec"]["workerGroupSpecs"]


def test_kuberay_accepts_the_manifest():
    assert mistakes(CLUSTER) == []


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda pod, group: pod.update(terminationGracePeriod=120), "'terminationGracePeriod' was unexpected"),
        (lambda pod, group: pod["containers"][0].update(arg=[]), "'arg' was unexpected"),
        (lambda pod, group: pod["tolerations"][0].update(value=True), "True is not of type 'string'"),
        (lambda pod, group: group.update(maxReplicas="8"), "'8' is not of type 'integer'"),
        (lambda pod, group: group.pop("template"), "'template' is a required property"),
        (lambda pod, group: group["rayStartParams"].update({"num-cpus": 8}), "8 is not of type 'string'"),
    ],
)
def test_a_mistake_in_the_manifest_is_found(spoil: Callable[..., object], message: str):
    spoilt = copy.deepcopy(CLUSTER)
    group = spoilt["spec"]["workerGroupSpecs"][0]
    spoil(group["template"]["spec"], group)
    (found,) = mistakes(spoilt)
    assert message in found


def container(group: dict[str, Any]) -> dict[str, Any]:
    (only,) = group["template"]["spec"]["containers"]
    return only


def test_workers_have_time_to_leave_and_the_head_trains_nothing():
    env = {one["name"]: one["value"] for one in container(WORKERS)["env"]}
    grace = WORKERS["template"]["spec"]["terminationGracePeriodSeconds"]
    assert 10 <= grace - int(env["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"]) <= 30
    assert HEAD["rayStartParams"] == {"num-cpus": "0", "num-gpus": "0"}
    assert "terminationGracePeriodSeconds" not in HEAD["template"]["spec"]


def test_every_volume_that_is_mounted_exists():
    for group in (HEAD, WORKERS):
        volumes = [volume["name"] for volume in group["template"]["spec"]["volumes"]]
        assert [mount["name"] for mount in container(group)["volumeMounts"]] == volumes


def test_manifest_image_and_lock_have_the_same_ray():
    assert CLUSTER["spec"]["rayVersion"] == version("ray")
    assert re.findall(r"rayproject/ray:([\d.]+)-", PAGE) == [version("ray")]
