"""Services and tasks as the engine shows them, made short."""

from typing import Any

from tutumd.engines.swarm import spec as specs
from tutumd.engines.swarm.plan import RedeployJournal
from tutumd.engines.swarm.spec import Version
from tutumd.engines.swarm.view import Nodes, ServiceView, Task, read_nodes

OLD = Version(image="app:latest@sha256:" + "1" * 64, force=0)
NEW = Version(image="app:latest@sha256:" + "2" * 64, force=1)


def spec(version: Version = OLD, *, replicas: int = 2, **others: Any) -> dict[str, Any]:
    """A replicated service, as inspected."""
    return {
        "Name": "web",
        "Labels": {},
        "TaskTemplate": {
            "ContainerSpec": {"Image": version.image, "Env": ["SECRET=1"]},
            "ForceUpdate": version.force,
            "Placement": {"Platforms": [{"Architecture": "amd64", "OS": "linux"}]},
        },
        "Mode": {"Replicated": {"Replicas": replicas}},
        "EndpointSpec": {"Mode": "vip"},
        **others,
    }


def task(
    id: str,
    version: Version = OLD,
    *,
    state: str = "running",
    slot: str = "1",
    desired: bool = True,
    node_ready: bool = True,
    error: str = "",
) -> Task:
    """One task."""
    return Task(
        id=id, slot=slot, state=state, desired=desired, node_ready=node_ready, version=version, error=error, exit_code=0
    )


PLAN = RedeployJournal(
    before=specs.stored_parts(spec()),
    image=NEW.image,
    config={"Order": "start-first"},
    platforms=({"Architecture": "amd64", "OS": "linux"},),
    status_before={"State": "completed"},
    running_before=("o1", "o2"),
    image_after="sha256:" + "2" * 64,
    note="said",
)


def nodes(*states: str, architecture: str = "x86_64", availability: str = "active") -> Nodes:
    """Nodes called a, b, c … in those states."""
    return read_nodes(
        [
            {
                "ID": f"id-{name}",
                "Status": {"State": state},
                "Spec": {"Availability": availability},
                "Description": {"Hostname": name, "Platform": {"OS": "linux", "Architecture": architecture}},
            }
            for name, state in zip("abcdef", states, strict=False)
        ]
    )


def view(inspected: dict[str, Any], *tasks: Task, state: str = "", message: str = "") -> ServiceView:
    """A service at one moment; `state` is that of its update."""
    service: dict[str, Any] = {"ID": "s1", "Spec": inspected, "Version": {"Index": 7}}
    if state:
        service["UpdateStatus"] = {"State": state, "Message": message}
    return ServiceView(service=service, tasks=tasks, nodes=nodes("ready"))
