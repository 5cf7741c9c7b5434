"""A container as described by its inspect document."""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from tutumd.engines.dockerapi.documents import digests_in, parse_time
from tutumd.engines.labels import Json, own_labels, parse_reference
from tutumd.errors import EngineRefusedError

# Maximum length in the store.
_MAX_NAME = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class ComposePosition:
    """The position of a container in its compose project."""

    project: str
    service: str
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectedContainer:
    """One container.

    Attributes:
        labels: Without the `tutum.*` labels of the image.
        status: `created`, `running`, `paused`, `restarting`, `removing`, `exited` or `dead`.
        health: `starting`, `healthy` or `unhealthy`; empty without a health check.
        policy: The restart policy, as the engine writes it.
        raw: The complete inspect document.
        image: The inspect document of the image; None if the image is gone.
        fault: Reason why the container cannot be inspected, so that only its entry in the engine's list is known.
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
    fault: str = ""

    @property
    def is_active(self) -> bool:
        """Whether it runs, is paused, or is about to be restarted by the engine."""
        return self.status in ("running", "restarting", "paused")

    @property
    def stopped_on_purpose(self) -> bool:
        """Whether it does not run and has not failed: it was stopped, is paused, or was never started.

        The engine does not distinguish a stop from an exit. With a restart policy that restarts failed processes, an
        ended container was stopped; without such a policy, the exit code decides.
        """
        if self.status in ("created", "paused"):
            return True
        if self.status not in ("exited", "dead"):
            return False
        brings_back = self.policy.get("Name") in ("always", "unless-stopped")
        # Its own choice, or SIGINT, SIGKILL, SIGTERM.
        return brings_back or (self.exit_code in (0, 130, 137, 143) and not self.oom_killed)

    @property
    def host_config(self) -> Json:
        """HostConfig of the inspect document."""
        return self.raw.get("HostConfig") or {}

    @property
    def auto_remove(self) -> bool:
        """Whether it was started with `--rm`: the engine deletes it when it ends."""
        return bool(self.host_config.get("AutoRemove"))

    @property
    def platform(self) -> str:
        """The platform of its image, as `platform_of` returns it."""
        return platform_of(self.raw, self.image)

    @property
    def image_digest(self) -> str | None:
        """The digest of its image in the repository of the image's name, else the image's ID."""
        return image_digest(self.image_name, self.image_id, self.image)

    @property
    def compose(self) -> ComposePosition | None:
        """Its position in a compose project, if any.

        An image that Compose built also has project and service labels, but never a container number.
        """
        project, service, number = (
            self.labels.get(f"com.docker.compose.{field}", "") for field in ("project", "service", "container-number")
        )
        if not (is_name(project) and is_name(service) and re.fullmatch("[0-9]{1,9}", number)):
            return None
        return ComposePosition(project=project, service=service, number=int(number))


def parse_container(raw: Json, image: Json | None) -> InspectedContainer:
    """Return the container of an inspect document and the document of its image."""
    state: Any = raw.get("State") or {}
    config: Any = raw.get("Config") or {}
    return InspectedContainer(
        id=raw["Id"],
        name=str(raw["Name"]).removeprefix("/"),
        image_name=config.get("Image") or "",
        image_id=raw.get("Image") or "",
        labels=own_labels(config.get("Labels"), ((image or {}).get("Config") or {}).get("Labels")),
        status=state.get("Status", ""),
        health=(state.get("Health") or {}).get("Status", "").replace("none", ""),
        exit_code=int(state.get("ExitCode") or 0),
        oom_killed=bool(state.get("OOMKilled")),
        error=state.get("Error") or "",
        restart_count=int(raw.get("RestartCount") or 0),
        policy=(raw.get("HostConfig") or {}).get("RestartPolicy") or {},
        created=parse_time(raw.get("Created")),
        started=parse_time(state.get("StartedAt")),
        finished=parse_time(state.get("FinishedAt")),
        raw=raw,
        image=image,
    )


def parse_entry(entry: Json, image: Json | None, fault: str) -> InspectedContainer:
    """Return a container that cannot be inspected, from its entry in the engine's list.

    Args:
        fault: Reason why it cannot be inspected.
    """
    raw = {
        "Id": entry["Id"],
        "Name": listed_name(entry) or entry["Id"][:12],
        "Image": entry.get("ImageID"),
        "Config": {"Image": entry.get("Image"), "Labels": entry.get("Labels")},
        "State": {"Status": entry.get("State")},
        "HostConfig": entry.get("HostConfig"),
        "NetworkSettings": entry.get("NetworkSettings"),
    }
    return replace(parse_container(raw, image), fault=fault)


def listed_name(entry: Json) -> str:
    """Return the name of a container in the engine's list; empty if it has none, or has two during a rename."""
    # The list also contains the aliases of legacy links, such as `/web/store`.
    names = [name for name in entry.get("Names") or () if name.count("/") == 1]
    return names[0].removeprefix("/") if len(names) == 1 else ""


def is_name(text: str) -> bool:
    """Return whether a label's value can be the name of a service or a stack."""
    return 0 < len(text) <= _MAX_NAME and text.isprintable()


def platform_of(container: Json, image: Json | None) -> str:
    """Return the platform of a container's image: `linux/amd64`, `linux/arm/v7`; empty if it is unknown.

    Args:
        container: Inspect document. Since Engine API 1.48, it contains the running manifest of the image.
    """
    shown = (container.get("ImageManifestDescriptor") or {}).get("platform")
    platform: Json = shown or {field.lower(): (image or {}).get(field) for field in ("Os", "Architecture", "Variant")}
    system, architecture, variant = (platform.get(field) or "" for field in ("os", "architecture", "variant"))
    return "/".join(filter(None, (system, architecture, variant))) if system and architecture else ""


def image_digest(name: str, image_id: str, image: Json | None) -> str | None:
    """Return the digest of an image in the repository of `name`, else the image's ID."""
    return repository_digest(name, image) or image_id or None


def repository_digest(name: str, image: Json | None) -> str:
    """Return the digest of an image in the repository of `name`; empty if it has none there."""
    # A container that was created from an image ID has no repository.
    with suppress(EngineRefusedError):
        reference = parse_reference(name)
        found = (each.partition("@")[2] for each in digests_in(image, reference))
        return reference.digest or next(found, "")
    return ""
