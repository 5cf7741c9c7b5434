"""What a redeploy does, decided from the workload alone: what it sends, in which order pods go, why it is refused."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tutumd import model
from tutumd.engines.dockerapi import parse_reference
from tutumd.engines.kubernetes import templates
from tutumd.engines.kubernetes.journal import Result, Stage
from tutumd.engines.kubernetes.pods import Pod
from tutumd.engines.kubernetes.snapshots import running_digest, warnings
from tutumd.engines.kubernetes.workloads import RESTARTED_AT, Kind, Workload, fingerprint
from tutumd.engines.labels import Json
from tutumd.errors import EngineRefusedError

Variables = Mapping[str, str | None]

_PROGRESS_DEADLINE_S = 600
"""Of a Deployment that says none (Kubernetes: Deployments, "Progress Deadline Seconds")."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Redeploy:
    """One redeploy.

    Attributes:
        before: What of the pod template is changed, as it was (`templates.remembered`).
        old: Fingerprint of the whole template as it was.
        image: What the main container shall run.
        restarted_at: The time that is written into the template; no other restart has the same.
        min_ready_before, min_ready: Seconds that a new pod without a probe has to run before the next old one goes, as
            they were (None: not said) and as they are during this redeploy (None: left alone).
        running_before: UIDs of the pods that were ready.
        image_before: Digest that they ran.
        ordered: Fingerprint of the template that the API made of the patch; empty until it is known.
        undone: The same of the patch that put it back.
        pull_note: Why the nodes may not look for a newer image; empty where they do.
        result: How it ended; None while that is open.
    """

    before: Json
    old: str
    image: str
    restarted_at: str
    min_ready_before: int | None
    min_ready: int | None
    running_before: tuple[str, ...]
    image_before: str | None
    notes: tuple[str, ...] = ()
    pull_note: str = ""
    ordered: str = ""
    undone: str = ""
    stage: Stage = Stage.ORDER
    result: Result | None = None

    def at(self, stage: Stage, result: Result) -> "Redeploy":
        """Return the same redeploy at another stage, with its result so far."""
        return replace(self, stage=stage, result=result)

    def body(self, workload: Workload, variables: Variables) -> dict[str, Any]:
        """Return the strategic merge patch that begins it, for the workload at the version that was read."""
        spec: dict[str, Any] = {"template": templates.patch(workload, self.image, variables, self.restarted_at)}
        if self.min_ready is not None:
            spec["minReadySeconds"] = self.min_ready
        return {"metadata": {"resourceVersion": workload.version}, "spec": spec}

    def is_in(self, workload: Workload, variables: Variables) -> bool:
        """Tell whether the workload's template is what `body` makes of the old one, and nothing else."""
        template = workload.template
        return (
            workload.restarted_at == self.restarted_at
            and templates.carries(template, self.before, self.image, variables)
            and fingerprint(templates.restored(template, self.before, variables)) == self.old
        )

    def undo_body(self, workload: Workload, variables: Variables) -> list[Json]:
        """Return the JSON patch that puts the template back as a whole, as `kubectl rollout undo` does."""
        template = templates.restored(workload.template, self.before, variables)
        return [
            {"op": "replace", "path": "/metadata/resourceVersion", "value": workload.version},
            {"op": "replace", "path": "/spec/template", "value": template},
        ]

    def tidy_body(self, version: str) -> dict[str, Any]:
        """Return the merge patch that puts minReadySeconds back; that restarts nothing."""
        return {"metadata": {"resourceVersion": version}, "spec": {"minReadySeconds": self.min_ready_before}}


