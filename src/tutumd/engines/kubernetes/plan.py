"""The plan of a redeploy, decided from the workload alone: its changes, their order, and reasons to refuse it."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

from tutumd.engines.kubernetes.discover import running_digest, warnings
from tutumd.engines.kubernetes.health import describe_stuck, is_finished
from tutumd.engines.kubernetes.patches import RedeployJournal, Variables, all_containers, stored_parts
from tutumd.engines.kubernetes.view import WorkloadView
from tutumd.engines.kubernetes.workloads import RESTARTED_AT, Kind, Workload, fingerprint
from tutumd.engines.labels import (
    IMAGE_ROLLED_BACK,
    IMAGE_TAGGED,
    describe_lasting_tag,
    describe_skip,
    original_image,
    parse_labels,
    parse_reference,
    rollback_image,
)
from tutumd.engines.rollout import Result, Stage, Timing
from tutumd.errors import EngineRefusedError
from tutumd.model import Plan, RunLimits, WantedImage

# Pods that a redeploy may add to those that are wanted: more could be too many for nodes and databases.
MAX_SURGE = 10


def plan_redeploy(
    view: WorkloadView,
    tag: str | None,
    variables: Variables,
    timing: Timing,
    skip_unchanged: bool | None = None,
    wanted: WantedImage | None = None,
) -> RedeployJournal:
    """Return the journal of a redeploy.

    Args:
        tag: Replaces the tag of the image; None leaves its name as it is.
        skip_unchanged: Whether an unchanged image is skipped; None: the workload's annotation decides.
        wanted: The image of a rollback.

    Raises:
        EngineRefusedError: The redeploy cannot be done, or the cluster would not carry it out.
    """
    workload = view.workload
    refuse_impossible(workload, variables)
    original = original_image(workload.annotations, workload.main["image"])
    image = rollback_image(original, wanted) if wanted else new_image(original, tag)
    labels = parse_labels([workload.annotations])
    min_ready, capped = _min_ready(view, timing.stable_s if labels.stable_s is None else labels.stable_s)
    surge = None if min_ready is None else _surge(workload)
    journal = RedeployJournal(
        before=stored_parts(workload, image, variables),
        old=fingerprint(workload.template),
        image=image,
        annotations={
            IMAGE_ROLLED_BACK: f"{image} {original}" if wanted else None,
            **({IMAGE_TAGGED: image} if tag and image != original else {}),
        },
        # The microseconds distinguish two restarts: a restart with the same time would change nothing.
        restarted_at=timing.now().isoformat(timespec="microseconds").replace("+00:00", "Z"),
        min_ready_before=workload.spec.get("minReadySeconds"),
        min_ready=min_ready,
        surge_before=None if surge is None else workload.rolling["maxSurge"],
        surge=surge,
        running_before=tuple(pod.uid for pod in view.ready),
        image_before=running_digest(workload, view.alive),
        notes=(
            *(() if tag else describe_lasting_tag(workload.annotations, image)),
            *_notes(workload, f"runs {image}" if wanted else "makes new pods"),
            *capped,
        ),
        pull_note=pull_note(workload, image),
        stopped=workload.is_stopped,
    )
    may_skip = labels.skip_unchanged if skip_unchanged is None else skip_unchanged
    return _skip_unchanged(journal, workload) if may_skip and not variables else journal


def _skip_unchanged(journal: RedeployJournal, workload: Workload) -> RedeployJournal:
    """Return the journal of a redeploy that does nothing if its nodes would start the images that already run."""
    is_whole = journal.stopped or (journal.image_before is not None and is_finished(workload))
    if journal.image != workload.main["image"] or not is_whole:
        return journal
    containers = (container for _, container in all_containers(workload.template) if "@" not in container["image"])
    # Nodes check for a newer image at each start.
    pulled = next((each for each in containers if each.get("imagePullPolicy", "Always") == "Always"), None)
    if pulled is not None:
        return replace(
            journal,
            notes=(
                *journal.notes,
                f"not skipped: only a pull by the nodes shows whether {pulled['image']} has changed (imagePullPolicy)",
            ),
        )
    return replace(
        journal,
        min_ready=None,
        surge=None,
        stage=Stage.FINISH,
        result=Result(success=True, reason=describe_skip(None if journal.stopped else journal.image_before)),
    )


def describe_plan(view: WorkloadView, journal: RedeployJournal, limits: RunLimits) -> Plan:
    """Return the dry-run plan of a redeploy with these limits."""
    workload = view.workload
    order, order_reason = order_of(workload)
    main = workload.main
    steps = [f"restart: write {RESTARTED_AT} into the pod template of {workload.address.words}"]
    if journal.image != main["image"]:
        steps.append(f"change the image of the container {main['name']} to {journal.image}")
    if journal.result is not None:
        steps = [journal.result.reason]
    elif journal.min_ready is not None:
        steps.append(
            f"set minReadySeconds to {journal.min_ready} during the rollout, because the container {view.unprobed} "
            "has no readiness probe"
        )
        if journal.surge is not None:
            steps.append(f"set maxSurge to {journal.surge} during the rollout, so that new pods are watched together")
    return Plan(
        order=order,
        order_reason=order_reason,
        image_name=journal.image,
        image_before=journal.image_before,
        image_after=journal.image.partition("@")[2] or None,
        steps=(
            *steps,
            *(
                ()
                if journal.result
                else (f"wait until {workload.moving} new pods are ready", "restore the pod template if that fails")
            ),
        ),
        notes=(*all_notes(view, journal), str(limits)),
    )


def all_notes(view: WorkloadView, journal: RedeployJournal) -> tuple[str, ...]:
    """Return the notes for people before the redeploy begins."""
    return tuple(filter(None, (describe_stuck(view), *journal.notes, journal.pull_note, *warnings(view.workload))))


def refuse_impossible(workload: Workload, variables: Variables) -> None:
    """Raise EngineRefusedError if a redeploy would replace no pod, or could not set the variables."""
    if workload.refusal:
        raise EngineRefusedError(workload.refusal)
    # A patch changes the first of two variables of the same name, but the last variable counts.
    names = [entry["name"] for entry in workload.main.get("env") or ()]
    repeated = next((variable for variable in sorted(variables) if names.count(variable) > 1), None)
    if repeated is not None:
        raise EngineRefusedError(
            f"{workload.address.words} sets the variable {repeated} more than once, so a new value for it would not "
            "count: remove all but one of them first"
        )


def new_image(image: str, tag: str | None) -> str:
    """Return the image, with the tag if one is given; its digest is then dropped."""
    return image if tag is None else replace(parse_reference(image), tag=tag, digest=None).name


def order_of(workload: Workload) -> tuple[str, str]:
    """Return the order in which pods are replaced, and its reason."""
    if workload.kind is Kind.STATEFUL_SET:
        return "stop-first", "a StatefulSet replaces one pod after the other, the one with the highest number first"
    max_surge, max_unavailable = workload.rolling.get("maxSurge"), workload.rolling.get("maxUnavailable")
    if workload.kind is Kind.DAEMON_SET:
        if not workload.adds_pods:
            return "stop-first", "its maxSurge is 0: on each node the old pod stops before the new one starts"
        return "start-first", f"its maxSurge is {max_surge}: on each node the new pod is ready before the old one stops"
    if workload.strategy.get("type") == "Recreate":
        return "recreate", "its strategy is Recreate: all old pods stop before the first new one starts"
    surge = _resolve("25%" if max_surge is None else max_surge, workload.replicas, math.ceil)
    gap = _resolve("25%" if max_unavailable is None else max_unavailable, workload.replicas, math.floor)
    if gap == 0 and surge == 0:
        gap = 1  # kubernetes: pkg/controller/deployment/util/deployment_util.go ResolveFenceposts
    if gap == 0:
        return "start-first", "its maxUnavailable allows no gap: an old pod stops once a new one is ready"
    if surge == 0:
        return "stop-first", f"its maxSurge is 0: {gap} old pods stop before new ones start"
    return "rolling", f"its maxUnavailable lets {gap} of {workload.replicas} pods be missing in the meantime"


def pull_note(workload: Workload, image: str) -> str:
    """Return why nodes may not check for a newer image; empty if they do, or if the image has a digest."""
    policy = workload.main.get("imagePullPolicy") or "Always"
    if policy == "Always" or "@" in image:
        return ""
    if policy == "Never":
        return f"the nodes never pull {image} (imagePullPolicy: Never): they use the copy that they have"
    return (
        f"nodes that have {image} already use their copy (imagePullPolicy: {policy}), also if the tag was moved in the "
        "registry; set imagePullPolicy: Always to pull it"
    )


def _notes(workload: Workload, next_start: str) -> Iterator[str]:
    if workload.is_stopped:
        yield f"the service is stopped and stays stopped: its next start {next_start}"
    if workload.moving < workload.replicas:
        yield (
            f"the partition {workload.rolling['partition']} keeps {workload.replicas - workload.moving} of "
            f"{workload.replicas} pods as they are"
        )


def _min_ready(view: WorkloadView, stable_s: float) -> tuple[int | None, tuple[str, ...]]:
    """Return the minReadySeconds of this redeploy (None: the current value suffices), and notes about it.

    Without readiness probes, a pod is ready as soon as its containers run: an image that crashes a second later would
    have replaced all working pods.
    """
    workload, seconds = view.workload, math.ceil(stable_s)
    if workload.is_stopped or not view.unprobed:
        return None, ()
    notes: tuple[str, ...] = ()
    deadline = workload.progress_deadline_s
    # Kubernetes: DeploymentSpec, progressDeadlineSeconds must be greater than minReadySeconds. Other kinds have none.
    if workload.kind is Kind.DEPLOYMENT and seconds >= deadline:
        notes = (
            f"a new pod has to run for {deadline - 1} s, not for {seconds} s: minReadySeconds has to be "
            f"below progressDeadlineSeconds, which is {deadline}",
        )
        seconds = deadline - 1
    return (None if seconds <= int(workload.spec.get("minReadySeconds") or 0) else seconds), notes


def _surge(workload: Workload) -> int | None:
    """Return the maxSurge of a redeploy that raises minReadySeconds; None: the current value stays.

    New pods that start together are watched together. Any value but the default may be a limit that somebody chose.
    """
    surge, default = min(workload.replicas, MAX_SURGE), "25%"
    is_default = workload.kind is Kind.DEPLOYMENT and workload.rolling.get("maxSurge") == default
    return surge if is_default and surge > _resolve(default, workload.replicas, math.ceil) else None


def _resolve(value: int | str, total: int, rounded: Callable[[float], int]) -> int:
    """Return a number of pods that is given as a number or as a percentage."""
    if isinstance(value, str) and value.endswith("%"):
        return rounded(total * int(value[:-1]) / 100)
    return int(value)
