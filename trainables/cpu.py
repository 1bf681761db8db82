"""What Linux says of the processor."""

from functools import cache
from pathlib import Path


@cache
def cpu_fields(path: Path = Path("/proc/cpuinfo")) -> dict[str, str]:
    """The fields of the first processor, such as "model name" and "flags"; none on other systems."""
    try:
        first = path.read_text().split("\n\n")[0]
    except OSError:
        return {}
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in first.splitlines())}
