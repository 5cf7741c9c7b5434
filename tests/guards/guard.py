"""A guard: a piece of the source, what stands there when it is taken out, and the test that must miss it."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

LIST = Path(__file__).with_name("guards.toml")
MOST_OF_A_KIND = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """One entry of `guards.toml`.

    Attributes:
        kind: What it guards, in a word.
        file: Path of the source file, from the root of the repository.
        text: Text that occurs once in the file.
        instead: What stands there when the guard is taken out.
        test: ID of the test that must fail then.
    """

    name: str
    kind: str
    file: str
    text: str
    instead: str
    test: str

    def taken_out_of(self, source: str) -> str:
        """Return a source without this guard. Raises ValueError if the text does not occur once in it."""
        if source.count(self.text) != 1:
            raise ValueError(f"{self.file}: the text of the guard {self.name} occurs {source.count(self.text)} times")
        return source.replace(self.text, self.instead)


def read_guards() -> tuple[Guard, ...]:
    """Return all guards. Raises ValueError if two have the same name, or too many are of one kind."""
    guards = tuple(Guard(**entry) for entry in tomllib.loads(LIST.read_text())["guard"])
    names, kinds = [guard.name for guard in guards], [guard.kind for guard in guards]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"several guards have the name {', '.join(sorted(repeated))}")
    if crowded := {kind for kind in kinds if kinds.count(kind) > MOST_OF_A_KIND}:
        raise ValueError(f"more than {MOST_OF_A_KIND} guards are of the kind {', '.join(sorted(crowded))}")
    return guards


def choose(guards: Sequence[Guard], names: Sequence[str]) -> tuple[Guard, ...]:
    """Return the guards of these names, or all if there is none. Raises ValueError if one is unknown."""
    known = {guard.name: guard for guard in guards}
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"there is no guard {', '.join(unknown)}: see {LIST.name}")
    return tuple(known[name] for name in names) or tuple(guards)
