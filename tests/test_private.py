"""What belongs to a search alone: its environment, its temporary folders, its lock file of packages, its cluster."""

import fcntl
import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from search.process import scratch
from search.process.environment import allowed, check_names, hint, keys_for, named, only_allowed
from search.process.scratch import PREFIX, make_scratch, remove_scratch, sweep
from tests.searching import ROOT

SWEEP = "import sys; from pathlib import Path; from search.process.scratch import sweep; sweep(Path(sys.argv[1]))"
CLUSTERS = ("cluster.yaml", "docs/examples/on-premise.yaml")


@pytest.mark.parametrize(
    "name",
    "AWS_SECRET_ACCESS_KEY AWS_ACCESS_KEY_ID WANDB_API_KEY HF_TOKEN GITHUB_TOKEN PGPASSWORD DATABASE_URL KUBECONFIG"
    " SSH_AUTH_SOCK AZURE_CLIENT_SECRET GOOGLE_APPLICATION_CREDENTIALS RAY_AUTH_TOKEN SLURM_JWT_TOKEN"
    " MLFLOW_TRACKING_PASSWORD http_proxy HTTPS_PROXY MY_OWN PIP_INDEX_URL CONDA_TOKEN".split(),
)
def test_secrets_are_not_handed_on(name: str):
    assert allowed({name: "x"}) == {}


@pytest.mark.parametrize(
    "name",
    "PATH HOME LD_LIBRARY_PATH PYTHONPATH OMP_NUM_THREADS CUDA_VISIBLE_DEVICES NCCL_SOCKET_IFNAME RAY_AUTH_TOKEN_PATH"
    " RAY_AUTH_MODE TUNE_WARN_THRESHOLD_S TMPDIR LC_ALL LANG VIRTUAL_ENV SLURM_JOB_ID PYTORCH_CUDA_ALLOC_CONF".split(),
)
def test_what_training_needs_is_handed_on(name: str):
    assert allowed({name: "x"}) == {name: "x"}


