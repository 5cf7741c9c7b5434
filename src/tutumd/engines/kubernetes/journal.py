"""How far an operation came and how it ended, as it stands in the journal of its run."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, TypeVar

from tutumd.engines.journals import reading_back

T = TypeVar("T")

_RETIRED = frozenset({"registry_digest", "registry_note"})
"""Keys that earlier versions wrote and nothing reads any more."""


class Stage(StrEnum):
    """How far an operation came. Each is saved before its first change is sent."""

    ORDER = "order"
    UNDO = "undo"
    SETTLE = "settle"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How an operation ended. `log_tail` and `rolled_back` as in Outcome."""

    success: bool
    reason: str = ""
    log_tail: str = ""
    rolled_back: bool = False


def to_journal(plan: Any) -> dict[str, Any]:
    """Return a plan, a dataclass, as JSON values."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(plan).items()}


def from_journal(kind: type[T], journal: Mapping[str, Any]) -> T | None:
    """Read a plan back; None from an empty journal. Raises EngineRefusedError for one that is not understood."""
    if not journal:
        return None
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in journal.items()
        if name not in _RETIRED
    }
    with reading_back():
        result = values["result"]
        values["stage"] = Stage(values["stage"])
        values["result"] = None if result is None else Result(**result)
        return kind(**values)
