"""Workloads and pods as values for unit tests."""

from datetime import UTC, datetime
from typing import Any

from tests.support.kubernetes.workloads import REPOSITORY
from tutumd.engines.kubernetes.view import Pod, PodContainer, WorkloadView
from tutumd.engines.kubernetes.workloads import Address, Kind, Workload

AT = "2026-11-24T20:44:09.123456Z"
SINCE = datetime(2026, 1, 1, tzinfo=UTC)
DIGEST = "sha256:" + "1" * 64
WEB = Address(Kind.DEPLOYMENT, "shop", "web")


def workload(made: dict[str, Any], *, generation: int = 3, **status: Any) -> Workload:
    """A workload as it is stored: at version 7, with a status that is up to date unless told otherwise."""
    metadata = {**made["metadata"], "resourceVersion": "7", "generation": generation, "uid": "u"}
    seen = {"observedGeneration": generation, **status}
    return Workload(Kind(made["kind"]), {**made, "metadata": metadata, "status": seen})


def pod(uid: str, *, ready: bool = True, at: str = "", container: PodContainer | None = None, **more: Any) -> Pod:
    """A pod of `web`; `at` is the restart that made it."""
    main = container or PodContainer(name="app", image=f"{REPOSITORY}:v1", digest=DIGEST if ready else None)
    values = {
        "uid": uid,
        "namespace": "shop",
        "name": f"web-{uid}",
        "owner": WEB,
        "restarted_at": at,
        "phase": "Running",
        "ready": ready,
        "created": SINCE,
        "containers": (main,),
        "ready_since": SINCE if ready else None,
    }
    return Pod(**{**values, **more})


def view(subject: Workload, *pods: Pod) -> WorkloadView:
    """A workload with these pods."""
    return WorkloadView(workload=subject, pods=pods)
