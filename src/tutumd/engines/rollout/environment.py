"""Environment variables of a service definition: what a redeploy changes of them, stored and restored.

Only the variables that a redeploy sets or removes are stored whole: the values of the others may be secrets.
"""

from collections.abc import Callable, Collection, Iterable
from typing import Any, TypeVar

# One variable in the engine's own form: `NAME=value`, or an object with a name.
Entry = TypeVar("Entry")


def store_entries(entries: Iterable[Entry], names: Collection[str], name_of: Callable[[Entry], str]) -> list[list[Any]]:
    """Return the name of each variable in its order, with the whole entry for those in `names`, else None."""
    return [[name_of(entry), entry if name_of(entry) in names else None] for entry in entries]


def restore_entries(
    entries: Iterable[Entry], stored: Iterable[Any], names: Collection[str], name_of: Callable[[Entry], str]
) -> list[Entry]:
    """Return the entries with the variables in `names` as they were stored, each in its place.

    What others changed or added in the meantime stays.
    """
    others = [entry for entry in entries if name_of(entry) not in names]
    restored: list[Entry] = []
    for name, entry in stored:
        if entry is not None:
            restored.append(entry)
        elif (at := next((n for n, other in enumerate(others) if name_of(other) == name), None)) is not None:
            restored.append(others.pop(at))
    return restored + others
