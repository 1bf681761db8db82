"""One line of the doctor: what was checked, what was found, and how to fix it."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The result of one check."""

    what: str
    found: str
    do: str = ""
    """How to fix it; empty if all is well."""
    fatal: bool = False
    """Whether no search can run until it is fixed."""

    def __str__(self) -> str:
        mark = "ok  " if not self.do else "FAIL" if self.fatal else "note"
        return f"{mark}  {self.what:<14} {self.found}" + (f"; {self.do}" if self.do else "")
