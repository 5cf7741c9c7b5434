"""A private Docker Engine with Swarm and two registries, in a network namespace of its own, while the tests run.

It shares nothing with the rest of the machine: it has its own namespace (bridges, ports, firewall), data folder,
socket, client configuration and control group. Use it through the fixtures of `tests/conftest.py`:

    def test_something(clean_bed: DockerBed) -> None:      # or docker_bed, when nothing is to be removed afterwards
        clean_bed.push("app", "v1")                         # 127.0.0.1:5000/app:latest now is version v1
        clean_bed.docker("run", "-d", "--name", "web", f"{ANONYMOUS}/app")
        clean_bed.push("app", "v2")
        ...

- Versions (`images.py`): `v1`, `v2` (another label, one more variable), `v3-broken` (says why and exits with 3 at
  once), `unhealthy`, `healthy`. All are loaded as `app:VERSION`. They serve their version on port 8080 (`PORT` changes
  it), and end at once on SIGTERM.
- The registry `ANONYMOUS` takes everything; `PRIVATE` wants `USER` and `PASSWORD`, which `bed.login()` writes into the
  bed's client configuration.

The engine is a Swarm manager. Without IPVS in the kernel, Swarm's virtual addresses and ingress carry no traffic: use
`--endpoint-mode dnsrr`, and no ports or `mode=host` ones.
"""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Self
from urllib.request import urlopen

from docker import APIClient
from docker.errors import APIError, NotFound

from tests.support import leftovers, namespace
from tests.support.images import VERSIONS, Image, archive
from tests.support.leaks import END_S
from tests.support.programs import Finished, end, finished
from tests.support.registry import ANONYMOUS, PASSWORD, PRIVATE, USER, Registry
from tests.support.waiting import wait_until

__all__ = ["ANONYMOUS", "PASSWORD", "PRIVATE", "USER", "DockerBed"]


_OWN_NETWORKS = ("bridge", "host", "none", "docker_gwbridge", "ingress", "podman")


