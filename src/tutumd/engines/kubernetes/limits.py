"""How long a healthy rollout of a workload may take from one step of progress to the next."""

from collections.abc import Sequence

from tutumd.engines.kubernetes.context import WorkloadContext
from tutumd.engines.kubernetes.view import Pod
from tutumd.engines.kubernetes.workloads import Workload
from tutumd.engines.labels import Json, parse_labels
from tutumd.model import RunLimits

# The cluster gives a Deployment up by itself, and says why: it must come first.
_MARGIN_S = 30.0
_PROBES = ("startupProbe", "readinessProbe")


def report_progress(context: WorkloadContext, workload: Workload, new: Sequence[Pod], gone: int) -> None:
    """Report how far a change came, with its new pods and the number of old ones that are gone, and set its limits."""
    context.run.advance("created", len(new))
    context.run.advance("started", sum(pod.started for pod in new))
    context.run.advance("ready", sum(pod.ready for pod in new))
    context.run.advance("gone", gone)
    set_limits(context, workload, new)


def set_limits(context: WorkloadContext, workload: Workload, new: Sequence[Pod] = ()) -> None:
    """Set the limits of the run. While a node pulls the image of a new pod, it may take as long as a pull."""
    labels = parse_labels([workload.annotations])
    least_s = max(least_stall_s(workload), *(context.limits.pull_s for pod in new if pod.pulling), 0.0)
    context.run.set_limits(timeout_s=labels.timeout_s, stall_s=labels.stall_s, least_stall_s=least_s)


def workload_limits(server: RunLimits, workload: Workload) -> RunLimits:
    """Return the limits of a redeploy, as `set_limits` sets them."""
    labels = parse_labels([workload.annotations])
    return server.adapted(timeout_s=labels.timeout_s, stall_s=labels.stall_s, least_stall_s=least_stall_s(workload))


def least_stall_s(workload: Workload) -> float:
    """Return the seconds from one step of progress to the next that the specification of a workload allows.

    StatefulSets and DaemonSets have no progressDeadlineSeconds: the default of a Deployment counts, as the nodes must
    pull the same images within it.
    """
    containers = workload.template["spec"]["containers"]
    probes_s = max(sum(_probe_s(each[name]) for name in _PROBES if each.get(name)) for each in containers)
    pod_s = probes_s + int(workload.spec.get("minReadySeconds") or 0) + workload.grace_s
    return max(pod_s, workload.progress_deadline_s) + _MARGIN_S


def _probe_s(probe: Json) -> int:
    """Return how long a probe may fail (Kubernetes API: Probe v1 core, with its defaults)."""
    period_s, failures = probe.get("periodSeconds") or 10, probe.get("failureThreshold") or 3
    return int(probe.get("initialDelaySeconds") or 0) + int(period_s) * int(failures)
