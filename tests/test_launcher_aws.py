"""cluster.yaml: valid for Ray, and bootstrapped by Ray against an EC2 that moto imitates; no AWS is asked anything.

What moto accepts AWS may still refuse.
"""

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from botocore.validate import ParamValidator
from moto import mock_aws
from ray.autoscaler._private.aws.config import bootstrap_aws
from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
from ray.autoscaler._private.aws.utils import client_cache, resource_cache
from ray.autoscaler._private.util import prepare_config, validate_config

from tests.searching import ROOT

CLUSTER = yaml.safe_load((ROOT / "cluster.yaml").read_text())
RESOLVED = ("SubnetIds",)
"""What Ray itself adds to a node's configuration, and takes out again before AWS sees it."""


def mistakes(cluster: dict[str, Any]) -> list[str]:
    """What Ray accepts without a word, and what then fails on AWS or starts a head that never has workers."""
    model = boto3.client("ec2", region_name="us-east-1").meta.service_model
    asked = model.operation_model("RunInstances").input_shape
    found = []
    for name, node_type in cluster["available_node_types"].items():
        request = {key: value for key, value in node_type["node_config"].items() if key not in RESOLVED}
        report = ParamValidator().validate({"MinCount": 1, "MaxCount": 1, **request}, asked)
        found += [f"{name}: {line}" for line in report.generate_report().splitlines()]
    if "ssh_user" not in cluster["auth"]:
        found.append("auth has no ssh_user")
    if not any("--autoscaling-config=" in command for command in cluster["head_start_ray_commands"]):
        found.append("the head starts without --autoscaling-config")
    return found


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def aws(home: Path) -> Iterator[Any]:
    """A new account that nothing outside this process knows of; gives its EC2."""
    with pytest.MonkeyPatch.context() as monkeypatch, mock_aws(config={"iam": {"load_aws_managed_policies": True}}):
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            monkeypatch.setenv(name, "testing")
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.delenv("AWS_PROFILE", raising=False)
        monkeypatch.setenv("HOME", str(home))
        monkeypatch.setattr(
            "ray.autoscaler._private.aws.config.time.sleep", lambda seconds: None
        )  # 15 s for IAM, twice
        yield boto3.client("ec2", region_name=CLUSTER["provider"]["region"])
    resource_cache.cache_clear()
    client_cache.cache_clear()


@pytest.fixture(scope="module")
def ready(aws: Any) -> dict[str, Any]:
    """The file as Ray has completed it, and the account with all that it needs."""
    return bootstrap_aws(filled_in(aws))


def filled_in(ec2: Any) -> dict[str, Any]:
    """The file with an image that exists in the account."""
    cluster = copy.deepcopy(CLUSTER)
    image = ec2.describe_images(Owners=["099720109477"])["Images"][0]["ImageId"]
    for node_type in cluster["available_node_types"].values():
        assert node_type["node_config"]["ImageId"] == "ami-CHANGEME"
        node_type["node_config"]["ImageId"] = image
    return prepare_config(cluster)


def test_ray_accepts_the_file_and_it_holds_none_of_the_mistakes_that_ray_accepts():
    prepared = prepare_config(copy.deepcopy(CLUSTER))
    validate_config(prepared)
    assert prepared["available_node_types"]["gpu_worker"]["min_workers"] == 0
    assert prepared["available_node_types"]["head"]["max_workers"] == 0
    assert mistakes(CLUSTER) == []


def _misspell_a_key(cluster: dict[str, Any]) -> None:
    cluster["available_node_types"]["gpu_worker"]["node_config"]["InstanceTyp"] = "g5.xlarge"


def _misspell_an_inner_key(cluster: dict[str, Any]) -> None:
    cluster["available_node_types"]["head"]["node_config"]["MetadataOptions"] = {"HttpToken": "required"}


def _forget_the_user(cluster: dict[str, Any]) -> None:
    del cluster["auth"]["ssh_user"]


