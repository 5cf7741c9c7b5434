"""A container as it was seen: what decisions need of the engine's inspect document."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tutumd.engines.dockerapi.times import parse_time
from tutumd.engines.labels import Json, own_labels

_STOP_CODES = (0, 130, 137, 143)
"""How processes end that were asked to: by themselves, or by SIGINT, SIGKILL, SIGTERM."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compose:
    """Where a container stands in a compose project."""

    project: str
    service: str
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectedContainer:
    """One container.

    Attributes:
        labels: Without the `tutum.*` ones that came with its image.
        status: `created`, `running`, `paused`, `restarting`, `removing`, `exited` or `dead`.
        health: `starting`, `healthy` or `unhealthy`; empty without a health check.
        policy: Its restart policy, as the engine writes it.
        raw: The whole inspect document.
        image: The inspect document of its image; None where that is gone.
    """

    id: str
    name: str
    image_name: str
    image_id: str
    labels: Mapping[str, str]
    status: str
    health: str
    exit_code: int
    oom_killed: bool
    error: str
    restart_count: int
    policy: Json
    created: datetime | None
    started: datetime | None
    finished: datetime | None
    raw: Json
    image: Json | None

    @property
    def runs(self) -> bool:
        """True while a process of it runs, or the engine is about to start one again; also while paused."""
        return self.status in ("running", "restarting", "paused")

    @property
    def stopped_on_purpose(self) -> bool:
        """True when nothing runs and nothing failed: it was stopped, is paused, or never was started.

        The engine does not tell a stop from an exit. A restart policy that would have brought a failed process
        back tells it; without one, the exit code does.
        """
        if self.status in ("created", "paused"):
            return True
        if self.status not in ("exited", "dead"):
            return False
        revived = self.policy.get("Name") in ("always", "unless-stopped")
        return revived or (self.exit_code in _STOP_CODES and not self.oom_killed)

    @property
    def compose(self) -> Compose | None:
        """Its place in a compose project; None where it has none.

        An image that compose built carries project and service as well, but never a container's number.
        """
        project = self.labels.get("com.docker.compose.project", "")
        service = self.labels.get("com.docker.compose.service", "")
        number = self.labels.get("com.docker.compose.container-number", "")
        if not (project and service and number.isdecimal()):
            return None
        return Compose(project=project, service=service, number=int(number))


def see(raw: Json, image: Json | None) -> InspectedContainer:
    """Read an inspect document, with that of the container's image."""
    state: Any = raw.get("State") or {}
    config: Any = raw.get("Config") or {}
    host: Any = raw.get("HostConfig") or {}
    image_labels = ((image or {}).get("Config") or {}).get("Labels")
    return InspectedContainer(
        id=raw["Id"],
        name=str(raw["Name"]).removeprefix("/"),
        image_name=config.get("Image", ""),
        image_id=raw.get("Image", ""),
        labels=own_labels(config.get("Labels"), image_labels),
        status=state.get("Status", ""),
        health=(state.get("Health") or {}).get("Status", "").replace("none", ""),
        exit_code=int(state.get("ExitCode") or 0),
        oom_killed=bool(state.get("OOMKilled")),
        error=state.get("Error") or "",
        restart_count=int(raw.get("RestartCount") or 0),
        policy=host.get("RestartPolicy") or {},
        created=parse_time(raw.get("Created")),
        started=parse_time(state.get("StartedAt")),
        finished=parse_time(state.get("FinishedAt")),
        raw=raw,
        image=image,
    )
