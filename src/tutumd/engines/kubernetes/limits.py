"""Time limits of an action on a workload, by its annotations and its specification, and its progress."""

from collections.abc import Sequence
from typing import Any

from tutumd.engines.kubernetes.context import WorkloadContext
from tutumd.engines.kubernetes.view import Pod, WorkloadView
from tutumd.engines.kubernetes.workloads import Workload
from tutumd.engines.labels import Json, parse_labels

# The cluster gives a Deployment up by itself, and says why: it must come first.
_MARGIN_S = 30.0
_PROBES = ("startupProbe", "readinessProbe")


def report_progress(context: WorkloadContext, view: WorkloadView, new: Sequence[Pod], gone: int) -> None:
    """Report how far a change came, with its new pods and the number of old ones that are gone, and set its limits."""
    context.run.advance("created", len(new))
    context.run.advance("started", sum(pod.started for pod in new))
    context.run.advance("ready", sum(pod.ready for pod in new))
    context.run.advance("gone", gone)
    is_held = bool(view.late(context.timing.now())) and all(pod.ready for pod in new)
    context.run.set_limits(**limits_of(view.workload, is_pulling=any(pod.pulling for pod in new), is_held=is_held))


def limits_of(workload: Workload, *, is_pulling: bool = False, is_held: bool = False) -> dict[str, Any]:
    """Return the arguments of `Run.set_limits` for an action on a workload.

    StatefulSets and DaemonSets have no progressDeadlineSeconds: the default of a Deployment counts, as the nodes must
    pull the same images within it.

    Args:
        is_held: All that is waited for is a pod that should have stopped by now, so nothing is pulled.
    """
    step_s = replacement_s(workload) if is_held else max(replacement_s(workload), workload.progress_deadline_s)
    return parse_labels([workload.annotations]).limits(step_s + _MARGIN_S, is_pulling=is_pulling)


def replacement_s(workload: Workload) -> int:
    """Return how long one pod may take to stop, and another one to become available."""
    containers = workload.template["spec"]["containers"]
    probes_s = max(sum(_probe_s(each[name]) for name in _PROBES if each.get(name)) for each in containers)
    return probes_s + int(workload.spec.get("minReadySeconds") or 0) + workload.grace_s


def _probe_s(probe: Json) -> int:
    """Return how long a probe may fail (Kubernetes API: Probe v1 core, with its defaults)."""
    period_s, failures = probe.get("periodSeconds") or 10, probe.get("failureThreshold") or 3
    return int(probe.get("initialDelaySeconds") or 0) + int(period_s) * int(failures)