def _forget_to_scale(cluster: dict[str, Any]) -> None:
    cluster["head_start_ray_commands"] = ["ray start --head"]


@pytest.mark.parametrize(
    ("break_it", "found"),
    [
        (_misspell_a_key, "InstanceTyp"),
        (_misspell_an_inner_key, "HttpToken"),
        (_forget_the_user, "ssh_user"),
        (_forget_to_scale, "--autoscaling-config"),
    ],
)
def test_a_mistake_that_ray_accepts_is_found(break_it: Callable[[dict[str, Any]], None], found: str):
    cluster = copy.deepcopy(CLUSTER)
    break_it(cluster)
    validate_config(prepare_config(copy.deepcopy(cluster)))
    (mistake,) = mistakes(cluster)
    assert found in mistake


def test_ray_makes_the_account_ready_and_opens_ssh_alone(aws: Any, ready: dict[str, Any], home: Path):
    groups = {tuple(t["node_config"]["SecurityGroupIds"]) for t in ready["available_node_types"].values()}
    ((group,),) = groups
    rules = aws.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["IpPermissions"]
    (outside,) = (rule for rule in rules if rule["IpRanges"] or rule.get("Ipv6Ranges") or rule.get("PrefixListIds"))
    assert (outside["IpProtocol"], outside["FromPort"], outside["ToPort"]) == ("tcp", 22, 22)
    (inside,) = (rule for rule in rules if rule is not outside)
    assert [pair["GroupId"] for pair in inside["UserIdGroupPairs"]] == [group]
    key = Path(ready["auth"]["ssh_private_key"])
    assert key.parent == home / ".ssh"
    assert key.stat().st_mode & 0o777 == 0o600
    assert "IamInstanceProfile" in ready["head_node"]


def test_resources_come_from_the_instance_types_and_the_head_trains_nothing(aws: Any):
    filled = AWSNodeProvider.fillout_available_node_types_resources(filled_in(aws))
    of = {name: node_type["resources"] for name, node_type in filled["available_node_types"].items()}
    assert of["head"]["CPU"] == 0
    assert (of["gpu_worker"]["CPU"], of["gpu_worker"]["GPU"]) == (4, 1)


@pytest.mark.parametrize("spot", [True, False], ids=["spot", "on demand"])
def test_nodes_are_made_as_the_file_says_and_all_are_terminated(aws: Any, ready: dict[str, Any], spot: bool):
    types = copy.deepcopy(ready["available_node_types"])
    head, worker = types["head"]["node_config"], types["gpu_worker"]["node_config"]
    assert worker["InstanceMarketOptions"] == {"MarketType": "spot"}
    if not spot:
        del worker["InstanceMarketOptions"]
    provider = AWSNodeProvider(ready["provider"], ready["cluster_name"])
    provider.create_node({**head, **ready["head_node"]}, {"ray-node-type": "head"}, 1)
    for _ in range(2):
        provider.create_node(worker, {"ray-node-type": "worker"}, 1)
    nodes = provider.non_terminated_nodes({})
    workers = provider.non_terminated_nodes({"ray-node-type": "worker"})
    assert (len(nodes), len(workers)) == (3, 2)
    made = [i for r in aws.describe_instances(InstanceIds=workers)["Reservations"] for i in r["Instances"]]
    wanted = ("g5.xlarge", "spot" if spot else None)
    assert [(i["InstanceType"], i.get("InstanceLifecycle")) for i in made] == [wanted, wanted]
    assert [i.get("IamInstanceProfile") for i in made] == [None, None], "the head alone may start machines"
    provider.terminate_nodes(nodes)
    assert provider.non_terminated_nodes({}) == []
    states = {i["State"]["Name"] for r in aws.describe_instances()["Reservations"] for i in r["Instances"]}
    assert states == {"terminated"}, "stopped machines would go on to cost their disks"