def test_children_see_the_allowed_variables_and_this_process_has_all_back(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MY_SECRET", "canary")
    with only_allowed({"AWS_PROFILE": "mine"}):
        shown = subprocess.run(["env"], capture_output=True, text=True, check=True).stdout
        os.environ["RAY_SET_INSIDE"] = "1"
    assert "canary" not in shown
    assert "PATH=" in shown
    assert "AWS_PROFILE=mine" in shown
    assert os.environ["MY_SECRET"] == "canary"
    assert os.environ.pop("RAY_SET_INSIDE") == "1"


def test_the_keys_of_a_store_go_to_searches_that_keep_their_checkpoints_there_alone():
    environment = {"AWS_ACCESS_KEY_ID": "a", "AWS_ENDPOINT_URL": "http://127.0.0.1:9", "MY_SECRET": "b"}
    assert keys_for("s3://bucket/x", environment) == {k: v for k, v in environment.items() if k.startswith("AWS")}
    assert keys_for("file:///shared", environment) == keys_for(None, environment) == {}


def test_a_variable_is_handed_on_by_its_name_and_a_value_given_with_it_is_not_repeated():
    environment = {"DATA_ROOT": "/x", "MY_SECRET": "canary"}
    assert named(["MY_SECRET"], environment) == {"MY_SECRET": "canary"}
    with pytest.raises(ValueError, match=r"--env OTHER: this variable is not set; set it with: export OTHER=\.\.\."):
        named(["DATA_ROOT", "OTHER"], environment)
    with pytest.raises(ValueError, match="--env takes a name") as refused:
        check_names(["DATA_ROOT", "MY_SECRET=canary"])
    assert "canary" not in str(refused.value)
    with pytest.raises(ValueError, match=r"--env must be the name of an environment variable, got '1 x'"):
        check_names(["1 x"])


def test_the_failure_for_want_of_a_variable_names_the_option_and_no_other_failure_does(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.delenv("DATA_ROOT", raising=False)
    with pytest.raises(KeyError) as missing:
        os.environ["DATA_ROOT"]
    with pytest.raises(KeyError) as other:
        {}["DATA_ROOT"]
    assert "--env DATA_ROOT" in hint(missing.value)
    wrapped = ValueError("cannot be imported")
    wrapped.__cause__ = missing.value
    assert "--env DATA_ROOT" in hint(wrapped)
    assert hint(other.value) == ""
    own = ValueError("give a folder")
    own.__context__, own.__suppress_context__ = missing.value, True
    assert hint(own) == "", "the code has said it in its own words"


def test_a_temporary_folder_is_private_and_goes_with_its_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = make_scratch()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    sweep(tmp_path)
    assert folder.exists(), "its owner lives"
    remove_scratch(folder)
    assert list(tmp_path.iterdir()) == []
    program = "import os; from search.process.scratch import make_scratch; print(make_scratch()); os._exit(0)"
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert Path(done.stdout.strip()).exists(), "a killed process cannot clean up"
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_another_process_sweeps_before_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    swept: list[Path] = []

    def flock(lock: int, operation: int) -> None:
        if not swept:
            swept.extend(tmp_path.iterdir())
            subprocess.run([sys.executable, "-c", SWEEP, str(tmp_path)], cwd=ROOT, check=True)
        fcntl.flock(lock, operation)

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(scratch, "fcntl", SimpleNamespace(flock=flock, LOCK_EX=fcntl.LOCK_EX, LOCK_NB=fcntl.LOCK_NB))
    folder = make_scratch()
    assert len(swept) == 1
    assert not swept[0].exists()
    subprocess.run([sys.executable, "-c", SWEEP, str(tmp_path)], cwd=ROOT, check=True)
    assert list(tmp_path.iterdir()) == [folder]
    remove_scratch(folder)


def test_sweeping_never_follows_a_planted_link_or_removes_what_is_not_ours(tmp_path: Path):
    treasure = tmp_path / "treasure"
    treasure.mkdir()
    (treasure / ".owner").touch()
    (tmp_path / f"{PREFIX}link").symlink_to(treasure)
    (tmp_path / f"{PREFIX}theirs").mkdir()  # without the lock file of ours
    sweep(tmp_path)
    assert treasure.exists()
    assert (tmp_path / f"{PREFIX}theirs").exists()


def test_every_package_is_locked_by_hash_and_ray_is_not_one_with_known_holes():
    text = (ROOT / "requirements.lock").read_text().replace("\\\n", " ")
    packages = [line for line in text.splitlines() if re.match(r"[a-z0-9]", line, re.IGNORECASE)]
    assert len(packages) > 50
    assert [line for line in packages if "--hash=sha256:" not in line] == []
    assert "index-url" not in text
    (ray,) = (line for line in packages if line.startswith("ray"))
    assert tuple(int(part) for part in re.findall(r"==(\d+)\.(\d+)", ray)[0]) >= (2, 54)
    assert '"ray[tune]>=2.54,' in (ROOT / "pyproject.toml").read_text()


@pytest.mark.parametrize("part", ["head_start_ray_commands", "worker_start_ray_commands"])
@pytest.mark.parametrize("file", CLUSTERS)
def test_the_cluster_s_nodes_start_with_a_token_from_a_private_file(file: str, part: str):
    (start,) = (command for command in yaml.safe_load((ROOT / file).read_text())[part] if "ray start" in command)
    before = start[: start.index("ray start")]
    assert "export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=~/.rungwise-token" in before


@pytest.mark.parametrize("file", CLUSTERS)
def test_a_cluster_shows_its_dashboard_to_nobody_and_its_file_holds_no_secret(file: str):
    text = (ROOT / file).read_text()
    cluster = yaml.safe_load(text)
    assert cluster["file_mounts"]["~/.rungwise-token"] == "~/.rungwise-token"
    assert "(umask 077; openssl rand -hex 32 > ~/.rungwise-token)" in text
    assert re.findall(r"--dashboard-host=(\S+)", text) == ["127.0.0.1"]
    assert not re.search(r"AKIA|-----BEGIN|[0-9a-f]{32}", text)
    assert not re.search(r"(?i)(password|secret|api_?key)\s*:", json.dumps(cluster))
