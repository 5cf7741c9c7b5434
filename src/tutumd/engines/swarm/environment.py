"""The environment in a specification: variables set and taken away, and put back as they were."""

from collections.abc import Collection, Mapping, Sequence

Kept = Sequence[tuple[str, str | None]]
"""The names in their order, with the whole entry only where a redeploy changes it: the others may hold secrets."""


def changed(env: Sequence[str], variables: Mapping[str, str | None]) -> list[str]:
    """Set variables where they stand, those that are new at the end; None takes one away."""
    left = dict(variables)
    made: list[str] = []
    for entry in env:
        name = _name(entry)
        if name not in variables:
            made.append(entry)
        elif (value := left.pop(name, None)) is not None:
            made.append(f"{name}={value}")
    return made + [f"{name}={value}" for name, value in left.items() if value is not None]


def kept(env: Sequence[str], names: Collection[str]) -> list[tuple[str, str | None]]:
    """Pick what `restored` needs after variables of these names were changed."""
    return [(_name(entry), entry if _name(entry) in names else None) for entry in env]


def restored(env: Sequence[str], before: Kept, names: Collection[str]) -> list[str]:
    """Put the variables of these names back, each in its place; what others changed or added meanwhile stays."""
    others = [entry for entry in env if _name(entry) not in names]
    made: list[str] = []
    for name, entry in before:
        if entry is not None:
            made.append(entry)
        elif (at := next((n for n, other in enumerate(others) if _name(other) == name), None)) is not None:
            made.append(others.pop(at))
    return made + others


def _name(entry: str) -> str:
    return entry.partition("=")[0]
