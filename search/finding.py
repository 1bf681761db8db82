"""One line of `search.doctor`: what was looked at, what was found, and what to do about it."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line: what was looked at, what was found, and what to do when it is not as it should be."""

    what: str
    found: str
    do: str = ""
    fatal: bool = False

    def __str__(self) -> str:
        mark = "ok  " if not self.do else "FAIL" if self.fatal else "note"
        return f"{mark}  {self.what:<14} {self.found}" + (f"; {self.do}" if self.do else "")
