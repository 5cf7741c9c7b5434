"""Time limits of an action on a service, from the labels and the health checks of its containers."""

from collections.abc import Iterable, Sequence
from typing import Any

from tutumd.engines.docker.inspect.inspected_container import InspectedContainer
from tutumd.engines.dockerapi.health_checks import LEEWAY_S, patience_s
from tutumd.engines.labels import parse_labels


def limits_of(
    containers: Sequence[InspectedContainer], dependents: Iterable[InspectedContainer] = (), *, stable_s: float
) -> dict[str, Any]:
    """Return the arguments of `Run.set_limits` for an action on these containers.

    Labels and health checks of a container never change, so that a run that is resumed has the same limits.

    Args:
        containers: Those of the service, old and new.
        dependents: Those that are re-created with them, whose labels do not count.
        stable_s: How long a container without a health check must run, unless a label says otherwise.
    """
    labels = parse_labels([container.labels for container in containers])
    checks = [(container.raw.get("Config") or {}).get("Healthcheck") for container in (*containers, *dependents)]
    stable_s = stable_s if labels.stable_s is None else labels.stable_s
    return labels.limits(max([stable_s, *map(patience_s, checks)]) + LEEWAY_S)
