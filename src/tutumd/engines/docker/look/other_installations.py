"""Redeploys by other installations of tutumd on the same engine, recognized by the labels of the objects that they
create.

Docker has no lock. Each installation first creates an object and then searches for objects of others, so that at least
one of two notices the other and waits for its turn.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from tutumd.engines.docker.api import DockerApi
from tutumd.engines.docker.look.containers import InspectedContainer, listed_name
from tutumd.engines.docker.look.services import ContainerGroup, FindGroup, base_name, run_of
from tutumd.engines.docker.plan.journal import Swap
from tutumd.engines.labels import ACTION, ACTION_TIMEOUT, INSTALLATION, parse_labels, written_number
from tutumd.errors import EngineBusyError, EngineRefusedError
from tutumd.model import Outcome, RunLimits
from tutumd.ports import Run

_ROLLBACK = timedelta(seconds=30)
"""Time that an overdue action has to restore its changes."""

_NEWS = timedelta(days=7)
"""An installation that has created nothing for longer than this is not reported: it may be gone."""

_MAX_NAMES = 3


class OtherInstallationError(EngineBusyError):
    """Another installation redeploys the service, or has pulled its image in the meantime."""


def require_free(
    find: FindGroup, api: DockerApi, run: Run, limits: RunLimits
) -> tuple[ContainerGroup, Sequence[InspectedContainer]]:
    """Return a service and all containers, as `find` does, unless another installation redeploys the service.

    Old containers cannot be labelled: they belong to the action that the label of their replacement names. An
    installation counts as dead if its newest container is older than the time limit of a redeploy in either
    installation.

    Args:
        limits: Limits of this installation.

    Raises:
        OtherInstallationError: Another installation redeploys it.
    """
    group, containers = find()
    others = list(_made_by_others(containers, api.installation))
    if others:
        api.forget()  # for the present time of the engine
    labels = parse_labels([container.labels for container in group.containers])
    for member in group.swapping if others else ():
        run_id = run_of(member.name)
        theirs = [each for each in others if each.labels.get(ACTION, "").startswith(run_id)]
        made = [each.created for each in theirs if each.created]
        longest_s = max([limits.timeout_s, *(written_number(each.labels, ACTION_TIMEOUT) for each in theirs)])
        limit = timedelta(seconds=labels.timeout_s or longest_s) + _ROLLBACK
        if made and run_id != run.action_uuid[:8] and api.facts().now < (ends := max(made) + limit):
            raise OtherInstallationError(
                f"busy: another tutumd is redeploying {group.name} (container {member.name}); if it has not finished "
                f"by {ends:%Y-%m-%d %H:%M} UTC, it counts as dead"
            )
    return group, containers


def undisturbed(outcome: Outcome, find: FindGroup, run: Run) -> Outcome:
    """Return the outcome of a finished action, unless another installation now redeploys the service.

    Raises:
        OtherInstallationError: It does. The journal is empty, so that the next attempt starts from the beginning.
    """
    try:
        with suppress(EngineRefusedError):
            find()
    except OtherInstallationError:
        run.save({})
        raise
    return outcome


def is_taken_over(api: DockerApi, swap: Swap) -> bool:
    """Return whether another installation has begun to replace a new container, or has replaced it."""
    return any(
        base_name(listed_name(entry)) == swap.name
        and entry["Id"] not in (swap.old, swap.new, swap.spare)
        and (entry.get("Labels") or {}).get(INSTALLATION, api.installation) != api.installation
        for entry in (api.list_containers() if api.installation else ())
    )


def describe_other_installations(containers: Sequence[InspectedContainer], own: str) -> str:
    """Return a sentence about recent containers of other installations; empty if there are none.

    Args:
        own: ID of this installation. The part before the first dot identifies the database.
    """
    since = datetime.now(UTC) - _NEWS
    names = sorted(
        base_name(each.name)
        for each in _made_by_others(containers, own)
        if each.created and each.created > since and not each.labels[INSTALLATION].startswith(own.partition(".")[0])
    )
    others = f"{', '.join(names[:_MAX_NAMES])}{' and others' if len(names) > _MAX_NAMES else ''}"
    return f"another tutumd installation redeploys on this engine: {others}" if names else ""


def _made_by_others(containers: Sequence[InspectedContainer], own: str) -> Iterator[InspectedContainer]:
    return (each for each in containers if own and each.labels.get(INSTALLATION, own) != own)
