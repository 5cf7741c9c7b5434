"""One action on one workload: the functions for its steps, and its time limits."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from tutumd.engines.kubernetes.api import Cluster
from tutumd.engines.kubernetes.requests import on_workload
from tutumd.engines.kubernetes.view import Pod, WorkloadView
from tutumd.engines.kubernetes.workloads import Address, Workload
from tutumd.engines.labels import Json, parse_labels
from tutumd.engines.output import Source, merge_output
from tutumd.engines.rollout import LOG_LINES, Timing, join_sentences, retry_on_conflict
from tutumd.errors import EngineRefusedError, EngineUnavailableError
from tutumd.ports import Run

# Takes a workload and returns its patch, a list in JSON Patch, else in JSON Merge Patch; None if there is nothing to
# change.
MakePatch = Callable[[Workload], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadContext:
    """One run on the workload at `address`."""

    cluster: Cluster
    address: Address
    run: Run
    timing: Timing

    def view(self) -> WorkloadView | None:
        return self.cluster.view(self.address)

    def restart_s(self, view: WorkloadView) -> float:
        return replacement_s(view.workload)

    def failure(self, reason: str, culprit: Pod | None, main: str) -> tuple[str, str]:
        """Return the reason of a failure, and the output of the culprit's failing container, else of its `main`
        container.

        An error while reading the output, such as a missing permission, is named after the reason.
        """
        if culprit is None:
            return reason, ""
        container = culprit.failing or culprit.exited or culprit.container(main)
        read = partial(self.cluster.log, culprit.namespace, culprit.name, container.name, lines=LOG_LINES)
        # Of two ended instances, the node keeps only the last. An instance that was started again has not failed yet.
        is_again = container.restarts > 0 and not container.has_ended
        text, problem = "", ""
        try:
            for previous in (is_again, not is_again):
                text = text or merge_output([Source(id="", text=read(previous=previous))], LOG_LINES).text
        except (EngineRefusedError, EngineUnavailableError) as error:
            problem = f"its output is not known: {error}"
        return join_sentences(reason, problem), text

    def change(self, make_patch: MakePatch) -> Json | None:
        """Send the result of `make_patch`, again after each conflict. Return the patched workload; None if there was
        nothing to change, or the workload is gone. Raises the errors of `retry_on_conflict`.
        """
        return retry_on_conflict(self.run, self.timing, lambda: self._change_once(make_patch))

    def delete(self, pod: Pod, version: str) -> None:
        """Delete a pod that is stuck at a version. Raises EngineRefusedError."""
        self.run.log(f"deleting the pod {pod.name}, which is stuck at {version}")
        self.run.check()
        retry_on_conflict(self.run, self.timing, lambda: self.cluster.delete_pod(pod))

    def _change_once(self, make_patch: MakePatch) -> Json | None:
        workload = self.cluster.workload(self.address)
        patch = make_patch(workload) if workload is not None else None
        if patch is None:
            return None
        self.run.check()
        return self.cluster.patch(on_workload(self.address, "patch"), patch)


# The cluster gives up a Deployment by itself, with a reason: its limit must come first.
_MARGIN_S = 30.0


def report_progress(context: WorkloadContext, view: WorkloadView, new: Sequence[Pod], gone: int) -> None:
    """Report the progress of a change, with its new pods and the number of removed old pods, and set its limits."""
    context.run.advance("created", len(new))
    context.run.advance("started", sum(pod.started for pod in new))
    context.run.advance("ready", sum(pod.ready for pod in new))
    context.run.advance("gone", gone)
    context.run.set_limits(
        **limits_of(
            view.workload,
            is_pulling=any(pod.pulling for pod in new),
            is_held=bool(view.late(context.timing.now())) and all(pod.ready for pod in new),
        )
    )


def limits_of(workload: Workload, *, is_pulling: bool = False, is_held: bool = False) -> dict[str, Any]:
    """Return the arguments of `Run.set_limits` for an action on a workload.

    StatefulSets and DaemonSets have no progressDeadlineSeconds: the default of a Deployment applies, since the nodes
    must pull the same images within it.

    Args:
        is_held: Whether only an overdue old pod is waited for, so that nothing is pulled.
    """
    step_s = replacement_s(workload) if is_held else max(replacement_s(workload), workload.progress_deadline_s)
    return parse_labels([workload.annotations]).limits(step_s + _MARGIN_S, is_pulling=is_pulling)


def replacement_s(workload: Workload) -> int:
    """Return how many seconds one pod may take to stop, and another pod to become available."""
    probes_s = max(
        sum(_probe_s(each[name]) for name in ("startupProbe", "readinessProbe") if each.get(name))
        for each in workload.template["spec"]["containers"]
    )
    # Kubernetes: PodSpec, the default of terminationGracePeriodSeconds.
    grace_s = workload.template["spec"].get("terminationGracePeriodSeconds", 30)
    return probes_s + int(workload.spec.get("minReadySeconds") or 0) + int(grace_s)


def _probe_s(probe: Json) -> int:
    """Return how long a probe may fail (Kubernetes API: Probe v1 core, with its defaults)."""
    period_s, failures = probe.get("periodSeconds") or 10, probe.get("failureThreshold") or 3
    return int(probe.get("initialDelaySeconds") or 0) + int(period_s) * int(failures)
