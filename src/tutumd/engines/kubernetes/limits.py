"""How long a healthy rollout of a workload may take from one step of progress to the next."""

from collections.abc import Iterable

from tutumd.engines.kubernetes.context import WorkloadContext
from tutumd.engines.kubernetes.view import Pod
from tutumd.engines.kubernetes.workloads import Workload
from tutumd.engines.labels import Json, parse_labels
from tutumd.model import RunLimits

# The cluster gives a Deployment up by itself, and says why: it must come first.
_MARGIN_S = 30.0


def set_limits(context: WorkloadContext, workload: Workload, pods: Iterable[Pod] = ()) -> None:
    """Set the limits of the run. While a node pulls the image of one of the new pods, it may take as long as a pull."""
    labels = parse_labels([workload.annotations])
    pull_s = context.limits.pull_s if any(pod.pulling for pod in pods) else 0.0
    least_s = max(least_stall_s(workload), pull_s)
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
    probes_s = [_probes_s(container) for container in workload.template["spec"]["containers"]]
    pod_s = workload.grace_s + max(probes_s) + int(workload.spec.get("minReadySeconds") or 0)
    return max(pod_s, workload.progress_deadline_s) + _MARGIN_S


def _probes_s(container: Json) -> int:
    return sum(_probe_s(container.get(name) or {}) for name in ("startupProbe", "readinessProbe"))


def _probe_s(probe: Json) -> int:
    """Return how long a probe may fail. An absent one delays by its defaults (Kubernetes: Probe v1 core)."""
    period_s, failures = probe.get("periodSeconds") or 10, probe.get("failureThreshold") or 3
    return int(probe.get("initialDelaySeconds") or 0) + int(period_s) * int(failures)
