"""Whether a Docker Engine is a manager of a swarm, and the requests of the engine `swarm`."""

from collections.abc import Mapping
from typing import Any

from tutumd.engines.dockerapi.checkup import Needed
from tutumd.model.findings import Finding, ok, wrong

_FIND = "services cannot be found"
_REDEPLOY = "a redeploy cannot update services"
_ONE_TASK = "a redeploy cannot try the new image with one task first"

NEEDED = (
    Needed(method="GET", path="/services", purpose=_FIND),
    Needed(method="GET", path="/services/{absent}", purpose=_FIND),
    Needed(method="GET", path="/tasks", query={"filters": '{"service":["tutumd-doctor"]}'}, purpose=_FIND),
    Needed(method="GET", path="/nodes", purpose=_FIND),
    Needed(method="POST", path="/services/{absent}/update", query={"version": "1"}, body={}, purpose=_REDEPLOY),
    # Without a name: 400.
    Needed(method="POST", path="/services/create", body={}, purpose=_ONE_TASK),
    Needed(method="DELETE", path="/services/{absent}-trial-00000000", purpose=_ONE_TASK),
    Needed(method="GET", path="/services/{absent}/logs", query={"stdout": "1"}, purpose="no output can be shown"),
    Needed(method="GET", path="/tasks/{absent}/logs", query={"stdout": "1"}, purpose="a failure shows no output"),
    Needed(method="GET", path="/distribution/INVALID/json", purpose="the newest image cannot be found"),
    Needed(method="GET", path="/images/{absent}/json", purpose="the platform of an image cannot be found"),
    Needed(method="GET", path="/networks/host", purpose="the order of an update cannot be chosen"),
)


def check_manager(subject: str, info: Mapping[str, Any]) -> Finding:
    """Return whether the engine can change the swarm."""
    swarm = info.get("Swarm") or {}
    state = swarm.get("LocalNodeState") or "inactive"
    if state == "active" and swarm.get("ControlAvailable"):
        count = swarm.get("Managers") or 1
        return ok(subject, f"is a manager of a swarm ({count} {'manager' if count == 1 else 'managers'})")
    if state == "active":
        return wrong(subject, "is a worker of a swarm, and only managers can change services", "name a manager's URL")
    if state == "locked":
        return wrong(subject, "is locked", "unlock it: docker swarm unlock")
    mend = "run docker swarm init there, name a manager's URL, or use the engine docker"
    return wrong(subject, f"is no part of a swarm (state {state})", mend)
