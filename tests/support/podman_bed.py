"""A private Podman with Docker's API on a socket, and the two registries, in a network namespace of its own.

It has the verbs of `DockerBed`, and is driven by the same command line clients, but:

- there is no Swarm;
- an image without a registry in its name is `localhost/NAME` here: `app:v1` is shown as `localhost/app:v1`;
- stopping the engine only stops the API: every container has a monitor of its own and runs on;
- nothing runs health checks, since Podman leaves that to timers of systemd: `bed.podman("healthcheck", "run", NAME)`
  does it once.
"""

import base64
import json
import signal
import subprocess
from typing import Any

from tests.support import leftovers, namespace
from tests.support.docker_bed import ANONYMOUS, PASSWORD, PRIVATE, USER, DockerBed
from tests.support.programs import end
from tests.support.waiting import wait_until

_CONTAINERS = """
[engine]
# Locks in shared memory, the default, are shared with every other Podman of the machine.
lock_type = "file"
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
firewall_driver = "iptables"
"""
_REGISTRY = """
[[registry]]
location = "{address}"
insecure = true
"""


class PodmanBed(DockerBed):
    """One private Podman and its registries; see the module's text."""

    _is_swarm = False

    def __init__(self) -> None:
        super().__init__("-podman")
        self._mounts: subprocess.Popen[bytes] | None = None

    def make(self) -> None:
        """Make the folder with the settings, the network namespace, and a mount namespace.

        Every Podman of root keeps the addresses and the name server of its networks below /run/containers/networks. Two
        beds would use each other's, so each has a folder of its own there.
        """
        super().make()
        script = "mkdir -p /run/containers && mount -t tmpfs tmpfs /run/containers && echo ready && exec sleep infinity"
        self._mounts = namespace.spawn_in(
            self.name, ["unshare", "--mount", "sh", "-ec", script], self.folder / "mounts.log"
        )
        wait_until((self.folder / "mounts.log").read_text, "the mount namespace is ready")
        (self.folder / "containers.conf").write_text(_CONTAINERS)
        registries = "".join(_REGISTRY.format(address=each) for each in (ANONYMOUS, PRIVATE))
        (self.folder / "registries.conf").write_text(registries)

    def set_up(self) -> None:
        """There is no Swarm."""

    def stop(self) -> list[str]:
        """Stop and remove everything; return what is still left on the machine."""
        if self._engine is not None:
            self.podman("rm", "--all", "--force", "--time", "0")
            self.stop_engine()
        if self._mounts is not None:
            end(self._mounts, signal.SIGKILL)
        for registry in self._registries.values():
            registry.stop()
        leftovers.remove(self.name)
        return leftovers.traces(self.name)

    def podman(self, *arguments: str) -> str:
        """Run podman's own command line on the bed's containers and return its stdout, stripped."""
        return namespace.run_in(self.name, ["env", *self._settings(), *self._command(), *arguments]).strip()

    def login(self, registry: str = PRIVATE) -> None:
        """Log the bed's client configuration in to the registry; Podman itself asks it by https only, so by hand."""
        login = {"auth": base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()}
        (self.docker_config / "config.json").write_text(json.dumps({"auths": {registry: login}}))

    def logout(self, registry: str = PRIVATE) -> None:
        """Take the registry's credentials out of the bed's client configuration."""
        (self.docker_config / "config.json").unlink()

    def _remove_containers(self, api: Any) -> None:
        if api.containers(all=True):
            self.podman("rm", "--all", "--force", "--volumes", "--time", "0")

    # Faults

    def start_engine(self) -> None:
        """Start the API, unless it runs, and wait until it responds."""
        if self._engine is not None:
            return
        self._engine = namespace.spawn_in(
            self.name,
            ["env", *self._settings(), *self._command(), "system", "service", "--time=0", self.url],
            self.folder / "engine.log",
        )
        wait_until(self._api_answers, f"podman answers; {self.folder}/engine.log")

    def kill_engine(self) -> None:
        """Kill the API with SIGKILL; the containers run on."""
        if self._engine is not None:
            end(self._engine, signal.SIGKILL)
            self._engine = None

    # Inside

    def _settings(self) -> list[str]:
        return [
            f"CONTAINERS_CONF={self.folder}/containers.conf",
            f"CONTAINERS_REGISTRIES_CONF={self.folder}/registries.conf",
            # Said on stderr of every command on a machine with control groups of version 1.
            "PODMAN_IGNORE_CGROUPSV1_WARNING=1",
        ]

    def _command(self) -> list[str]:
        folders = {"root": "root", "runroot": "run", "tmpdir": "tmp", "network-config-dir": "networks"}
        assert self._mounts is not None
        enter = ["nsenter", f"--mount=/proc/{self._mounts.pid}/ns/mnt"]
        return [*enter, "podman", *(f"--{option}={self.folder}/{folder}" for option, folder in folders.items())]

    def _api_answers(self) -> bool:
        assert self._engine is not None
        if self._engine.poll() is not None:
            log = (self.folder / "engine.log").read_text(errors="replace")
            raise RuntimeError(f"podman exited with {self._engine.returncode}: {log[-2000:]}")
        return bool(self.run("info", "--format", "{{.ServerVersion}}").stdout.strip())
