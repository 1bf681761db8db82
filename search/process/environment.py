"""The environment variables that training processes get: a list of what they need, so that no secret is passed on."""

import os
import re
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

_ALLOWED = re.compile(
    r"PATH|HOME|USER|LOGNAME|SHELL|LANG|LC_\w+|TZ|TERM|TMPDIR|PWD|HOSTNAME|VIRTUAL_ENV|CONDA_\w+|XDG_\w+"
    r"|PYTHON\w*|LD_\w+|DYLD_\w+|MALLOC_\w+|GLIBC_TUNABLES"
    r"|RAY_\w+|TUNE_\w+|RUNGWISE_\w+"
    r"|OMP_\w+|MKL_\w+|KMP_\w+|GOMP_\w+|OPENBLAS_\w+|NUMEXPR_\w+|DNNL_\w+|ONEDNN_\w+|ATEN_\w+|GRPC_\w+"
    r"|CUDA\w*|CUDNN_\w+|CUBLAS_\w+|NCCL_\w+|NVIDIA_\w+|NV_\w+|HIP_\w+|ROCR_\w+|HSA_\w+|MIOPEN_\w+"
    r"|TORCH\w*|PYTORCH_\w+|TRITON_\w+|HF_\w+|TRANSFORMERS_\w+|SLURM_\w+"
)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET = re.compile(r"TOKEN(?!_PATH)|SECRET|PASSWORD|PASSWD|CREDENTIAL|API_?KEY|PRIVATE_KEY", re.IGNORECASE)
"""Names that are never passed on, even with an allowed prefix; a path to a token file is no token."""


def allowed(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that a process of Ray gets: paths, threads, devices, locale."""
    return {k: v for k, v in environment.items() if _ALLOWED.fullmatch(k) and not _SECRET.search(k)}


def keys_for(storage: str | None, environment: Mapping[str, str]) -> dict[str, str]:
    """The AWS variables that a search on this machine needs for its --storage; empty for other searches.

    They are never sent to the nodes of a cluster, which have their own credentials (a role, or ~/.aws).
    """
    if storage is None or not storage.startswith("s3:"):
        return {}
    return {name: value for name, value in environment.items() if name.startswith("AWS_")}


def check_names(names: Iterable[str]) -> None:
    """Raise ValueError unless each is the name of a variable; a value that was given with it is not repeated."""
    for name in names:
        before, equals, _ = name.partition("=")
        if equals:
            raise ValueError(f"--env takes a name, whose value comes from your environment: --env {before[:80]}")
        if not _NAME.fullmatch(name):
            raise ValueError(f"--env must be the name of an environment variable, got {name[:80]!r}")


def named(names: Iterable[str], environment: Mapping[str, str]) -> dict[str, str]:
    """The variables with these names, as the user's own code gets them. Only their names are stored.

    Raises:
        ValueError: one is not set.
    """
    for name in names:
        if name not in environment:
            raise ValueError(f"--env {name}: this variable is not set; set it with: export {name}=...")
    return {name: environment[name] for name in names}


def hint(error: BaseException) -> str:
    """How a training process gets the variable that `os.environ[...]` lacked; empty for every other error."""
    cause: BaseException | None = error
    while cause is not None:
        frames = [frame for frame, _ in traceback.walk_tb(cause.__traceback__)]
        if frames and frames[-1].f_code is type(os.environ).__getitem__.__code__:
            return f" (training code sees few environment variables; give it this one with --env {cause.args[0]})"
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return ""


@contextmanager
def only_allowed(also: Mapping[str, str]) -> Iterator[None]:
    """Reduce the environment to the allowed variables, so that processes that start inside inherit only these.

    Args:
        also: more variables that they get.
    """
    everything = dict(os.environ)
    os.environ.clear()
    os.environ.update({**allowed(everything), **also})
    try:
        yield
    finally:
        for name in also:
            os.environ.pop(name, None)
        os.environ.update({**everything, **os.environ})
