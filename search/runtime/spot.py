"""Starts Ray on a spot machine of AWS, and warns it when AWS takes the machine back.

    python -m search.runtime.spot ray start --address=HOST:6379 --block

AWS announces this two minutes before, at an address that only the machine itself can ask. Ray then gets SIGTERM: it
places nothing new on the node, and trials save their running epoch and continue elsewhere.
"""

import json
import os
import signal
import subprocess
import sys
from functools import cache
from http.client import HTTPException
from types import FrameType
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

_PAUSE_SECONDS = 5
"""Between two looks, as AWS recommends."""
_ANSWER_SECONDS = 2
ADDRESS = "AWS_EC2_METADATA_SERVICE_ENDPOINT"
"""The variable of AWS's own programs for another address of the metadata."""


def main(words: list[str]) -> int:
    """Run the command until it ends or the machine is taken back; returns its exit code.

    A machine that has its notice already does not start the command, since Ray's launcher would start it again.
    """
    if noticed := notice():
        print(f"not started: {noticed}", flush=True)
        return 0
    child = subprocess.Popen(words)

    def pass_on(number: int, frame: FrameType | None) -> None:
        child.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, pass_on)
    while not noticed:
        try:
            return child.wait(_PAUSE_SECONDS)
        except subprocess.TimeoutExpired:
            noticed = notice()
    print(f"warning Ray: {noticed}", flush=True)
    child.terminate()
    return child.wait()


def notice() -> str:
    """What AWS has announced for this machine, `AWS will terminate it at 2026-01-31T12:00:00Z`; empty if nothing.

    A machine that cannot be asked has no notice: it is not one of AWS, or its metadata are off.
    """
    try:
        token = _ask("api/token", method="PUT", headers={"X-aws-ec2-metadata-token-ttl-seconds": "60"})
        said = _ask("meta-data/spot/instance-action", headers={"X-aws-ec2-metadata-token": token})
    except HTTPError as error:
        return "" if error.code == 404 else _unasked(error)  # 404 until there is a notice
    except (OSError, HTTPException) as error:
        return _unasked(error)
    try:
        found = json.loads(said)
        return f"AWS will {found['action']} this machine at {found['time']}"
    except (ValueError, KeyError, TypeError):
        return f"AWS will take this machine back ({said[:80]!r})"


def _ask(path: str, *, method: str = "GET", headers: dict[str, str]) -> str:
    address = os.environ.get(ADDRESS, "http://169.254.169.254").rstrip("/")
    request = Request(f"{address}/latest/{path}", method=method, headers=headers)
    with build_opener(ProxyHandler({})).open(request, timeout=_ANSWER_SECONDS) as answer:
        return answer.read(1000).decode(errors="replace")


def _unasked(error: Exception) -> str:
    _say_once(f"the notices of AWS cannot be read ({error}); Ray is warned only when they can")
    return ""


@cache
def _say_once(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