def plan_redeploy(
    workload: Workload,
    pods: Iterable[Pod],
    *,
    tag: str | None,
    variables: Variables,
    now: str,
    stable_s: float,
) -> Redeploy:
    """Plan a redeploy.

    Args:
        tag: To change the image to; None leaves its name.
        variables: Set in the main container; None removes one.
        now: RFC 3339 with digits below the second: a second restart with the same time would be none.
        stable_s: Seconds that a new pod without a readiness probe has to run before it counts.

    Raises:
        EngineRefusedError: it cannot be carried out, or the cluster would not follow it.
    """
    refuse_impossible(workload)
    _refuse_doubled(workload, variables)
    alive = tuple(pod for pod in pods if pod.alive)
    image = new_image(workload, tag)
    min_ready, capped = _min_ready(workload, stable_s)
    return Redeploy(
        before=templates.remembered(workload, image, variables),
        old=fingerprint(workload.template),
        image=image,
        restarted_at=now,
        min_ready_before=workload.spec.get("minReadySeconds"),
        min_ready=min_ready,
        running_before=tuple(pod.uid for pod in alive if pod.ready),
        image_before=running_digest(workload, alive),
        notes=(*_notes(workload), *capped),
        pull_note=pull_note(workload, image),
    )


def show(workload: Workload, redeploy: Redeploy, tag: str | None) -> model.Plan:
    """Tell people what a redeploy would do."""
    image = new_image(workload, tag)
    order, order_reason = order_of(workload)
    main = workload.main["name"]
    steps = [f"restart: write {RESTARTED_AT} into the pod template of {workload.address.words}"]
    if image != workload.main["image"]:
        steps.append(f"change the image of the container {main} to {image}")
    if redeploy.min_ready is not None:
        steps.append(
            f"set minReadySeconds to {redeploy.min_ready} for the time of the rollout, since no probe tells when the "
            f"container {main} is ready"
        )
    steps.append(f"wait until {workload.moving} new pods are ready")
    steps.append("put the pod template back where that fails")
    return model.Plan(
        order=order,
        order_reason=order_reason,
        image_name=image,
        image_before=redeploy.image_before,
        image_after=image.partition("@")[2] or None,
        steps=tuple(steps),
        notes=worth_saying(redeploy, workload),
    )


def worth_saying(redeploy: Redeploy, workload: Workload) -> tuple[str, ...]:
    """Collect what people should know before the redeploy begins."""
    notes = (*redeploy.notes, redeploy.pull_note, *warnings(workload))
    return tuple(note for note in notes if note)


def refuse_impossible(workload: Workload) -> None:
    """Raise EngineRefusedError where a changed template would replace no pod, or nobody would follow it."""
    name = workload.address.words
    if workload.metadata.get("deletionTimestamp"):
        raise EngineRefusedError(f"{name} is being deleted")
    if workload.spec.get("paused"):
        # kubectl: pkg/polymorphichelpers/objectrestarter.go refuses this too.
        raise EngineRefusedError(f"{name} is paused: resume it first (kubectl rollout resume)")
    if workload.strategy.get("type") == "OnDelete":
        raise EngineRefusedError(
            f"{name} has the update strategy OnDelete: its pods are replaced only when somebody deletes them, so a "
            "redeploy would change nothing; use RollingUpdate"
        )
    if workload.replicas and not workload.moving:
        raise EngineRefusedError(
            f"{name} has the partition {workload.rolling.get('partition')} and {workload.replicas} replicas: a "
            "redeploy would replace none of them; lower the partition"
        )


def _refuse_doubled(workload: Workload, variables: Variables) -> None:
    """Raise EngineRefusedError where a patch would change the first of two variables, and the last one counts."""
    names = [one["name"] for one in workload.main.get("env") or ()]
    for name in sorted(variables):
        if names.count(name) > 1:
            raise EngineRefusedError(
                f"{workload.address.words} sets the variable {name} more than once, so a new value for it would not "
                "count: remove all but one of them first"
            )


def new_image(workload: Workload, tag: str | None) -> str:
    """Return the image of the main container, with another tag if one is given: a digest is then dropped."""
    image: str = workload.main["image"]
    if tag is None:
        return image
    return replace(parse_reference(image), tag=tag, digest=None).name


