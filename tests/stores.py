"""A real S3-compatible server for tests: moto's, on a port of this machine."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote

import pytest

SECRET = "canary-7c2e"
KEYS = {"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_EC2_METADATA_DISABLED": "true"}


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """An empty bucket, and how to speak of it."""

    endpoint: str

    def uri(self, path: str) -> str:
        return f"s3://bucket/{path}?scheme=http&region=us-east-1&endpoint_override={quote(self.endpoint)}"

    def missing(self) -> str:
        return self.uri("x").replace("//bucket", "//nobody-made-it")


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    """A server of this module's own; its keys are in the environment."""
    server_of = pytest.importorskip("moto.server", reason="moto is not installed: pip install 'moto[s3]' flask")
    boto3 = pytest.importorskip("boto3")
    server = server_of.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in KEYS.items():
            patch.setenv(name, value)
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        server.start()
        endpoint = "{}:{}".format(*server.get_host_and_port())
        client = boto3.client("s3", region_name="us-east-1", endpoint_url=f"http://{endpoint}")
        client.create_bucket(Bucket="bucket")
        client.close()
        yield Bucket(endpoint=endpoint)
        server.stop()
