"""Requests to the engine about services, tasks and nodes; each with a time limit, each error translated."""

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from operator import itemgetter
from typing import Any, cast

import docker.auth
import docker.errors

from tutumd.engines.dockerapi.connection import Client
from tutumd.engines.dockerapi.failures import translated
from tutumd.engines.dockerapi.registry import registry_auth
from tutumd.engines.labels import ACTION, IGNORE, Json, parse_reference
from tutumd.engines.output import Source, merge_output, since_of
from tutumd.engines.rollout import LOG_LINES, StaleError
from tutumd.engines.swarm import spec as specs
from tutumd.engines.swarm.view import Nodes, ServiceView, Task, read_nodes, read_task
from tutumd.errors import EngineRefusedError, EngineUnavailableError
from tutumd.model import Output

_LOG_LIMIT_S = 10
# Docker Engine API v1.44 ServiceLogs: with `details`, attributes stand between the time and the text of a line.
_DETAILS = re.compile(r"(?P<time>\S+) \S*com\.docker\.swarm\.task\.id=(?P<task>\w+)\S* (?P<text>.*)")


class SwarmApi:
    """The API of a swarm, through the connection to one manager."""

    def __init__(self, client: Client, config_dir: str | None) -> None:
        # The SDK's types omit the methods for tasks and nodes and the private methods used here.
        self._sdk: Any = client
        self.client = client
        self._config_dir = config_dir

    def views(self) -> tuple[ServiceView, ...]:
        """Return all services by name."""
        by_service: dict[str, list[Json]] = {}
        with translated("list the services of the swarm", reading=True):
            services = self._sdk.services()
            for task in self._sdk.tasks():
                by_service.setdefault(task.get("ServiceID", ""), []).append(task)
            nodes = read_nodes(self._sdk.nodes())
        return tuple(
            sorted(
                [_view(service, by_service.get(service["ID"], []), nodes) for service in services],
                key=lambda view: str(view.spec["Name"]),
            )
        )

    def view(self, name: str) -> ServiceView | None:
        """Return one service; None if it is gone."""
        with translated(f"inspect the service {name}", reading=True), suppress(docker.errors.NotFound):
            service = self._sdk.inspect_service(name)
            # The engine also accepts the start of an ID as a name.
            if service["Spec"]["Name"] == name:
                tasks = self._sdk.tasks(filters={"service": service["ID"]})
                return _view(service, tasks, read_nodes(self._sdk.nodes()))
        return None

    def shown_view(self, name: str) -> ServiceView | None:
        """Return one service; None if it is gone. Raises EngineRefusedError if the service must be ignored."""
        view = self.view(name)
        if view is not None and not specs.is_shown(view.spec):
            raise EngineRefusedError(f"the service {name} is left as it is: it has the label {IGNORE}")
        return view

    def require_view(self, name: str) -> ServiceView:
        """Return one service. Raises EngineRefusedError if the service is gone or must be ignored."""
        view = self.shown_view(name)
        if view is None:
            raise EngineRefusedError(f"the service {name} is gone from the swarm")
        return view

    def update(self, view: ServiceView, spec: Json, auth: Mapping[str, Any]) -> None:
        """Replace the specification of the given view's service.

        Args:
            auth: Registry login that the engine keeps for the workers; empty keeps the present login.

        Raises:
            StaleError: The service has changed since.
        """
        name = view.spec["Name"]
        with translated(f"update the service {name}"):
            try:
                response = self._sdk._post_json(
                    self._sdk._url("/services/{0}/update", view.service["ID"]),
                    data=dict(spec),
                    params={"version": view.service["Version"]["Index"]},
                    headers=_auth_headers(auth),
                )
                self._sdk._raise_for_status(response)
            except docker.errors.APIError as error:
                # moby/swarmkit#1379: an HTTP 500 that only its text distinguishes.
                if "update out of sequence" in str(error.explanation):
                    raise StaleError(f"the service {name} changed while it was updated") from error
                raise

    def create(self, spec: Json, auth: Mapping[str, Any]) -> None:
        """Create a service unless its name exists. `auth` as in `update`."""
        name = spec["Name"]
        with translated(f"create the service {name}"):
            response = self._sdk._post_json(
                self._sdk._url("/services/create"), data=dict(spec), headers=_auth_headers(auth)
            )
            # Docker Engine API v1.44 ServiceCreate: 409 is "name conflicts with an existing service".
            if response.status_code != 409:
                self._sdk._raise_for_status(response)

    def remove(self, name: str, action_uuid: str) -> None:
        """Remove a service that an action has created; do nothing if it is gone, or belongs to somebody else."""
        with translated(f"remove the service {name}"), suppress(docker.errors.NotFound):
            if specs.label_sets(self._sdk.inspect_service(name)["Spec"])[0].get(ACTION) == action_uuid:
                self._sdk.remove_service(name)

    def auth(self, image: str) -> Mapping[str, Any]:
        """Return the current login for an image's registry from the Docker configuration; empty if there is none.

        Raises:
            EngineRefusedError: The Docker configuration cannot be used.
        """
        return registry_auth(self._config_dir, parse_reference(image))

    def stored_or_fresh_auth(self, image: str) -> Mapping[str, Any]:
        """Return the same login; if it cannot be read, an empty login, which keeps the engine's login."""
        try:
            return self.auth(image)
        except EngineRefusedError:
            return {}

    def local_image(self, name: str) -> Json | None:
        """Return an image of this node; None if the node has no image of that name."""
        with translated(f"inspect the image {name}", reading=True), suppress(docker.errors.NotFound):
            return cast(Json, self._sdk.inspect_image(name))
        return None

    def is_on_host_network(self, spec: Json) -> bool:
        """Return whether the tasks of a service share the network of their node."""
        networks = (spec.get("TaskTemplate") or {}).get("Networks") or spec.get("Networks") or ()
        targets = {network.get("Target") for network in networks}
        if not targets:
            return False
        with translated("inspect the network host"):
            return bool(targets & {"host", self._sdk.inspect_network("host", scope="swarm")["Id"]})

    def log_tail(self, view: ServiceView, task: Task | None) -> str:
        """Return the last lines of a task, also of an ended task; empty without a task, or if the lines cannot be
        read.
        """
        if task is not None:
            # The task's node may be down: that must not hide the result of the update.
            with suppress(EngineRefusedError, EngineUnavailableError):
                output = self._log(f"/tasks/{task.id}/logs", view, LOG_LINES)
                return merge_output([Source(id=task.id, text=output)], LOG_LINES).text
        return ""

    def log(self, view: ServiceView, lines: int, after: Mapping[str, str] | None) -> Output:
        """Return the last lines of a service, as `Engine.logs` of tutumd.ports."""
        since = since_of(after, [task.id for task in view.tasks])
        extra = {"details": 1} | ({"since": int(since.timestamp())} if since else {})
        by_task: dict[str, list[str]] = {}
        for line in self._log(f"/services/{view.service['ID']}/logs", view, lines, extra).split("\n"):
            if match := _DETAILS.fullmatch(line):
                by_task.setdefault(match["task"], []).append(f"{match['time']} {match['text']}")
        names = {task.id: f"{view.spec['Name']}.{task.slot} | " for task in view.tasks}
        labels = names if len(set(names.values())) > 1 else {}
        sources = [
            Source(id=task, text="\n".join(of_task), label=labels.get(task, "")) for task, of_task in by_task.items()
        ]
        return merge_output(sources, lines, after)

    def _log(self, path: str, view: ServiceView, lines: int, extra: Mapping[str, int] | None = None) -> str:
        """Return the last lines of a service, or of one of its tasks, each with its time."""
        parameters = {"stdout": 1, "stderr": 1, "tail": max(lines, 0), "timestamps": 1, **(extra or {})}
        with translated("read output of the service"):
            response = self._sdk.get(self._sdk._url(path), params=parameters, timeout=_LOG_LIMIT_S)
            if response.status_code == 404:
                return ""
            output: bytes = self._sdk._get_result_tty(False, response, bool(specs.container_spec(view.spec).get("TTY")))
        return output.decode(errors="replace")


def _auth_headers(auth: Mapping[str, Any]) -> dict[str, str]:
    return {"X-Registry-Auth": docker.auth.encode_header(dict(auth)).decode()} if auth else {}


def _view(service: Json, tasks: Iterable[Json], nodes: Nodes) -> ServiceView:
    return ServiceView(
        service=service,
        tasks=tuple(read_task(task, nodes) for task in sorted(tasks, key=itemgetter("CreatedAt"))),
        nodes=nodes,
    )