def order_of(workload: Workload) -> tuple[str, str]:
    """Tell in which order pods are replaced, and why."""
    if workload.kind is Kind.STATEFUL_SET:
        return "stop-first", "a StatefulSet replaces one pod after the other, the one with the highest number first"
    surge, missing = workload.rolling.get("maxSurge"), workload.rolling.get("maxUnavailable")
    if workload.kind is Kind.DAEMON_SET:
        if surge in (None, 0, "0", "0%"):
            return "stop-first", "its maxSurge is 0: on each node the old pod stops before the new one starts"
        return "start-first", f"its maxSurge is {surge}: on each node the new pod is ready before the old one stops"
    if workload.strategy.get("type") == "Recreate":
        return "recreate", "its strategy is Recreate: all old pods stop before the first new one starts"
    replicas = workload.replicas
    most = _share("25%" if surge is None else surge, replicas, math.ceil)
    gap = _share("25%" if missing is None else missing, replicas, math.floor)
    if gap == 0 and most == 0:
        gap = 1  # kubernetes: pkg/controller/deployment/util/deployment_util.go ResolveFenceposts
    if gap == 0:
        return "start-first", "its maxUnavailable allows no gap: an old pod stops once a new one is ready"
    if most == 0:
        return "stop-first", f"its maxSurge is 0: {gap} old pods stop before new ones start"
    return "rolling", f"its maxUnavailable lets {gap} of {replicas} pods be missing meanwhile"


def pull_note(workload: Workload, image: str) -> str:
    """Say why nodes may not look for a newer image; empty where they do, or where none can be meant."""
    policy = workload.main.get("imagePullPolicy") or "Always"
    if policy == "Always" or "@" in image:
        return ""
    if policy == "Never":
        return f"the nodes never pull {image} (imagePullPolicy: Never): they use the copy that they have"
    return (
        f"nodes that have {image} already use their copy (imagePullPolicy: {policy}), also if the tag was moved in the "
        "registry; set imagePullPolicy: Always to pull it"
    )


def _notes(workload: Workload) -> tuple[str, ...]:
    notes = []
    if workload.is_stopped:
        notes.append("the service is stopped and stays stopped: its next start makes new pods")
    if workload.status.get("desiredNumberScheduled") == 0:
        notes.append("no node fits now, or those that do are not ready: there is no pod to replace")
    if workload.moving < workload.replicas:
        notes.append(
            f"the partition {workload.rolling['partition']} keeps {workload.replicas - workload.moving} of "
            f"{workload.replicas} pods as they are"
        )
    return tuple(notes)


def _min_ready(workload: Workload, stable_s: float) -> tuple[int | None, tuple[str, ...]]:
    """Return what minReadySeconds has to be for this redeploy, None where it is right already; and what to note of it.

    A pod without a readiness probe is ready as soon as it runs: an image that dies a second later would have replaced
    all the pods that worked.
    """
    seconds = math.ceil(stable_s)
    if workload.is_stopped or workload.has_probe:
        return None, ()
    notes: tuple[str, ...] = ()
    deadline = int(workload.spec.get("progressDeadlineSeconds") or _PROGRESS_DEADLINE_S)
    # Kubernetes: DeploymentSpec, progressDeadlineSeconds must be greater than minReadySeconds. Others have none.
    if workload.kind is Kind.DEPLOYMENT and seconds >= deadline:
        notes = (
            f"a new pod has to run for {deadline - 1} s, not for {seconds} s as wanted: minReadySeconds has to be "
            f"below progressDeadlineSeconds, which is {deadline}",
        )
        seconds = deadline - 1
    return (None if seconds <= int(workload.spec.get("minReadySeconds") or 0) else seconds), notes


def _share(value: int | str, total: int, rounded: Any) -> int:
    """Resolve a number or a percentage of the pods."""
    if isinstance(value, str) and value.endswith("%"):
        return int(rounded(total * int(value[:-1]) / 100))
    return int(value)
