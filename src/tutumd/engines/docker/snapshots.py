"""From a group of containers to the snapshot that the store keeps of a service."""

import shlex
from collections.abc import Iterable

from tutumd.engines.docker.seen import Seen
from tutumd.engines.docker.selectors import Group
from tutumd.engines.dockerapi import ImageReference, Json, owner_of, parse_reference
from tutumd.engines.labels import parse_labels
from tutumd.errors import EngineRefusedError
from tutumd.model import ContainerSnapshot, ContainerState, Port, ServiceSnapshot

_STATES = {
    "created": ContainerState.STOPPED,
    "running": ContainerState.RUNNING,
    "paused": ContainerState.STOPPED,
    "restarting": ContainerState.STARTING,
    "removing": ContainerState.TERMINATING,
    "exited": ContainerState.STOPPED,
    "dead": ContainerState.STOPPED,
}


def service_snapshot(group: Group) -> ServiceSnapshot:
    """Describe a service by its containers; the newest one tells image and command."""
    holders = group.holders
    newest = max(holders, key=lambda one: (one.created is not None, one.created))
    labels = [one.labels for one in holders]
    wanted = parse_labels(labels)
    owner, warnings = owner_of(labels)
    return ServiceSnapshot(
        selector=group.selector,
        name=group.name,
        stack=group.stack,
        owner=owner,
        target=len(holders),
        containers=tuple(_container(place.name, place.holder) for place in group.places),
        stopped=all(one.stopped_on_purpose for one in holders),
        image_name=newest.image_name,
        image_digest=image_digest(newest.image_name, newest.image_id, newest.image),
        run_command=_command(newest),
        deployed=newest.created,
        service_cap=wanted.service_cap,
        warnings=(*warnings, *wanted.problems, *_oddities(holders)),
    )


def image_digest(name: str, image_id: str, image: Json | None) -> str | None:
    """Return the digest that the image has in the repository of its name, else the image's ID."""
    wanted = _reference(name)
    if wanted is not None and wanted.digest:
        return wanted.digest
    for entry in (image or {}).get("RepoDigests") or ():
        found = _reference(entry)
        if wanted is not None and found is not None and found.same_repository(wanted):
            return found.digest
    return image_id or None


def _reference(name: str) -> ImageReference | None:
    try:
        return parse_reference(name)
    except EngineRefusedError:
        return None


def _container(name: str, one: Seen) -> ContainerSnapshot:
    state = _STATES.get(one.status, ContainerState.STOPPED)
    if state is ContainerState.RUNNING and one.health == "starting":
        state = ContainerState.STARTING
    return ContainerSnapshot(
        id=one.id,
        name=name,
        state=state,
        image_name=one.image_name,
        image_digest=image_digest(one.image_name, one.image_id, one.image),
        run_command=_command(one),
        exit_code=one.exit_code if one.status in ("exited", "dead") else None,
        started=one.started,
        stopped=None if one.runs else one.finished,
        ports=tuple(_ports(one)),
    )


def _command(one: Seen) -> str:
    return shlex.join([part for part in (one.raw.get("Path"), *(one.raw.get("Args") or ())) if part])


def _ports(one: Seen) -> Iterable[Port]:
    published = (one.raw.get("NetworkSettings") or {}).get("Ports") or {}
    found = set()
    for inner, bindings in published.items():
        number, _, protocol = inner.partition("/")
        for outer in {binding["HostPort"] for binding in bindings or ()} or {""}:
            found.add((int(number), int(outer) if outer else None, protocol or "tcp"))
    for number, outer, protocol in sorted(found, key=str):
        yield Port(inner=number, outer=outer, protocol=protocol)


def _oddities(holders: Iterable[Seen]) -> Iterable[str]:
    for one in holders:
        if one.status == "paused":
            yield f"the container {one.name} is paused"
        if one.health == "unhealthy":
            yield f"the container {one.name} is unhealthy"
