"""What ``maskline doctor`` finds: one line a check."""

from dataclasses import asdict, dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The outcome of one check.

    Args:
        check: What was looked at.
        state: ok; warning: the main job runs, but not as well as it could; fault: it cannot run.
        found: What was seen.
        remedy: What to do about it; empty where all is well.
    """

    check: str
    state: Literal["ok", "warning", "fault"]
    found: str
    remedy: str = ""

    def __post_init__(self) -> None:
        assert (self.state == "ok") == (not self.remedy), f"{self.check}: a remedy for each fault, and for nothing else"

    def to_dict(self) -> dict[str, str]:
        """Return plain JSON types."""
        return asdict(self)


def ok(check: str, found: str) -> Finding:
    """Return a finding that asks for nothing."""
    return Finding(check=check, state="ok", found=found)


def warning(check: str, found: str, remedy: str) -> Finding:
    """Return a finding beside which the main job runs."""
    return Finding(check=check, state="warning", found=found, remedy=remedy)


def fault(check: str, found: str, remedy: str) -> Finding:
    """Return a finding that keeps the main job from running."""
    return Finding(check=check, state="fault", found=found, remedy=remedy)
