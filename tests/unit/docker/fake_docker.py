"""A Docker Engine in memory, for tests that a real one is too slow for: a kill at every step of every kind of run."""

import json
import marshal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from tests.support.docker_errors import api_error
from tests.unit.docker.documents import ZERO, at, container, image
from tutumd.engines.docker.api import DockerApi
from tutumd.engines.docker.look.containers import InspectedContainer
from tutumd.engines.labels import Json


def copied(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a deep copy of a document, which `copy.deepcopy` takes twenty times as long for."""
    copy: dict[str, Any] = marshal.loads(marshal.dumps(dict(document)))
    return copy


def is_active(raw: Json) -> bool:
    """Return whether a container runs, or is about to be restarted."""
    return raw["State"]["Status"] in ("running", "restarting")


class FakeDocker:
    """The SDK's client of an engine whose containers and images are documents.

    Images whose Config says `Crashes` end as soon as they are started. The tag `app` means the image `newest`, which is
    local, or `pushed` and to be pulled. Each change takes a second. A pull adds `pulled`, if it is not empty, and then
    moves no tag.

    `has_clients` puts another container into each network. `found` holds what the names of its networks lead to:
    (network, name, container). On a Swarm node renaming a running container leaves these names as they were, as Docker
    Engine 26 does.
    """

    api_version = "1.47"
    is_podman = False

    def __init__(self, *, newest: Json | None = None, in_swarm: bool = False, pushed: bool = False) -> None:
        self.in_swarm = in_swarm
        self.by_manifest = False
        self.has_clients = True
        self.events: list[Json] = []
        self.in_registry: set[str] = set()
        self.pulled: dict[str, Any] = {}
        self.found: set[tuple[str, str, str]] = set()
        self.unreachable: list[str] = []
        self.watched: tuple[str, ...] = ()
        self.images_by_name: dict[str, Any] = {}
        self.dangling: tuple[Json, ...] = ()
        self.on_stop: Callable[[str], None] = lambda stopped: None
        self.removed_images: list[str] = []
        self.pulls: list[str] = []
        self.all: dict[str, dict[str, Any]] = {}
        self.now = 100.0
        self.refuse: str = ""
        old = image(0xA0, Env=["VERSION=old"])
        new = dict(newest or image(0xB0, Env=["VERSION=new"]))
        self.images_by_name |= {old["Id"]: old, new["Id"]: new}
        self.newest = new["Id"]
        self.tagged = old["Id"] if pushed else new["Id"]
        for document in (old, new) if pushed else ():
            document["RepoDigests"] = [f"app@{document['Id']}"]
        client: Any = self
        self.api = DockerApi(client, "/nonexistent")

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

    def inspected(self) -> list[InspectedContainer]:
        """All containers as the engine's code sees them."""
        found = (self.api.container(key) for key in list(self.all))
        return [container for container in found if container is not None]

    def leads_to(self, name: str) -> set[str]:
        """IDs of the containers that a name leads to, in any network."""
        return {owner for _, known, owner in self.found if known == name}

    # The SDK's methods that only read

    def info(self) -> Json:
        driver = [["driver-type", "io.containerd.snapshotter.v1"]] if self.by_manifest else []
        swarm = {"LocalNodeState": "active" if self.in_swarm else "inactive"}
        return {"Name": "machine", "Swarm": swarm, "DriverStatus": driver, "SystemTime": at(self.now)}

    def version(self) -> Json:
        return {"Os": "linux", "Arch": "amd64"}

    def containers(self, *, all: bool) -> list[Json]:
        return [
            {
                "Id": raw["Id"],
                "Names": [raw["Name"]],
                "Image": raw["Config"]["Image"],
                "ImageID": raw["Image"],
                "State": raw["State"]["Status"],
                "Labels": raw["Config"].get("Labels") or {},
                "HostConfig": {"NetworkMode": raw["HostConfig"]["NetworkMode"]},
                "NetworkSettings": {"Networks": {key: {} for key in raw["NetworkSettings"]["Networks"]}},
            }
            for raw in self.all.values()
        ]

    def probe(self) -> None:
        """Answer."""

    def inspect_container(self, reference: str) -> Json:
        return copied(self._present(reference))

    def inspect_image(self, reference: str) -> Json:
        document = self.images_by_name.get(self.tagged if reference == "app" else reference)
        if document is None:
            raise api_error(404, f"no such image: {reference}")
        return dict(document)

    def inspect_distribution(self, name: str, auth_config: Json) -> Json:
        tagged, pinned, digest = name.partition("@")
        if pinned and f"{tagged.partition(':')[0]}@{digest}" not in self.in_registry:
            raise api_error(404, f"manifest unknown: {name}")
        return {"Descriptor": {"digest": self.newest}, "Platforms": [{"os": "linux", "architecture": "amd64"}]}

    def inspect_network(self, name: str) -> Json:
        members = [key for key, raw in self.all.items() if name in raw["NetworkSettings"]["Networks"]]
        return {"Scope": "local", "Containers": dict.fromkeys([*members, *(["client"] if self.has_clients else [])])}

    def request(self, method: str, url: str, **options: Any) -> Any:
        return self._past_events(url, **options) if method == "GET" else self._change(url, **options)

    def _past_events(self, url: str, *, params: Mapping[str, str]) -> Any:
        assert url == "/events"
        assert params["since"] < params["until"]
        (wanted,) = json.loads(params["filters"]).get("container", [""])
        pulls = [{"Actor": {"ID": name}} for name in self.pulls]
        events = [event for event in self.events if event["Actor"]["ID"] == wanted] if wanted else pulls
        lines = [json.dumps(event) for event in events]
        return SimpleNamespace(text="\n".join(lines))

    def images(self, *, all: bool) -> tuple[Json, ...]:
        return self.dangling

    def diff(self, reference: str) -> list[Json]:
        return []

    def logs(self, reference: str, **options: Any) -> bytes:
        return f"output of {self._present(reference)['Image'][-2:]}".encode()

    # The SDK's methods that change something

    @contextmanager
    def follow(self, method: str, path: str, *arguments: object, **options: object) -> Iterator[tuple[Any, None]]:
        self._tick("pull")
        if self.pulled:
            self.images_by_name |= self.pulled | {document["Id"]: document for document in self.pulled.values()}
        else:
            self.tagged = self.newest
        yield iter(()), None

    def create_container_from_config(self, config: Mapping[str, Any], name: str, platform: str) -> Json:
        self._tick(f"create {name}")
        self._check_free(name)
        raw = container(0xC000 + int(self.now), name, status="created", started=None, created=self.now)
        raw["Image"] = self.inspect_image(config["Image"])["Id"]
        raw["HostConfig"] = copied(config["HostConfig"])
        own = {key: value for key, value in config.items() if key not in ("HostConfig", "NetworkingConfig")}
        raw["Config"] = copied(own)
        raw["NetworkSettings"] = {"Networks": copied(config["NetworkingConfig"]["EndpointsConfig"])}
        self.all[raw["Id"]] = raw
        return raw

    def update_container(self, reference: str, restart_policy: Json) -> None:
        self._tick(f"policy {reference}")
        self._present(reference)["HostConfig"]["RestartPolicy"] = dict(restart_policy)

    def rename(self, reference: str, name: str) -> None:
        self._tick(f"rename {reference}")
        raw = self._present(reference)
        self._check_free(name)
        if not self.in_swarm:
            self._withdraw(raw)
        raw["Name"] = f"/{name}"
        if not self.in_swarm:
            self._announce(raw)

    def start(self, reference: str) -> None:
        self._tick(f"start {reference}")
        raw = self._present(reference)
        if raw["State"]["Status"] == "running":
            return
        ports = raw["HostConfig"].get("PortBindings")
        others = [other["HostConfig"] for other in self.all.values() if is_active(other)]
        if ports and any(host.get("PortBindings") == ports for host in others):
            raise api_error(500, "port is already allocated")
        raw["State"].update(Status="running", StartedAt=at(self.now), FinishedAt=ZERO)
        self._announce(raw)
        if self.images_by_name[raw["Image"]]["Config"].get("Crashes"):
            revived = raw["HostConfig"]["RestartPolicy"]["Name"] == "always"
            raw["State"].update(Status="restarting" if revived else "exited", ExitCode=3, FinishedAt=at(self.now))
            if raw["HostConfig"].get("AutoRemove"):
                self._withdraw(raw)
                del self.all[raw["Id"]]

    def pause(self, reference: str) -> None:
        self._tick(f"pause {reference}")
        self._present(reference)["State"]["Status"] = "paused"

    def unpause(self, reference: str) -> None:
        self._present(reference)["State"]["Status"] = "running"

    def disconnect_container_from_network(self, reference: str, network: str) -> None:
        self._tick(f"disconnect {reference}")
        raw = self._present(reference)
        self._withdraw(raw, network)
        raw["NetworkSettings"]["Networks"].pop(network, None)

    def remove_container(self, reference: str, *, v: bool, force: bool) -> None:
        self._tick(f"remove {reference}")
        raw = self._present(reference)
        self._withdraw(raw)
        del self.all[raw["Id"]]

    def remove_image(self, reference: str) -> None:
        self._tick(f"remove {reference}")
        self.removed_images.append(reference)

    def tag(self, reference: str, repository: str, tag: str, *, force: bool) -> None:
        self._tick(f"tag {reference}")
        self.tagged = reference

    # What the SDK leaves to requests

    def _url(self, pattern: str, *arguments: str) -> str:
        return pattern.format(*arguments)

    def _raise_for_status(self, response: object) -> None:
        pass

    def _change(self, url: str, *, timeout: float = 0, json: Mapping[str, Any] | None = None) -> None:
        _, _, reference, verb = url.split("/")
        if verb == "stop":
            self._stop(reference)
        else:
            self._connect((json or {})["Container"], reference, (json or {})["EndpointConfig"])

    def _stop(self, reference: str) -> None:
        self._tick(f"stop {reference}")
        raw = self._present(reference)
        if raw["State"]["Status"] in ("running", "paused", "restarting"):
            raw["State"].update(Status="exited", FinishedAt=at(self.now))
            self._withdraw(raw)
            if raw["HostConfig"].get("AutoRemove"):
                del self.all[raw["Id"]]
            self.on_stop(raw["Id"])

    def _connect(self, reference: str, network: str, endpoint: Json) -> None:
        self._tick(f"connect {reference}")
        raw = self._present(reference)
        if network in raw["NetworkSettings"]["Networks"]:
            raise api_error(403, f"it is in {network} already")
        raw["NetworkSettings"]["Networks"][network] = copied(endpoint)
        self._announce(raw, network)

    # Inside

    def _present(self, reference: str) -> dict[str, Any]:
        assert reference, "the SDK refuses an empty reference"
        named = (raw for raw in self.all.values() if raw["Name"] == f"/{reference}")
        raw = self.all.get(reference) or next(named, None)
        if raw is None:
            raise api_error(404, f"no such container: {reference}")
        return raw

    def _check_free(self, name: str) -> None:
        if any(raw["Name"] == f"/{name}" for raw in self.all.values()):
            raise api_error(409, f"the name {name} is in use")

    def _announce(self, raw: Json, network: str = "") -> None:
        """Make the container found by the name that it has now, and by its aliases."""
        if raw["State"]["Status"] != "running":
            return
        for key, endpoint in raw["NetworkSettings"]["Networks"].items():
            if key != "bridge" and network in ("", key):
                names = {raw["Name"][1:], *((endpoint or {}).get("Aliases") or ())}
                self.found |= {(key, name, raw["Id"]) for name in names}

    def _withdraw(self, raw: Json, network: str = "") -> None:
        """Take back the names that the container has now: what it was found by before a rename stays, in Swarm mode."""
        for key, endpoint in raw["NetworkSettings"]["Networks"].items():
            if network in ("", key):
                names = {raw["Name"][1:], *((endpoint or {}).get("Aliases") or ())}
                self.found -= {(key, name, raw["Id"]) for name in names}

    def _tick(self, change: str) -> None:
        self.now += 1
        self.unreachable += [f"{name} before {change}" for name in self.watched if not self.leads_to(name)]
        if self.refuse and change.startswith(self.refuse):
            raise api_error(409, "refused by the test")