class DockerBed:
    """One private engine and its registries; see the module's text."""

    _is_swarm = True

    def __init__(
        self, suffix: str = "", *, images_of: "DockerBed | None" = None, settings: Mapping[str, object] | None = None
    ) -> None:
        """Set the names; `start` makes everything.

        Args:
            suffix: Tells apart several beds at a time.
            images_of: The bed of the manager, where this one is a worker: its registries have the same images.
            settings: The engine's own, as its `daemon.json` has them.
        """
        self._daemon_json = settings or {}
        self._is_manager = images_of is None
        self._own_images: dict[str, str] = {}
        self.name = f"{leftovers.PREFIX}{os.getpid()}{suffix}"
        self.folder = leftovers.folder_of(self.name)
        self.url = f"unix://{self.folder}/docker.sock"
        self.docker_config = self.folder / "config"
        self._engine: subprocess.Popen[bytes] | None = None
        images = (images_of or self).folder
        self._registries = {each: Registry(each, self.name, images) for each in (ANONYMOUS, PRIVATE)}

    @property
    def environment(self) -> dict[str, str]:
        """The process environment, pointed at this engine and its client configuration."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("DOCKER_")}
        return inherited | {"DOCKER_HOST": self.url, "DOCKER_CONFIG": str(self.docker_config)}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        left = self.stop()
        assert not left, f"the test bed left something on the machine: {left}"

    def start(self) -> None:
        """Bring everything up; on a failure, leave nothing."""
        leftovers.remove_dead_beds()
        try:
            self.make()
            self.serve()
            self.set_up()
            self.load(VERSIONS)
            with self.connected() as api:
                self._own_images = {name: image["Id"] for image in api.images() for name in image["RepoTags"]}
        except BaseException:
            self.stop()
            raise

    def make(self) -> None:
        """Make the folder and the network namespace."""
        self.docker_config.mkdir(parents=True)
        leftovers.write_owner(self.name)
        namespace.make(self.name)

    def set_up(self) -> None:
        """Set up the engine that runs for the first time."""
        self.docker("swarm", "init", "--advertise-addr", "127.0.0.1", "--task-history-limit", "5")

    def serve(self) -> None:
        """Start the registries and the engine, which is in no swarm yet."""
        for registry in self._registries.values():
            registry.start()
        self.start_engine()

    def stop(self) -> list[str]:
        """Stop and remove everything.

        Returns:
            What is still left on the machine; the test run fails if there is anything.
        """
        if self._engine is not None and self._engine.poll() is None:
            self.run("swarm", "leave", "--force")
            containers = self.run("ps", "-aq").stdout.split()
            if containers:
                self.run("rm", "-fv", *containers)
            self.stop_engine()
        for registry in self._registries.values():
            registry.stop()
        with suppress(TimeoutError):  # the last ones end by themselves
            wait_until(lambda: not leftovers.processes(self.name), "all processes have ended", timeout_s=END_S)
        survivors = [f"process {pid} outlived the engine" for pid in leftovers.processes(self.name)]
        leftovers.remove(self.name)
        return survivors + leftovers.traces(self.name)

    # Commands

    def run(
        self, *arguments: str, stdin: bytes | None = None, cwd: Path | None = None, timeout_s: float = 120
    ) -> Finished:
        """Run the docker command line client and return the finished process, whatever its exit code."""
        return finished(["docker", *arguments], env=self.environment, input=stdin, cwd=cwd, timeout_s=timeout_s)

    def docker(
        self, *arguments: str, stdin: bytes | None = None, cwd: Path | None = None, timeout_s: float = 120
    ) -> str:
        """Run the docker command line client and return its stdout, stripped.

        Raises:
            RuntimeError: it failed; the text has its stderr.
        """
        done = self.run(*arguments, stdin=stdin, cwd=cwd, timeout_s=timeout_s)
        if done.returncode != 0:
            raise RuntimeError(f"docker {' '.join(arguments)} exited with {done.returncode}: {done.stderr.strip()}")
        return done.stdout.strip()

    def compose(self, folder: Path, *arguments: str) -> str:
        """Run compose in `folder`, which has a compose.yaml; return stdout and stderr, where compose reports."""
        plugin = self.run("compose", "version").returncode == 0
        command = ["docker", "compose"] if plugin else ["docker-compose"]
        done = finished([*command, "--ansi", "never", *arguments], cwd=folder, env=self.environment, input="")
        if done.returncode != 0:
            raise RuntimeError(f"compose {' '.join(arguments)} exited with {done.returncode}: {done.stderr.strip()}")
        return (done.stdout + done.stderr).strip()

    def up(self, parent: Path, text: str) -> Path:
        """Start the compose project `shop` of this text, and return its folder, which is below `parent`."""
        folder = parent / "shop"
        folder.mkdir()
        (folder / "compose.yaml").write_text(text)
        self.compose(folder, "up", "-d", "--quiet-pull")
        return folder

    def inspect(self, kind: str, name: str) -> dict[str, object]:
        """Return `docker KIND inspect NAME`, parsed; `kind` is container, image, service, network or volume."""
        return dict(json.loads(self.docker(kind, "inspect", name))[0])

    def in_namespace(self, *command: str, timeout_s: float = 120) -> str:
        """Run a program in the bed's network namespace and return its stdout."""
        return namespace.run_in(self.name, command, timeout_s)

    def fetch(self, address: str) -> str:
        """Return the body of `http://ADDRESS/`, asked for from inside the namespace, once something listens there."""

        def answer() -> str:
            with suppress(OSError), urlopen(f"http://{address}/", timeout=60) as response:
                return str(response.read().decode().strip())
            return ""

        return wait_until(lambda: namespace.call_in(self.name, answer), f"{address} answers")

    # Images

    def load(self, images: Mapping[str, Image]) -> None:
        """Load images into the engine; a key without a colon is a version of `app`."""
        named = {(name if ":" in name else f"app:{name}"): image for name, image in images.items()}
        self.docker("load", stdin=archive(named))

    def push(self, repository: str, version: str | Image, tag: str = "latest", registry: str = ANONYMOUS) -> str:
        """Push a version as `REGISTRY/REPOSITORY:TAG`, as if from another machine, and return its digest."""
        image = VERSIONS[version] if isinstance(version, str) else version
        return self._registries[registry].push(repository, image, tag)

    def push_index(self, repository: str, *images: Image) -> str:
        """Push images of several architectures as `ANONYMOUS/REPOSITORY:latest`; return the digest of their index."""
        return self._registries[ANONYMOUS].push_index(repository, images, "latest")

    def delete_image(self, repository: str, digest: str, registry: str = ANONYMOUS) -> None:
        """Delete an image from the registry, which then collects its garbage."""
        self._registries[registry].delete(repository, digest)

    def login(self, registry: str = PRIVATE) -> None:
        """Log the bed's client configuration in to the registry."""
        self.docker("login", "--username", USER, "--password-stdin", registry, stdin=PASSWORD.encode())

    def logout(self, registry: str = PRIVATE) -> None:
        """Take the registry's credentials out of the bed's client configuration."""
        self.docker("logout", registry)

    def clean(self) -> None:
        """Remove every container, service, network, volume and image that a test made, and end its faults."""
        for registry in self._registries.values():
            registry.start()
        self.start_engine()
        with self.connected() as api:
            self._remove_services(api)
            self._remove_containers(api)
            # A network stays in use for a moment after the last task of a service has left it.
            wait_until(lambda: _remove_networks(api), "all networks are gone")
            for volume in api.volumes()["Volumes"] or []:
                api.remove_volume(volume["Name"], force=True)
            if _remove_images(api, self._own_images) != self._own_images:
                self.load(VERSIONS)
        shutil.rmtree(self.docker_config)
        self.docker_config.mkdir()

    @contextmanager
    def connected(self) -> Iterator[Any]:
        """A connection to the engine: a hundred times faster than its command line. Its type stubs lack Swarm."""
        with closing(APIClient(base_url=self.url, version="auto", timeout=120)) as api:
            yield api

    def _remove_services(self, api: Any) -> None:
        if not self._is_swarm or not api.info()["Swarm"]["ControlAvailable"]:
            return
        # Docker Engine 26 dies if a service is removed at the moment when it forgets one of its tasks (swarmkit,
        # orchestrator.SetServiceTasksRemove): it has fewer replicas now.
        wait_until(lambda: not api.tasks({"desired-state": "remove"}), "swarm has forgotten the tasks that ended")
        for service in api.services():
            api.remove_service(service["ID"])
        for secret in api.secrets():
            api.remove_secret(secret["ID"])
        for config in api.configs():
            api.remove_config(config["ID"])

    def _remove_containers(self, api: Any) -> None:
        def remove() -> bool:
            containers = api.containers(all=True)
            for container in containers:
                # One of a removed service may go by itself in this moment.
                with suppress(NotFound, APIError):
                    api.remove_container(container["Id"], v=True, force=True)
            return not containers

        wait_until(remove, "all containers are gone")

    # Faults

    def start_engine(self) -> None:
        """Start the engine, unless it runs, and wait until it responds: after the first start, as part of its swarm.

        One that has died by itself is started again, so that no other test fails with the one in which it died.
        """
        if self._engine is not None and self._engine.poll() is None:
            return
        again = (self.folder / "data" / "swarm" / "docker-state.json").exists()
        (self.folder / "daemon.json").write_text(json.dumps(self._daemon_json))
        self._engine = namespace.spawn_in(
            self.name,
            [
                "dockerd",
                f"--host={self.url}",
                f"--config-file={self.folder}/daemon.json",
                f"--data-root={self.folder}/data",
                f"--exec-root={self.folder}/exec",
                f"--pidfile={self.folder}/dockerd.pid",
                f"--cgroup-parent=/{self.name}",
                "--exec-opt=native.cgroupdriver=cgroupfs",
                "--shutdown-timeout=5",
                "--group=root",
            ],
            self.folder / "engine.log",
        )
        wait_until(lambda: self._engine_answers(swarm=again), f"the engine responds; {self.folder}/engine.log")

    def stop_engine(self) -> None:
        """Stop the engine as a service manager would; its containers end."""
        if self._engine is not None:
            end(self._engine, signal.SIGTERM)
            self._engine = None

    def kill_engine(self) -> None:
        """Kill the engine with SIGKILL; its containers run on."""
        if self._engine is not None:
            end(self._engine, signal.SIGKILL)
            self._engine = None
            # Its containerd dies with it, but not in every release. Engine 20.10 goes by the pid file alone, and waits
            # for a process that is dead, or a zombie where nothing reaps orphans.
            for pid in leftovers.processes(self.name, program="containerd"):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            wait_until(lambda: not leftovers.processes(self.name, program="containerd"), "containerd ends")
            (self.folder / "exec" / "containerd" / "containerd.pid").unlink(missing_ok=True)

    def restart_engine(self) -> None:
        """Stop and start the engine; containers come back as their restart policy says."""
        self.stop_engine()
        self.start_engine()

    def stop_registry(self, registry: str = ANONYMOUS) -> None:
        """Stop the registry: connections to it are refused from now on."""
        self._registries[registry].stop()

    # Inside

    def _engine_answers(self, swarm: bool) -> bool:
        assert self._engine is not None
        if self._engine.poll() is not None:
            log = (self.folder / "engine.log").read_text(errors="replace")
            raise RuntimeError(f"the engine exited with {self._engine.returncode}: {log[-2000:]}")
        # `docker info` exits with 0 also when there is no engine, and shows nothing of it then.
        shown = self.run("info", "--format", "{{.ServerVersion}} {{.Swarm.LocalNodeState}} {{.Swarm.ControlAvailable}}")
        version, _, swarm_state = shown.stdout.strip("\n").partition(" ")
        return bool(version) and (
            not swarm
            or (swarm_state == "active true" and self.run("node", "ls").returncode == 0)
            or (swarm_state == "active false" and not self._is_manager)
        )


def _remove_networks(api: Any) -> bool:
    """Remove all networks that a test made; True if there was none."""
    made = [each for each in api.networks() if each["Name"] not in _OWN_NETWORKS]
    for network in made:
        with suppress(APIError):  # it is still in use
            api.remove_network(network["Id"])
    return not made


def _remove_images(api: Any, own: Mapping[str, str]) -> dict[str, str]:
    """Remove all images but the bed's own; return the IDs of those by name."""
    for image in api.images():
        names = _tags(image)
        digests = [name for name in image["RepoDigests"] or [] if name != "<none>@<none>"]
        for name in [name for name in names + digests if name not in own] or ([] if names else [image["Id"]]):
            with suppress(NotFound):  # a digest goes with the last tag of its repository
                api.remove_image(name, force=True)
    # Podman removes an image with all its names.
    return {name: image["Id"] for image in api.images() for name in _tags(image) if name in own}


def _tags(image: Mapping[str, Any]) -> list[str]:
    return [name for name in image["RepoTags"] or [] if name != "<none>:<none>"]
