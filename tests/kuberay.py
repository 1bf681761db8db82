"""The part of KubeRay's schema that a manifest uses, small enough to be kept, and what a manifest has against it.

python -m tests.kuberay ray-operator/config/crd/bases/ray.io_rayclusters.yaml 1.7.0     # writes tests/fixtures/

The file is from https://github.com/ray-project/kuberay (Apache-2.0).
"""

import json
import sys
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

from tests.searching import ROOT

MANIFEST = ROOT / "docs" / "examples" / "kuberay.yaml"
SCHEMA = ROOT / "tests" / "fixtures" / "kuberay.json"


def part_of(schema: dict[str, Any], used: Any) -> dict[str, Any]:
    """The schema without descriptions; of fields that `used` has not, only the name is kept.

    Kubernetes ignores or refuses unknown fields, so they are made an error.
    """
    kept = {key: value for key, value in schema.items() if key in ("type", "required", "enum", "anyOf", "pattern")}
    if "x-kubernetes-int-or-string" in schema:
        kept = {"type": ["integer", "string"]}
    if "properties" in schema and isinstance(used, dict):
        kept["properties"] = {
            name: part_of(each, used[name]) if name in used else {} for name, each in schema["properties"].items()
        }
        kept["additionalProperties"] = False
    elif "additionalProperties" in schema and isinstance(used, dict):
        kept["additionalProperties"] = part_of(schema["additionalProperties"], None)
    elif "items" in schema and isinstance(used, list):
        merged = {key: value for item in used for key, value in item.items()} if isinstance(used[0], dict) else used[0]
        kept["items"] = part_of(schema["items"], merged)
    return kept


def mistakes(manifest: dict[str, Any]) -> list[str]:
    """What KubeRay's schema does not allow, as `path: message`."""
    validator = Draft202012Validator(json.loads(SCHEMA.read_text())["schema"])
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(manifest)]


def main(file: Path, release: str) -> None:
    versions = yaml.safe_load(file.read_text())["spec"]["versions"]
    (schema,) = [version["schema"]["openAPIV3Schema"] for version in versions if version["name"] == "v1"]
    manifest = yaml.safe_load(MANIFEST.read_text())
    schema["properties"]["metadata"] = {}
    kept = {"source": f"ray-project/kuberay {release}, {file.name}, Apache-2.0, abridged"}
    SCHEMA.write_text(json.dumps({**kept, "schema": part_of(schema, manifest)}, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
