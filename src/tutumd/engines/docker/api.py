"""The calls to one Docker Engine that this engine makes, each with a limit and with our errors."""

import io
import json
import tarfile
from base64 import b64decode
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import docker.errors

from tutumd.engines.docker.inline import FileStat
from tutumd.engines.docker.inspect.inspected_container import InspectedContainer, see
from tutumd.engines.docker.platforms import EngineFacts, Manifest, facts, manifest
from tutumd.engines.docker.recreate.podman import container_as_docker, image_as_docker
from tutumd.engines.docker.swap.steps import SwapStep
from tutumd.engines.dockerapi.connection import CALL_LIMIT_S, Client
from tutumd.engines.dockerapi.failures import explanation, looking, translated
from tutumd.engines.dockerapi.output import tail
from tutumd.engines.dockerapi.registry import pull
from tutumd.engines.images.auth import registry_auth
from tutumd.engines.images.reference import NO_REGISTRY, ImageReference
from tutumd.engines.labels import Json
from tutumd.errors import EngineRefusedError
from tutumd.ports import Run

_DEFAULT_STOP_S = 10
_MANY_ENDPOINTS = (1, 44)


class DockerApi:
    """One engine, through its client.

    Args:
        config_dir: The Docker client's configuration folder, with the registry logins.
    """

    def __init__(self, client: Client, config_dir: str | None) -> None:
        self._client = client
        self._config_dir = config_dir
        # The SDK's stubs do not cover all that is called here.
        self._api: Any = client

    # Looking

    def containers(self) -> tuple[InspectedContainer, ...]:
        """Look at all containers, running or not."""
        images: dict[str, Json | None] = {}
        found = (self.look(one["Id"], images) for one in self.listed())
        return tuple(one for one in found if one is not None)

    def listed(self) -> tuple[Json, ...]:
        """List all containers, running or not."""
        with looking("list the containers"):
            return tuple(self._api.containers(all=True))

    def container(self, reference: str) -> InspectedContainer | None:
        """Look at one container by ID or name; None where there is none."""
        return self.look(reference, {})

    def look(self, reference: str, images: dict[str, Json | None]) -> InspectedContainer | None:
        """Look at one container by ID or name; None where there is none.

        Args:
            images: Inspect documents by ID, as they are known; added to.
        """
        with looking(f"look at the container {reference[:64]}"):
            try:
                raw: Json = self._api.inspect_container(reference)
            except docker.errors.NotFound:
                return None
            image_id = raw.get("Image", "")
            if image_id not in images:
                images[image_id] = self.image(image_id) if image_id else None
            image = images[image_id]
            if self._client.is_podman:
                raw, image = container_as_docker(raw, image)
        return see(raw, image)

    def image(self, reference: str) -> Json | None:
        """Look at an image by ID or name; None where there is none."""
        with translated(f"look at the image {reference}"):
            try:
                answer: Json = self._api.inspect_image(reference)
            except docker.errors.NotFound:
                return None
            return image_as_docker(self._with_health_check(answer)) if self._client.is_podman else answer

    def facts(self) -> EngineFacts:
        """Look at the engine itself."""
        with looking("look at the engine"):
            info, version = self._api.info(), self._api.version()
        return facts(info, version, is_podman=self._client.is_podman)

    def manifest(self, reference: ImageReference) -> Manifest:
        """Ask the registry what a name stands for now, with the login that the Docker client has now.

        Raises:
            EngineRefusedError: the registry does not know it, or does not let us see it, or cannot be reached.
        """
        with translated(f"find {reference.name} in its registry"):
            auth = registry_auth(self._config_dir, reference)
            # An empty auth_config is sent as such; None would make the SDK use what it read when it was built.
            answer = self._api.inspect_distribution(reference.name, auth_config=dict(auth))
        return manifest(answer)

    def has_been_pushed(self, reference: ImageReference) -> bool:
        """Tell whether the registry has an image with this digest, in the repository of its name.

        Raises:
            EngineRefusedError: it cannot be reached, or may only not let us see a user's repository.
        """
        try:
            self.manifest(reference)
        except EngineRefusedError as error:
            status = getattr(getattr(error.__cause__, "response", None), "status_code", None)
            # Repositories of Docker Hub without a user can be seen by everybody, so that a denial means: none.
            missing = status == 404 or (status in (401, 403) and reference.path.startswith("library/"))
            if missing or reference.registry == NO_REGISTRY:
                return False
            hint = f"name what was built here {NO_REGISTRY}/{reference.repository}"
            raise EngineRefusedError(f"{error}; {hint}") from error
        return True

    def all_images(self) -> tuple[Json, ...]:
        """List the images, in few words each."""
        with translated("list the images"):
            images = self._api.images(all=False)
            return tuple(image_as_docker(one) if self._client.is_podman else one for one in images)

    def changed_files(self, container: str) -> tuple[str, ...]:
        """List the paths of a container's own file system that its image does not have, or has otherwise."""
        with translated(f"list the changed files of {container[:12]}"):
            # Engine API ContainerChanges: kind 2 is "deleted".
            return tuple(entry["Path"] for entry in self._api.diff(container) or () if entry["Kind"] != 2)

    def file_stat(self, container: str, path: str) -> FileStat | None:
        """Look at a path inside a container; None where there is none."""
        with translated(f"look at {path} in {container[:12]}"):
            answer = self._api.head(self._archive(container), params={"path": path}, timeout=CALL_LIMIT_S)
        if answer.status_code != 200:
            return None
        stat = json.loads(b64decode(answer.headers["X-Docker-Container-Path-Stat"]))
        return FileStat(path=path, size=stat["size"], mode=stat["mode"], modified=stat["mtime"])

    def read_file(self, container: str, path: str) -> bytes:
        """Read a file out of a container, as a tar archive with one entry."""
        with translated(f"read {path} of {container[:12]}"):
            answer = self._api.get(self._archive(container), params={"path": path}, timeout=CALL_LIMIT_S)
            self._api._raise_for_status(answer)
        return bytes(answer.content)

    def output(self, container: str, lines: int) -> str:
        """Read the last lines that a container wrote."""
        return tail(self._client, container, lines)

    # Changing

    def pull(self, reference: ImageReference, run: Run) -> None:
        """Pull an image, with the login that the Docker client has now."""
        pull(self._client, reference, registry_auth(self._config_dir, reference), run)

    def write_file(self, container: str, path: str, archive: bytes, modified: datetime) -> None:
        """Put a file that `read_file` gave where it was, in a container that does not run yet; folders are made.

        Args:
            modified: The time that the file will show, in whole seconds.
        """
        with tarfile.open(fileobj=io.BytesIO(archive)) as given:
            entry = given.next()
            content = given.extractfile(entry) if entry is not None else None
            if entry is None or content is None:
                raise EngineRefusedError(f"{path} is no file that could be copied into {container[:12]}")
            out = io.BytesIO()
            with tarfile.open(fileobj=out, mode="w") as made:
                entry.name, entry.mtime = path.lstrip("/"), int(modified.timestamp())
                entry.pax_headers = {}
                made.addfile(entry, content)
        with translated(f"write {path} into {container[:12]}"):
            self._api.put_archive(container, "/", out.getvalue())

    def create(self, name: str, body: Mapping[str, Any]) -> str:
        """Create a container and return its ID; of several networks, those beyond the first are connected too."""
        config = {key: value for key, value in body.items() if key != "NetworkingConfig"}
        networks = dict(body["NetworkingConfig"]["EndpointsConfig"])
        first, later = networks, {}
        with translated(f"create the container {name}"):
            if tuple(map(int, self._client.api_version.split("."))) < _MANY_ENDPOINTS:
                mode = body["HostConfig"].get("NetworkMode")
                first = {key: value for key, value in networks.items() if key in (mode, "bridge")}
                later = {key: value for key, value in networks.items() if key not in first}
            config["NetworkingConfig"] = {"EndpointsConfig": first}
            created: str = self._api.create_container_from_config(config, name)["Id"]
        for network, endpoint in later.items():
            self._connect(created, network, endpoint)
        return created

    def apply(self, step: SwapStep) -> None:
        """Do one step of a swap; a step that was done already changes nothing."""
        with translated(f"{step.verb} the container {step.container[:12]}"):
            if step.verb == "policy":
                self._api.update_container(step.container, restart_policy=dict(step.policy or {}))
            elif step.verb == "rename":
                self._api.rename(step.container, step.name)
            elif step.verb == "start":
                self._api.start(step.container)
            elif step.verb == "pause":
                self._api.pause(step.container)
        if step.verb == "connect":
            self._connect(step.container, step.network, step.endpoint or {})
        elif step.verb == "disconnect":
            self._disconnect(step.container, step.network)
        elif step.verb == "stop":
            self.stop(step.container)
        elif step.verb == "remove":
            self.remove(step.container, volumes=True)

    def start(self, container: str) -> None:
        """Start a container."""
        with translated(f"start the container {container[:12]}"):
            self._api.start(container)

    def unpause(self, container: str) -> None:
        """Let a paused container go on."""
        with translated(f"unpause the container {container[:12]}"):
            self._api.unpause(container)

    def stop(self, container: str) -> None:
        """Stop a container by its own signal, within its own grace period; nothing where it is gone."""
        seen = self.container(container)
        if seen is None:
            return
        grace = (seen.raw.get("Config") or {}).get("StopTimeout")
        grace_s = _DEFAULT_STOP_S if grace is None else max(int(grace), 0)
        if seen.status == "paused" and self._client.is_podman:
            # Docker stops a paused container as well; Podman refuses to.
            self.unpause(container)
        with translated(f"stop the container {seen.name}"):
            # Without `t` the engine takes the container's own StopTimeout; the SDK would wait for 30 s only.
            address = self._api._url("/containers/{0}/stop", container)
            answer = self._api.post(address, timeout=CALL_LIMIT_S + grace_s)
            self._api._raise_for_status(answer)

    def remove(self, container: str, *, volumes: bool) -> None:
        """Remove a container, running or not; nothing where it is gone.

        Args:
            volumes: With the anonymous volumes that were made for it and that nothing else uses.
        """
        with translated(f"remove the container {container[:12]}"):
            try:
                self._api.remove_container(container, v=volumes, force=True)
            except docker.errors.NotFound:
                return
            except docker.errors.APIError as error:
                if "already in progress" not in explanation(error):
                    raise

    def tag(self, image: str, repository: str, tag: str) -> None:
        """Let a name mean an image."""
        with translated(f"tag the image {image}"):
            self._api.tag(image, repository, tag, force=True)

    def remove_image(self, image: str) -> bool:
        """Remove an image that nothing uses; False where something does."""
        with translated(f"remove the image {image}"):
            try:
                self._api.remove_image(image)
            except docker.errors.APIError as error:
                if error.response is not None and error.response.status_code in (404, 409):
                    return False
                raise
        return True

    # Inside

    def _archive(self, container: str) -> str:
        return str(self._api._url("/containers/{0}/archive", container))

    def _with_health_check(self, image: Json) -> Json:
        # Podman leaves the health check out of what it shows as Docker. Its own API has it, since version 4.
        address = f"{self._api.base_url}/v4.0.0/libpod/images/{image['Id']}/json"
        answer = self._api.get(address, timeout=CALL_LIMIT_S)
        self._api._raise_for_status(answer)
        check = answer.json().get("Healthcheck")
        return {**image, "Config": {**image["Config"], "Healthcheck": check}} if check else image

    def _disconnect(self, container: str, network: str) -> None:
        with translated(f"disconnect {container[:12]} from the network {network}"):
            try:
                self._api.disconnect_container_from_network(container, network)
            except docker.errors.APIError as error:
                if "is not connected" not in explanation(error):
                    raise

    def _connect(self, container: str, network: str, endpoint: Json) -> None:
        with translated(f"connect {container[:12]} to the network {network}"):
            address = self._api._url("/networks/{0}/connect", network)
            answer = self._api.post(
                address, json={"Container": container, "EndpointConfig": dict(endpoint)}, timeout=CALL_LIMIT_S
            )
            self._api._raise_for_status(answer)
