"""A swarm of three private engines on one bridge, each in its own network namespace: a manager and two workers.

Each is a `DockerBed` with the same two registries, so that `bed.manager.push("app", "v1")` makes an image that every
node can pull as `127.0.0.1:5000/app`. A node whose engine is stopped counts as down after a few seconds.
"""

from typing import Self

from tests.support import leftovers
from tests.support.docker_bed import DockerBed
from tests.support.programs import check
from tests.support.waiting import wait_until

_BRIDGE = "lan"
_NODES = 3


class SwarmBed:
    """The three engines. Node 1 is the manager."""

    def __init__(self) -> None:
        self.manager = DockerBed("-1")
        self.workers = [DockerBed(f"-{number}", images_of=self.manager) for number in range(2, _NODES + 1)]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        left = self.stop()
        assert not left, f"the test bed left something on the machine: {left}"

    def start(self) -> None:
        """Bring everything up; on any failure, leave nothing."""
        leftovers.remove_dead_beds()
        try:
            for number, node in enumerate(self._nodes, 1):
                node.make()
                self._connect(node, number)
                node.serve()
            options = ("--advertise-addr", _address(1), "--dispatcher-heartbeat", "1s", "--task-history-limit", "5")
            self.manager.docker("swarm", "init", *options)
            token = self.manager.docker("swarm", "join-token", "--quiet", "worker")
            for number, worker in enumerate(self.workers, 2):
                worker.docker(
                    "swarm", "join", "--advertise-addr", _address(number), "--token", token, f"{_address(1)}:2377"
                )
            wait_until(lambda: self.ready() == _NODES, "all nodes are ready")
        except BaseException:
            self.stop()
            raise

    def stop(self) -> list[str]:
        """Stop and remove everything, the manager last; return what is still left."""
        return [line for node in reversed(self._nodes) for line in node.stop()]

    def ready(self) -> int:
        """Return the number of nodes that the manager reaches."""
        return self.manager.docker("node", "ls", "--format", "{{.Status}}").split().count("Ready")

    @property
    def _nodes(self) -> list[DockerBed]:
        return [self.manager, *self.workers]

    def _connect(self, node: DockerBed, number: int) -> None:
        """Put the node on the bridge, which is in the manager's namespace."""
        home = self.manager.name
        if node is self.manager:
            check(["ip", "-n", home, "link", "add", _BRIDGE, "type", "bridge"])
            check(["ip", "-n", home, "addr", "add", f"{_address(1)}/24", "dev", _BRIDGE])
            check(["ip", "-n", home, "link", "set", _BRIDGE, "up"])
            return
        port, away = f"port{number}", node.name
        pair = ["ip", "-n", home, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", away]
        check(pair)
        check(["ip", "-n", home, "link", "set", port, "master", _BRIDGE, "up"])
        check(["ip", "-n", away, "addr", "add", f"{_address(number)}/24", "dev", "eth0"])
        check(["ip", "-n", away, "link", "set", "eth0", "up"])


def _address(number: int) -> str:
    return f"10.77.0.{number}"
