"""What the contract tests need of an engine, and what one engine has and another has not."""

from collections.abc import Mapping, Sequence
from enum import Enum, auto
from typing import Any, Protocol

from tutumd.model import Service
from tutumd.ports.engine import Engine

SECRET = {"SECRET": "hunter2", "KEPT": "kept-value"}
"""Environment variables that every service of a bed is created with."""


class Ability(Enum):
    """What not every engine can do. A test that needs one is not generated for the others."""

    CREATES = auto()
    """Services are created, and terminated, through tutumd."""
    OUTSIDE = auto()
    """Services are created, changed and removed by other tools."""
    TAGS = auto()
    """What runs is an image of a registry, with a tag."""
    HEALTH = auto()
    """A container can run without being healthy."""
    ZERO = auto()
    """A running service can be scaled to no container, and from there up again."""
    AWAY = auto()
    """The engine is another process, which can go away."""
    ENDS = auto()
    """A container can be ended from the outside, and the engine does not replace it."""
    IMAGES = auto()
    """What runs is an image with a digest, to which a rollback can return."""


class EngineBed(Protocol):
    """One engine with one service, `web`, and what happens to it from the outside.

    Versions: `v1`, `v2`, `crashing` (says why on its output, and exits), `unhealthy`, and `missing` (nowhere to be
    found). The first four log `serving VERSION` or, if it crashes, `cannot start`.
    """

    kind: str
    abilities: frozenset[Ability]
    deadline_s: float
    """How long an action on this engine may take."""

    @property
    def service(self) -> Service:
        """The store's row of the service; its target is the number of containers that it was created with."""

    def engine(self) -> Engine:
        """Connect, as a server does when it starts. The bed closes the connection at its end."""

    def create(self, count: int = 2) -> None:
        """Create the service with so many containers of v1, and wait until they run."""

    def remove(self) -> None:
        """Remove the service, and wait until it is gone."""

    def release(self, version: str, tag: str = "latest") -> Mapping[str, Any]:
        """Make a version the newest of a tag; return the options of a run whose redeploy of the service brings it."""

    def versions(self) -> Sequence[str]:
        """The versions of the containers that run, sorted, without asking tutumd's engine."""

    def environments(self) -> Sequence[Mapping[str, str]]:
        """The environment variables of the containers that run, without asking tutumd's engine."""

    def change_outside(self) -> None:
        """Change something without tutumd that shows."""

    def end(self, version: str, *, removed: bool) -> int:
        """End the containers of a version that run, or remove them where that is possible; return how many these were.

        Needs `ENDS`.
        """
        raise RuntimeError(f"{self.kind} ends no containers")

    def go_away(self) -> None:
        """Break all connections to the engine; the containers may end with it."""
        raise RuntimeError(f"{self.kind} cannot go away")

    def come_back(self) -> None:
        """Undo `go_away`, and wait until the service runs again."""
        raise RuntimeError(f"{self.kind} cannot go away")
