"""Redeploys on a cluster that is given by a kubeconfig, in a namespace of their own, by tutumd and by kubectl."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from tests.bench.engines import scene
from tests.bench.engines.results import KUBERNETES, KUBERNETES_PROBE, Row
from tests.bench.engines.scene import Caller
from tests.support.images import SERVE
from tests.support.server import LiveServer

MISSING = "the rows of kubernetes need kubectl on the PATH: apt-get install kubernetes-client"
_NAMESPACE = "tutumd-bench"
_REPLICAS = 2
_LIMIT_S = 180
_PROBE = {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}
_COMMANDS = "kubectl rollout restart; kubectl rollout status"


class Kubectl:
    """kubectl on one cluster, in the benchmark's namespace."""

    def __init__(self, kubeconfig: Path) -> None:
        self._command = ["kubectl", "--kubeconfig", str(kubeconfig), "--namespace", _NAMESPACE]

    def __call__(self, *arguments: str, stdin: str | None = None) -> str:
        """Run a command and return its output. Raises RuntimeError if it fails."""
        done = subprocess.run(
            [*self._command, *arguments], input=stdin, capture_output=True, text=True, timeout=_LIMIT_S, check=False
        )
        if done.returncode != 0:
            raise RuntimeError(f"kubectl {' '.join(arguments)} exited with {done.returncode}: {done.stderr.strip()}")
        return done.stdout.strip()


def measure(kubeconfig: Path, image: str, folder: Path, rounds: int, tell: Callable[[str], None]) -> Iterator[Row]:
    """Measure a deployment without and with a readiness probe.

    Args:
        image: Has a busybox shell with httpd, and can be pulled by the cluster.
    """
    if shutil.which("kubectl") is None:
        print(f"bench: {MISSING}", file=sys.stderr)
        return
    kubectl = Kubectl(kubeconfig)
    environment = {"KUBECONFIG": str(kubeconfig), "TUTUMD_KUBERNETES_NAMESPACES": _NAMESPACE}
    with _deployments(kubectl, image), LiveServer(folder, "--engine", "kubernetes", environment=environment) as server:
        for name in (KUBERNETES, KUBERNETES_PROBE):
            call = Caller(server, name, "kubernetes", tell)
            row = Row(name=name, command=_COMMANDS)
            for _ in range(rounds):
                row.ours.append(scene.timed(call))
                tell(f"{name}: tutumd: {row.ours[-1].seconds:.1f} s")
                row.theirs.append(scene.timed(partial(_restart, kubectl, name)))
                tell(f"{name}: {_COMMANDS}: {row.theirs[-1].seconds:.1f} s")
            yield row


def _restart(kubectl: Kubectl, name: str) -> None:
    kubectl("rollout", "restart", f"deployment/{name}")
    kubectl("rollout", "status", f"deployment/{name}", f"--timeout={_LIMIT_S}s")


@contextmanager
def _deployments(kubectl: Kubectl, image: str) -> Iterator[None]:
    kubectl("create", "namespace", _NAMESPACE)
    try:
        for name, probe in ((KUBERNETES, None), (KUBERNETES_PROBE, _PROBE)):
            kubectl("apply", "-f", "-", stdin=json.dumps(_deployment(name, image, probe)))
            kubectl("rollout", "status", f"deployment/{name}", f"--timeout={_LIMIT_S}s")
        yield
    finally:
        kubectl("delete", "namespace", _NAMESPACE)


def _deployment(name: str, image: str, probe: dict[str, Any] | None) -> dict[str, Any]:
    labels = {"app": name}
    command = ["sh", "-c", "mkdir -p /www\n" + SERVE]
    container = {
        "name": "app",
        "image": image,
        "command": command,
        "env": [{"name": "VERSION", "value": "build"}],
        **({"readinessProbe": probe} if probe else {}),
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": _REPLICAS,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }
