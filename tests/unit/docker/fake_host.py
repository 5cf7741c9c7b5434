"""A Docker Engine in memory, for what a real one is too slow for: a kill at every step of every kind of run."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

from tests.unit.docker.documents import ZERO, at, container, identity, image
from tutumd.engines.docker.api import DockerApi
from tutumd.engines.docker.inspect.inspected_container import InspectedContainer, see
from tutumd.engines.docker.platforms import EngineFacts, Manifest
from tutumd.engines.docker.swap.steps import SwapStep
from tutumd.engines.images.reference import ImageReference
from tutumd.engines.labels import Json
from tutumd.errors import EngineRefusedError
from tutumd.ports import Run


class FakeHost(DockerApi):
    """Containers and images as documents. Images whose Config says `Crashes` end as soon as they are started.

    The tag `app` means the image `newest`, which is local, or `pushed` and to be pulled. Each change takes a second.

    `found` holds what the names of its networks lead to: (network, name, container). On a Swarm node renaming a running
    container leaves these names as they were, as Docker Engine 26 does.
    """

    def __init__(self, *, newest: Json | None = None, in_swarm: bool = False, pushed: bool = False) -> None:
        self.in_swarm = in_swarm
        self.by_manifest = False
        self.in_registry: set[str] = set()
        self.found: set[tuple[str, str, str]] = set()
        self.unreachable: list[str] = []
        self.watched: tuple[str, ...] = ()
        self.images: dict[str, Any] = {}
        self.dangling: tuple[Json, ...] = ()
        self.on_stop: Callable[[str], None] = lambda stopped: None
        self.removed_images: list[str] = []
        self.all: dict[str, dict[str, Any]] = {}
        self.now = 100.0
        self.tagged = ""
        self.refuse: str = ""
        old = image(0xA0, Env=["VERSION=old"])
        self.images[old["Id"]] = old
        new = dict(newest or image(0xB0, Env=["VERSION=new"]))
        self.images[new["Id"]] = new
        self.newest = new["Id"]
        self.tagged = old["Id"] if pushed else new["Id"]
        for one in (old, new) if pushed else ():
            one["RepoDigests"] = [f"app@{one['Id']}"]

    def add(self, number: int, name: str, **document: Any) -> str:
        """Put a container there."""
        raw = container(number, name, **document)
        self.all[raw["Id"]] = raw
        if raw["State"]["Status"] == "running":
            self._announce(raw)
        return str(raw["Id"])

    def summary(self) -> dict[str, tuple[str, str, str, str]]:
        """What is there, by name: ID, state, restart policy, image."""
        return {
            raw["Name"][1:]: (
                raw["Id"],
                raw["State"]["Status"],
                raw["HostConfig"]["RestartPolicy"]["Name"],
                raw["Image"],
            )
            for raw in self.all.values()
        }

    def leads_to(self, name: str) -> set[str]:
        """IDs of the containers that a name leads to, in any network."""
        return {owner for _, known, owner in self.found if known == name}

    # Looking

    def facts(self) -> EngineFacts:
        return EngineFacts(
            host_name="machine",
            system="linux",
            architecture="amd64",
            in_swarm=self.in_swarm,
            by_manifest=self.by_manifest,
        )

    def manifest(self, reference: ImageReference) -> Manifest:
        return Manifest(digest=self.newest, platforms=(("linux", "amd64"),))

    def containers(self) -> tuple[InspectedContainer, ...]:
        return tuple(self._see(raw) for raw in self.all.values())

    def container(self, reference: str) -> InspectedContainer | None:
        raw = self._find(reference)
        return None if raw is None else self._see(raw)

    def image(self, reference: str) -> Json | None:
        found: Json | None = self.images.get(self.tagged if reference == "app" else reference)
        return found

    def all_images(self) -> tuple[Json, ...]:
        return self.dangling

    def has_been_pushed(self, reference: ImageReference) -> bool:
        return f"{reference.repository}@{reference.digest}" in self.in_registry

    def changed_files(self, container: str) -> tuple[str, ...]:
        return ()

    def output(self, container: str, lines: int) -> str:
        return f"output of {self._present(container)['Image'][-2:]}"

    # Changing

    def pull(self, reference: ImageReference, run: Run) -> None:
        self._tick("pull")
        self.tagged = self.newest

    def create(self, name: str, body: Mapping[str, Any]) -> str:
        self._tick(f"create {name}")
        if self._find(name) is not None:
            raise EngineRefusedError(f"the name {name} is in use")
        raw = container(0xC000 + int(self.now), name, status="created", started=None, created=self.now)
        raw["Image"] = self.tagged if body["Image"] == "app" else self.images[body["Image"]]["Id"]
        raw["HostConfig"] = deepcopy(dict(body["HostConfig"]))
        raw["Config"] = deepcopy({key: value for key, value in body.items() if key not in ("HostConfig",)})
        raw["Config"].pop("NetworkingConfig", None)
        raw["NetworkSettings"] = {"Networks": deepcopy(dict(body["NetworkingConfig"]["EndpointsConfig"]))}
        self.all[raw["Id"]] = raw
        return str(raw["Id"])

    def apply(self, step: SwapStep) -> None:
        if step.verb == "stop":
            return self.stop(step.container)
        if step.verb == "remove":
            return self.remove(step.container, volumes=True)
        if step.verb == "start":
            return self.start(step.container)
        self._tick(f"{step.verb} {step.container}")
        raw = self._present(step.container)
        if step.verb == "policy":
            raw["HostConfig"]["RestartPolicy"] = dict(step.policy or {})
        elif step.verb == "pause":
            raw["State"]["Status"] = "paused"
        elif step.verb == "rename":
            if self._find(step.name) is not None:
                raise EngineRefusedError(f"the name {step.name} is in use")
            if not self.in_swarm:
                self._withdraw(raw)
            raw["Name"] = f"/{step.name}"
            if not self.in_swarm:
                self._announce(raw)
        elif step.verb == "disconnect":
            self._withdraw(raw, step.network)
            raw["NetworkSettings"]["Networks"].pop(step.network, None)
        elif step.verb == "connect":
            if step.network in raw["NetworkSettings"]["Networks"]:
                raise EngineRefusedError(f"it is in {step.network} already")
            raw["NetworkSettings"]["Networks"][step.network] = deepcopy(dict(step.endpoint or {}))
            self._announce(raw, step.network)
        return None

    def start(self, container: str) -> None:
        self._tick(f"start {container}")
        raw = self._present(container)
        if raw["State"]["Status"] == "running":
            return
        raw["State"].update(Status="running", StartedAt=at(self.now), FinishedAt=ZERO)
        self._announce(raw)
        if self.images[raw["Image"]]["Config"].get("Crashes"):
            revived = raw["HostConfig"]["RestartPolicy"]["Name"] == "always"
            raw["State"].update(Status="restarting" if revived else "exited", ExitCode=3, FinishedAt=at(self.now))
            if raw["HostConfig"].get("AutoRemove"):
                self._withdraw(raw)
                del self.all[raw["Id"]]

    def unpause(self, container: str) -> None:
        self._present(container)["State"]["Status"] = "running"

    def stop(self, container: str) -> None:
        self._tick(f"stop {container}")
        raw = self._find(container)
        if raw is not None and raw["State"]["Status"] in ("running", "paused", "restarting"):
            raw["State"].update(Status="exited", FinishedAt=at(self.now))
            self._withdraw(raw)
            if raw["HostConfig"].get("AutoRemove"):
                del self.all[raw["Id"]]
            self.on_stop(raw["Id"])

    def remove(self, container: str, *, volumes: bool) -> None:
        self._tick(f"remove {container}")
        raw = self._find(container)
        if raw is not None:
            self._withdraw(raw)
            del self.all[raw["Id"]]

    def remove_image(self, image_id: str) -> bool:
        self._tick(f"remove {image_id}")
        self.removed_images.append(image_id)
        return True

    def tag(self, image: str, repository: str, tag: str) -> None:
        self._tick(f"tag {image}")
        self.tagged = image

    # Inside

    def _see(self, raw: Json) -> InspectedContainer:
        return see(deepcopy(raw), self.images.get(raw["Image"]))

    def _find(self, reference: str) -> dict[str, Any] | None:
        named = (raw for raw in self.all.values() if raw["Name"] == f"/{reference}")
        return self.all.get(reference) or next(named, None)

    def _present(self, reference: str) -> dict[str, Any]:
        raw = self._find(reference)
        if raw is None:
            raise EngineRefusedError(f"no such container: {reference}")
        return raw

    def _announce(self, raw: Json, network: str = "") -> None:
        """Make the container found by the name that it has now, and by its aliases."""
        if raw["State"]["Status"] != "running":
            return
        for one, endpoint in raw["NetworkSettings"]["Networks"].items():
            if one != "bridge" and network in ("", one):
                names = {raw["Name"][1:], *((endpoint or {}).get("Aliases") or ())}
                self.found |= {(one, name, raw["Id"]) for name in names}

    def _withdraw(self, raw: Json, network: str = "") -> None:
        """Take back the names that the container has now: what it was found by before a rename stays, in Swarm mode."""
        for one, endpoint in raw["NetworkSettings"]["Networks"].items():
            if network in ("", one):
                names = {raw["Name"][1:], *((endpoint or {}).get("Aliases") or ())}
                self.found -= {(one, name, raw["Id"]) for name in names}

    def _tick(self, what: str) -> None:
        self.now += 1
        self.unreachable += [f"{name} before {what}" for name in self.watched if not self.leads_to(name)]
        if self.refuse and what.startswith(self.refuse):
            raise EngineRefusedError(f"cannot {what}: refused by the test")


__all__ = ["FakeHost", "identity"]
