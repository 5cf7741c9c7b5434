"""Calls to one Docker Engine, each with a time limit and with errors translated to tutumd's."""

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

import docker.errors
from docker.utils import decode_json_header

from tutumd.engines.docker.look.containers import InspectedContainer, parse_container
from tutumd.engines.docker.look.facts import EngineFacts, foreign_part, parse_facts
from tutumd.engines.docker.look.podman import container_as_docker, image_as_docker
from tutumd.engines.docker.plan.journal import SwapStep
from tutumd.engines.dockerapi.connection import CALL_LIMIT_S, Client
from tutumd.engines.dockerapi.failures import changing, explanation, is_temporary, translated
from tutumd.engines.dockerapi.registry import Manifest, inspect_manifest, pull, registry_auth
from tutumd.engines.labels import ACTION, ACTION_TIMEOUT, INSTALLATION, ImageReference, Json
from tutumd.engines.output import MAX_BYTES
from tutumd.errors import EngineRefusedError, EngineUnavailableError
from tutumd.ports import Run

_DEFAULT_STOP_S = 10


class DockerApi:
    """One engine. Methods that change something take the run, and call `Run.check` first.

    Args:
        config_dir: The Docker client's configuration folder, with the registry logins.
        installation: ID of this installation, by which other installations recognize its objects; empty if it has none.
        timeout_s: Maximum duration of an action in seconds, unless a service's label sets another.

    Attributes:
        client: The SDK's client.
        installation: As given.
        known_images: Inspect documents by ID since the last look at a service; None for an image that is gone.
    """

    def __init__(self, client: Client, config_dir: str | None, installation: str = "", timeout_s: float = 0) -> None:
        self.installation = installation
        self._timeout_s = timeout_s
        # The SDK's stubs lack some of the methods that are used here.
        self.client: Any = client
        self._config_dir = config_dir
        self.known_images: dict[str, Json | None] = {}
        self._facts: EngineFacts | None = None

    def forget(self) -> None:
        """Let cached facts about images and the engine expire."""
        self.known_images, self._facts = {}, None

    def list_containers(self) -> tuple[Json, ...]:
        """Return the list entries of all containers, running or not."""
        with translated("list the containers", reading=True):
            return tuple(self.client.containers(all=True))

    def container(self, reference: str, known: dict[str, Json | None] | None = None) -> InspectedContainer | None:
        """Inspect a container by ID or name; None if there is none.

        Args:
            known: Inspect documents by image ID. The container's image is added.
        """
        images = self.known_images if known is None else known
        attempt = f"look at the container {reference[:64]}"
        try:
            with translated(attempt, reading=True), suppress(docker.errors.NotFound):
                raw: Json = self.client.inspect_container(reference)
                image_id = raw.get("Image", "")
                if image_id not in images:
                    images[image_id] = self.image(image_id, reading=True) if image_id else None
                image = images[image_id]
                if self.client.is_podman:
                    raw, image = container_as_docker(raw, image)
                return parse_container(raw, image)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise EngineUnavailableError(
                f"cannot {attempt}: the engine returned an invalid description of it"
            ) from error
        return None

    def image(self, reference: str, *, reading: bool = False) -> Json | None:
        """Return the inspect document of an image, given by ID or name; None if there is none.

        Args:
            reading: As in `translated`.
        """
        with translated(f"look at the image {reference}", reading=reading), suppress(docker.errors.NotFound):
            image: Json = self.client.inspect_image(reference)
            if self.client.is_podman:
                # Podman's own API has the health check since version 4; its Docker API omits it.
                return image_as_docker(image, self.podman_details("images", image["Id"]))
            return image
        return None

    def podman_details(self, kind: str, reference: str) -> Json:
        """Return the inspect document of Podman's own API; `kind` is `images` or `containers`."""
        with translated(f"look at {reference[:64]}", reading=True):
            return dict(self._send("GET", f"{self.client.base_url}/v4.0.0/libpod/{kind}/{reference}/json").json())

    def facts(self) -> EngineFacts:
        """Return facts about the engine itself."""
        if self._facts is None:
            with translated("look at the engine", reading=True):
                self._facts = parse_facts(self.client.info(), self.client.version())
        return self._facts

    def manifest(self, reference: ImageReference) -> Manifest:
        """Return the registry's manifest of a name, using the current login of the Docker client.

        Raises:
            EngineRefusedError: The registry does not know the name, denies access, or cannot be reached.
        """
        return inspect_manifest(
            self.client, reference, registry_auth(self._config_dir, reference), f"find {reference.name} in its registry"
        )

    def images(self) -> tuple[Json, ...]:
        """Return the list entries of all images."""
        with translated("list the images"):
            return tuple(
                image_as_docker(image, {}) if self.client.is_podman else image
                for image in self.client.images(all=False)
            )

    def pulled_by_digest(self) -> set[str]:
        """Return the names by digest of recent pulls by anybody, as far as the engine still knows."""
        self.forget()  # for the present time of the engine
        with translated("list the last pulls"):
            events = self._past_events({"type": ["image"], "event": ["pull"]}, 0, self.facts().now.timestamp())
        names = {str((event.get("Actor") or {}).get("ID", "")) for event in events}
        return {name for name in names if "@" in name}

    def changed_files(self, container: str) -> tuple[str, ...]:
        """Return the paths at which a container's file system differs from its image, without deleted paths."""
        with translated(f"list the changed files of {container[:12]}"):
            # Docker Engine API ContainerChanges: kind 2 means "deleted".
            return tuple(entry["Path"] for entry in self.client.diff(container) or () if entry["Kind"] != 2)

    def file_stat(self, container: str, path: str) -> Json | None:
        """Return `size`, `mode` and `mtime` of a path inside a container; None if there is no such path."""
        with translated(f"look at {path} in {container[:12]}"), suppress(docker.errors.NotFound):
            response = self._send("HEAD", self.client._url("/containers/{0}/archive", container), params={"path": path})
            return dict(decode_json_header(response.headers["X-Docker-Container-Path-Stat"]))
        return None

    def read_file(self, container: str, path: str) -> bytes:
        """Return a file inside a container as a tar archive with one entry."""
        with translated(f"read {path} of {container[:12]}"):
            return bytes(
                self._send("GET", self.client._url("/containers/{0}/archive", container), params={"path": path}).content
            )

    def output(self, container: str, lines: int, since: datetime | None = None, *, dated: bool = False) -> str:
        """Return the last lines of a container's output, at most 64 KiB; empty if the container is gone.

        If its log driver cannot be read, the text says so.

        Args:
            dated: Whether each line begins with its time.
        """
        with translated(f"read the output of {container[:12]}"):
            try:
                output = self.client.logs(
                    container, timestamps=dated, tail=max(lines, 0), since=since and int(since.timestamp())
                )
            except (docker.errors.NotFound, docker.errors.NullResource):
                return ""
            except docker.errors.APIError as error:
                if is_temporary(error):
                    raise
                return f"{'1970-01-01T00:00:00Z ' if dated else ''}(no output: {explanation(error)})"
        return bytes(output)[-MAX_BYTES:].decode(errors="replace").rstrip("\n")

    def last_exit_code(self, container: InspectedContainer, ended: datetime) -> int | None:
        """Return the exit code of a container that runs again. Only the engine's latest events have it.

        None if they do not have it.
        """
        at = ended.timestamp()
        chosen = {"type": ["container"], "event": ["die"], "container": [container.id]}
        with suppress(EngineRefusedError, LookupError, ValueError), translated(f"find how {container.name} ended"):
            return int(self._past_events(chosen, at - 1, at + 1)[-1]["Actor"]["Attributes"]["exitCode"])
        return None

    def network(self, name: str) -> Json:
        """Return the inspect document of a network; empty if there is none."""
        with translated(f"look at the network {name}", reading=True), suppress(docker.errors.NotFound):
            return dict(self.client.inspect_network(name))
        return {}

    # Changes

    def pull(self, reference: ImageReference, run: Run, platform: str = "") -> None:
        """Pull an image, using the current login of the Docker client. An empty platform means the engine's own."""
        pull(self.client, reference, registry_auth(self._config_dir, reference), run, platform)

    def write_files(self, container: str, archive: bytes, run: Run) -> None:
        """Write the files of a tar archive into a container that is not started yet; folders are created."""
        with changing(run, f"write a file into {container[:12]}"):
            self.client.put_archive(container, "/", archive)

    def create(self, name: str, body: Mapping[str, Any], run: Run) -> str:
        """Create a container, connected to all of its networks, and return its ID. `Platform` is its image's.

        Its labels name the action, the action's time limit, and the installation.
        """
        config = {field: value for field, value in body.items() if field not in ("NetworkingConfig", "Platform")}
        creator = {
            ACTION: run.action_uuid,
            ACTION_TIMEOUT: str(math.ceil(self._timeout_s)),
            INSTALLATION: self.installation,
        }
        config["Labels"] = {**(body.get("Labels") or {}), **{label: value for label, value in creator.items() if value}}
        platform = foreign_part(body.get("Platform", ""), self.facts())
        networks = dict(body["NetworkingConfig"]["EndpointsConfig"])
        mode = body["HostConfig"].get("NetworkMode")
        with changing(run, f"create the container {name}"):
            # Since API version 1.44, a new container can be connected to several networks at once.
            takes_all = tuple(map(int, self.client.api_version.split("."))) >= (1, 44)
            later = {} if takes_all else {key: networks[key] for key in networks if key not in (mode, "bridge")}
            config["NetworkingConfig"] = {
                "EndpointsConfig": {key: endpoint for key, endpoint in networks.items() if key not in later}
            }
            created: str = self.client.create_container_from_config(config, name, platform)["Id"]
        for network, endpoint in later.items():
            self._connect(created, network, endpoint, run)
        return created

    def apply(self, step: SwapStep, run: Run) -> None:
        """Apply one step of a swap, as decided from the current state."""
        match step.verb:
            case "stop":
                self.stop(step.container, run)
            case "remove":
                self.remove(step.container, run, volumes=True)
            case "connect":
                self._connect(step.container, step.network, step.endpoint or {}, run)
            case "disconnect":
                self._disconnect(step.container, step.network, run)
            case _:
                calls: dict[str, tuple[Any, dict[str, Any]]] = {
                    "policy": (self.client.update_container, {"restart_policy": dict(step.policy or {})}),
                    "rename": (self.client.rename, {"name": step.name}),
                    "start": (self.client.start, {}),
                    "pause": (self.client.pause, {}),
                    "unpause": (self.client.unpause, {}),
                }
                call, arguments = calls[step.verb]
                with changing(run, f"{step.verb} the container {step.container[:12]}"):
                    call(step.container, **arguments)

    def stop(self, container: str, run: Run) -> None:
        """Stop a container with its own signal and grace period. A missing container is ignored."""
        inspected = self.container(container)
        if inspected is None:
            return
        grace_s = max(int((inspected.raw.get("Config") or {}).get("StopTimeout") or _DEFAULT_STOP_S), 0)
        if inspected.status == "paused" and self.client.is_podman:
            # Docker stops a paused container; Podman refuses.
            self.apply(SwapStep(verb="unpause", container=container), run)
        try:
            with changing(run, f"stop the container {inspected.name}"):
                # Without `t` the engine uses the container's own StopTimeout. The SDK would wait for only 30 s.
                self._send("POST", self.client._url("/containers/{0}/stop", container), timeout=CALL_LIMIT_S + grace_s)
        except EngineRefusedError:
            # A container that has stopped counts as stopped, even if the engine could not clean up afterwards.
            left = self.container(container)
            if left is not None and left.is_active:
                raise

    def remove(self, container: str, run: Run, *, volumes: bool) -> None:
        """Remove a container, running or not. A missing container is ignored.

        Args:
            volumes: Remove the container's anonymous volumes that no other container uses.
        """
        with changing(run, f"remove the container {container[:12]}"), suppress(docker.errors.NotFound):
            try:
                self.client.remove_container(container, v=volumes, force=True)
            except docker.errors.APIError as error:
                if "already in progress" not in explanation(error):
                    raise

    def tag(self, image: str, repository: str, tag: str, run: Run) -> None:
        """Give an image a name."""
        with changing(run, f"tag the image {image}"):
            self.client.tag(image, repository, tag, force=True)

    def remove_image(self, image: str, run: Run) -> bool:
        """Remove an image; return False if it is in use or missing."""
        with changing(run, f"remove the image {image}"):
            try:
                self.client.remove_image(image)
            except docker.errors.APIError as error:
                if error.response is not None and error.response.status_code in (404, 409):
                    return False
                raise
        return True

    def _past_events(self, chosen: Mapping[str, list[str]], since: float, until: float) -> list[Json]:
        """Return events by the engine's clock. Docker keeps the last 256 events of all kinds until it is restarted.

        Args:
            until: A time in the past; otherwise, the stream would stay open.
        """
        period = {"since": f"{since:.3f}", "until": f"{until:.3f}", "filters": json.dumps(chosen)}
        return [
            json.loads(line)
            for line in self._send("GET", self.client._url("/events"), params=period).text.splitlines()
            if line
        ]

    def _send(self, method: str, url: str, **options: Any) -> Any:
        """Send a request for which the SDK has no suitable method, and return the response unless it is an error."""
        response = self.client.request(method, url, **options)
        self.client._raise_for_status(response)
        return response

    def _disconnect(self, container: str, network: str, run: Run) -> None:
        with changing(run, f"disconnect {container[:12]} from the network {network}"):
            try:
                self.client.disconnect_container_from_network(container, network)
            except docker.errors.APIError as error:
                if "is not connected" not in explanation(error):
                    raise

    def _connect(self, container: str, network: str, endpoint: Json, run: Run) -> None:
        with changing(run, f"connect {container[:12]} to the network {network}"):
            self._send(
                "POST",
                self.client._url("/networks/{0}/connect", network),
                json={"Container": container, "EndpointConfig": dict(endpoint)},
            )
