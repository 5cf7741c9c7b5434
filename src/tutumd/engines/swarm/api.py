"""What we ask of the engine about services, tasks and nodes; each call with a limit, each error in our words."""

import contextlib
from collections.abc import Iterable, Mapping
from operator import itemgetter
from typing import Any

import docker.auth
import docker.errors

from tutumd.engines.dockerapi.connection import Client
from tutumd.engines.dockerapi.failures import translated, translated_read
from tutumd.engines.images.auth import registry_auth
from tutumd.engines.images.reference import ImageReference, parse_reference
from tutumd.engines.labels import Json
from tutumd.engines.swarm import output
from tutumd.engines.swarm.tasks import Nodes, read_nodes, read_task
from tutumd.engines.swarm.verdict import View
from tutumd.errors import EngineRefusedError, EngineUnavailableError, TutumdError

_LOG_LIMIT_S = 10


class OutOfSequenceError(TutumdError):
    """Somebody, or the engine itself, changed the service since it was inspected: inspect it again."""


class TakenError(TutumdError):
    """There is a service of that name already."""


class SwarmApi:
    """The swarm behind one manager's connection."""

    def __init__(self, client: Client, config_dir: str | None) -> None:
        # The SDK's types leave out the calls for tasks and nodes and the private ones used here.
        self._sdk: Any = client
        self.client = client
        self._config_dir = config_dir

    def views(self) -> tuple[View, ...]:
        """Look at all services at once, by name."""
        with translated_read("list the services of the swarm"):
            services = self._sdk.services()
            tasks = self._sdk.tasks()
            nodes = read_nodes(self._sdk.nodes())
        by_service: dict[str, list[Json]] = {}
        for task in tasks:
            by_service.setdefault(task.get("ServiceID", ""), []).append(task)
        views = [_view(service, by_service.get(service["ID"], []), nodes) for service in services]
        return tuple(sorted(views, key=lambda view: str(view.spec["Name"])))

    def view(self, name: str) -> View | None:
        """Look at one service; None where it is gone."""
        with translated_read(f"inspect the service {name}"):
            try:
                service = self._sdk.inspect_service(name)
            except docker.errors.NotFound:
                return None
            # The engine also takes the beginning of an ID for a name.
            if service["Spec"]["Name"] != name:
                return None
            tasks = self._sdk.tasks(filters={"service": service["ID"]})
            return _view(service, tasks, read_nodes(self._sdk.nodes()))

    def update(self, view: View, spec: Json, auth: Mapping[str, Any]) -> None:
        """Replace the specification of the service as it was seen.

        Args:
            auth: Registry login that the engine keeps for the workers; empty keeps the one it has.

        Raises:
            OutOfSequenceError: the service has changed since.
        """
        name = view.spec["Name"]
        headers = {"X-Registry-Auth": docker.auth.encode_header(dict(auth)).decode()} if auth else {}
        address = self._sdk._url("/services/{0}/update", view.service["ID"])
        with translated(f"update the service {name}"):
            try:
                response = self._sdk._post_json(
                    address, data=dict(spec), params={"version": view.index}, headers=headers
                )
                self._sdk._raise_for_status(response)
            except docker.errors.APIError as error:
                # moby/swarmkit#1379: an HTTP 500 that only its text tells apart.
                if "update out of sequence" in str(error.explanation):
                    raise OutOfSequenceError(f"the service {name} changed while it was updated") from error
                raise

    def create(self, spec: Json, auth: Mapping[str, Any]) -> None:
        """Create a service. `auth` as in `update`.

        Raises:
            TakenError: there is one of that name.
        """
        name = spec["Name"]
        headers = {"X-Registry-Auth": docker.auth.encode_header(dict(auth)).decode()} if auth else {}
        with translated(f"create the service {name}"):
            address = self._sdk._url("/services/create")
            response = self._sdk._post_json(address, data=dict(spec), headers=headers)
            # Docker Engine API v1.44 ServiceCreate: 409 is "name conflicts with an existing service".
            if response.status_code == 409:
                raise TakenError(f"there is a service {name} already")
            self._sdk._raise_for_status(response)

    def remove(self, name: str) -> None:
        """Remove a service; nothing where it is gone."""
        with translated(f"remove the service {name}"), contextlib.suppress(docker.errors.NotFound):
            self._sdk.remove_service(name)

    def auth(self, image: str) -> Mapping[str, Any]:
        """Read the login for an image's registry afresh; empty where there is none.

        Raises:
            EngineRefusedError: the Docker configuration cannot be used.
        """
        return registry_auth(self._config_dir, parse_reference(image))

    def stored_or_fresh_auth(self, image: str) -> Mapping[str, Any]:
        """Read the login afresh; empty, which keeps the one that the engine has, where that fails."""
        try:
            return self.auth(image)
        except EngineRefusedError:
            return {}

    def platforms(self, reference: ImageReference, auth: Mapping[str, Any]) -> tuple[Json, ...] | None:
        """Ask the registry what an image was built for; None where it does not tell."""
        with translated(f"ask what {reference.name} was built for"):
            try:
                answer = self._sdk.inspect_distribution(reference.name, auth_config=dict(auth))
            except docker.errors.APIError:
                return None
        return read_platforms(answer.get("Platforms") or ())

    def local_image(self, name: str) -> Json | None:
        """Look at an image that this node has; None where it has none of that name."""
        with translated(f"inspect the image {name}"):
            try:
                image: Json = self._sdk.inspect_image(name)
            except docker.errors.NotFound:
                return None
        return image

    def is_on_host_network(self, spec: Json) -> bool:
        """Tell whether the tasks of a service share the network of their node."""
        networks = (spec.get("TaskTemplate") or {}).get("Networks") or spec.get("Networks") or ()
        targets = {network.get("Target") for network in networks}
        if not targets:
            return False
        with translated("inspect the network host"):
            return bool(targets & {"host", self._sdk.inspect_network("host", scope="swarm")["Id"]})

    def task_log(self, task_id: str, *, tty: bool, lines: int) -> str:
        """Read the last lines a task wrote, also one that has ended; empty where they cannot be had."""
        try:
            return self._log(f"/tasks/{task_id}/logs", tty=tty, lines=lines)
        except (EngineRefusedError, EngineUnavailableError):
            # The node that has them may be down: that must not hide how the update went.
            return ""

    def service_log(self, service_id: str, *, tty: bool, lines: int) -> str:
        """Read the last lines that the tasks of a service wrote, in order of time."""
        return self._log(f"/services/{service_id}/logs", tty=tty, lines=lines)

    def _log(self, path: str, *, tty: bool, lines: int) -> str:
        parameters = {"stdout": 1, "stderr": 1, "tail": max(lines, 0), "timestamps": 1}
        with translated("read output of the service"):
            response = self._sdk.get(self._sdk._url(path), params=parameters, timeout=_LOG_LIMIT_S)
            if response.status_code == 404:
                return ""
            self._sdk._raise_for_status(response)
        return output.in_order(response.content, tty=tty, lines=lines)


def read_platforms(platforms: Iterable[Json]) -> tuple[Json, ...]:
    """Make Placement.Platforms of what a registry tells, as the engine's own client does.

    docker/swarmkit#2294: an image says `arm` where the node says `armv7l`, so the architecture is left open there.
    """
    found = []
    for platform in platforms:
        architecture = platform.get("architecture") or platform.get("Architecture") or ""
        system = platform.get("os") or platform.get("OS") or ""
        found.append({"Architecture": "" if architecture == "arm" else architecture, "OS": system})
    return tuple(found)


def _view(service: Json, tasks: Iterable[Json], nodes: Nodes) -> View:
    ordered = sorted(tasks, key=itemgetter("CreatedAt"))
    return View(service=service, tasks=tuple(read_task(task, nodes) for task in ordered), nodes=nodes)
