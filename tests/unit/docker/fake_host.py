"""A Docker Engine in memory, for what a real one is too slow for: a kill at every step of every kind of run."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from tests.unit.docker.documents import ZERO, at, container, identity, image
from tutumd.engines.docker.host import Host
from tutumd.engines.docker.seen import Seen, see
from tutumd.engines.docker.steps import Step
from tutumd.engines.dockerapi import ImageReference, Json
from tutumd.errors import EngineRefusedError
from tutumd.ports import Run


class FakeHost(Host):
    """Containers and images as documents. Images whose Config says `Crashes` end as soon as they are started.

    The tag `app` means the image `newest`, which is local: nothing is pulled. Each change takes a second.
    """

    def __init__(self, *, newest: Json | None = None) -> None:
        self.images: dict[str, Any] = {}
        self.all: dict[str, dict[str, Any]] = {}
        self.now = 100.0
        self.tagged = ""
        self.refuse: str = ""
        old = image(0xA0, Env=["VERSION=old"])
        self.images[old["Id"]] = old
        new = dict(newest or image(0xB0, Env=["VERSION=new"]))
        self.images[new["Id"]] = new
        self.tagged = new["Id"]

    def add(self, number: int, name: str, **document: Any) -> str:
        """Put a container there."""
        raw = container(number, name, **document)
        self.all[raw["Id"]] = raw
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

    # Looking

    def containers(self) -> tuple[Seen, ...]:
        return tuple(self._see(raw) for raw in self.all.values())

    def container(self, reference: str) -> Seen | None:
        raw = self._find(reference)
        return None if raw is None else self._see(raw)

    def image(self, reference: str) -> Json | None:
        found: Json | None = self.images.get(self.tagged if reference == "app" else reference)
        return found

    def dangling_images(self) -> tuple[Json, ...]:
        return ()

    def changed_files(self, container: str) -> tuple[str, ...]:
        return ()

    def output(self, container: str, lines: int) -> str:
        return f"output of {self._find(container)['Image'][-2:]}"  # type: ignore[index]  # it is there

    # Changing

    def pull(self, reference: ImageReference, run: Run) -> None:
        raise AssertionError("nothing here is to be pulled")

    def create(self, name: str, body: Mapping[str, Any]) -> str:
        self._tick(f"create {name}")
        if self._find(name) is not None:
            raise EngineRefusedError(f"the name {name} is in use")
        raw = container(0xC000 + int(self.now), name, status="created", started=None, created=self.now)
        raw["Image"] = self.tagged
        raw["HostConfig"] = deepcopy(dict(body["HostConfig"]))
        raw["Config"] = deepcopy({key: value for key, value in body.items() if key not in ("HostConfig",)})
        self.all[raw["Id"]] = raw
        return str(raw["Id"])

    def apply(self, step: Step) -> None:
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
            raw["Name"] = f"/{step.name}"
        return None

    def start(self, container: str) -> None:
        self._tick(f"start {container}")
        raw = self._present(container)
        if raw["State"]["Status"] == "running":
            return
        raw["State"].update(Status="running", StartedAt=at(self.now), FinishedAt=ZERO)
        if self.images[raw["Image"]]["Config"].get("Crashes"):
            revived = raw["HostConfig"]["RestartPolicy"]["Name"] == "always"
            raw["State"].update(Status="restarting" if revived else "exited", ExitCode=3, FinishedAt=at(self.now))

    def unpause(self, container: str) -> None:
        self._present(container)["State"]["Status"] = "running"

    def stop(self, container: str) -> None:
        self._tick(f"stop {container}")
        raw = self._find(container)
        if raw is not None and raw["State"]["Status"] in ("running", "paused", "restarting"):
            raw["State"].update(Status="exited", FinishedAt=at(self.now))

    def remove(self, container: str, *, volumes: bool) -> None:
        self._tick(f"remove {container}")
        raw = self._find(container)
        if raw is not None:
            del self.all[raw["Id"]]

    def tag(self, image: str, repository: str, tag: str) -> None:
        self._tick(f"tag {image}")
        self.tagged = image

    # Inside

    def _see(self, raw: Json) -> Seen:
        return see(deepcopy(raw), self.images.get(raw["Image"]))

    def _find(self, reference: str) -> dict[str, Any] | None:
        named = (raw for raw in self.all.values() if raw["Name"] == f"/{reference}")
        return self.all.get(reference) or next(named, None)

    def _present(self, reference: str) -> dict[str, Any]:
        raw = self._find(reference)
        if raw is None:
            raise EngineRefusedError(f"no such container: {reference}")
        return raw

    def _tick(self, what: str) -> None:
        self.now += 1
        if self.refuse and what.startswith(self.refuse):
            raise EngineRefusedError(f"cannot {what}: refused by the test")


__all__ = ["FakeHost", "identity"]
