"""The plan of a redeploy: the image and the changes, decided from a view of the service."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from tutumd.engines.labels import (
    IMAGE_ROLLED_BACK,
    IMAGE_TAGGED,
    Json,
    describe_lasting_tag,
    describe_skip,
    original_image,
    parse_reference,
)
from tutumd.engines.rollout import Result, Stage, Timing, join_sentences
from tutumd.engines.swarm import spec as specs
from tutumd.engines.swarm.api import SwarmApi
from tutumd.engines.swarm.health import describe_pace, is_converged
from tutumd.engines.swarm.images import ResolvedImage, is_health_checked, resolve_image, split_digest
from tutumd.engines.swarm.new_tasks import choose_order, needs_probe
from tutumd.engines.swarm.view import ServiceView
from tutumd.errors import EngineRefusedError
from tutumd.model import Plan, RunLimits, WantedImage


@dataclass(frozen=True, slots=True, kw_only=True)
class RedeployJournal:
    """One redeploy.

    Attributes:
        before: The changed parts of the specification before the change (`spec.stored_parts`), and as `HighestForce`
            the highest ForceUpdate of a task, including ended tasks.
        image: The image of the new tasks, with its digest if known.
        config: The UpdateConfig of this update; None for a job, which has none.
        platforms: Platforms of the image; None changes nothing.
        status_before: The engine's report on the last update before ours, to distinguish the two.
        running_before: IDs of the tasks that ran.
        image_after: Digest of the new image, even if its name has none.
        order_reason: Why new tasks start before or after the old tasks stop.
        labels: Labels of the service that the update sets; None removes a label.
        note: A sentence for the result of a success.
        stopped: Whether the service was stopped when the redeploy began.
        result: Result of the redeploy; None until it is known.
        old, new: The version before the update, and the version of the update.
        is_job: Whether the service is a job: an update runs it once more.
        stable_s: Seconds that a new task must run before it counts.
    """

    before: Json
    image: str
    config: Json | None
    platforms: tuple[Json, ...] | None
    status_before: Json
    running_before: tuple[str, ...]
    image_after: str | None = None
    labels: Json = field(default_factory=dict)
    order_reason: str = ""
    note: str = ""
    stopped: bool = False
    stage: Stage = Stage.APPLY
    result: Result | None = None

    @property
    def old(self) -> specs.Version:
        return specs.version(self.before)

    @property
    def new(self) -> specs.Version:
        # A rollback restores the old ForceUpdate, and the failed tasks stay in the list: the next redeploy must differ.
        highest = int(self.before.get("HighestForce", 0))
        return specs.Version(image=self.image, force=max(self.old.force, highest) + 1)

    @property
    def is_job(self) -> bool:
        return self.config is None

    @property
    def stable_s(self) -> float:
        return int((self.config or {}).get("Monitor") or 0) / specs.NANO


def prepare_redeploy(
    api: SwarmApi,
    view: ServiceView,
    tag: str | None,
    variables: Mapping[str, str | None],
    timing: Timing,
    limits: RunLimits,
    skip_unchanged: bool | None = None,
    wanted: WantedImage | None = None,
) -> RedeployJournal:
    """Return the journal of a redeploy, after queries to the engine and the registry. Raises as `plan_redeploy`."""
    image = resolve_image(api, view, tag, wanted)
    return plan_redeploy(
        view,
        image,
        variables,
        tag,
        stable_s=timing.stable_s,
        timeout_s=limits.timeout_s,
        host_network=api.is_on_host_network(view.spec),
        # As long as this node does not have the image, the running image shows whether it has one.
        image_is_checked=is_health_checked(api, image.image, view.version.image),
        skip_unchanged=skip_unchanged,
    )


def plan_redeploy(
    view: ServiceView,
    image: ResolvedImage,
    variables: Mapping[str, str | None],
    tag: str | None = None,
    *,
    stable_s: float,
    timeout_s: float = RunLimits().timeout_s,
    host_network: bool = False,
    image_is_checked: bool = False,
    skip_unchanged: bool | None = None,
) -> RedeployJournal:
    """Return the journal of a redeploy that replaces every task by a new task of the image.

    Args:
        variables: Variables to set in the new tasks' environment; None removes a variable.
        tag: The tag of the call.
        stable_s, timeout_s: Seconds that a new task must run, and maximum duration of the redeploy, unless a label sets
            others.
        host_network: Whether the tasks share the network of their node.
        image_is_checked: Whether the image has a health check.
        skip_unchanged: Whether an unchanged image is skipped; None: the service's label decides.

    Raises:
        EngineRefusedError: No node can run the image, or none accepts new tasks.
    """
    _refuse_without_node(view, image)
    spec, labels = view.spec, specs.read_labels(view.spec)
    is_job, stopped = specs.mode_of(spec) is specs.Mode.JOB, specs.is_stopped(spec)
    order, order_reason = choose_order(spec, view.nodes, labels.order, host_network=host_network)
    stable_s = stable_s if labels.stable_s is None else labels.stable_s
    probed = bool(stable_s) and needs_probe(spec, order, image_is_checked=image_is_checked)
    config = specs.update_config(
        spec, order=order, stable_s=stable_s, timeout_s=labels.timeout_s or timeout_s, is_probed=probed
    )
    is_whole = is_job or stopped or is_converged(view, view.version)
    may_skip = (labels.skip_unchanged if skip_unchanged is None else skip_unchanged) and not variables
    stage = Stage.PROBE if probed else Stage.APPLY
    result = None
    if may_skip and is_whole and image.image == view.version.image:
        stage = Stage.FINISH
        result = Result(success=True, reason=describe_skip(None if is_job or stopped else image.digest))
    starting = image.image if image.replaced else "the new image"
    return RedeployJournal(
        before={
            **specs.stored_parts(spec, variables),
            "HighestForce": max((task.version.force for task in view.tasks), default=0),
        },
        image=image.image,
        config=None if is_job else config,  # swarmkit: manager/controlapi/service.go `validateMode`: jobs have none
        platforms=image.platforms,
        status_before=view.status,
        running_before=tuple(task.id for task in view.running),
        image_after=image.digest,
        labels={
            IMAGE_ROLLED_BACK: f"{image.image} {image.replaced}" if image.replaced else None,
            **({IMAGE_TAGGED: image.image.partition("@")[0]} if tag else {}),
        },
        order_reason="" if is_job else order_reason,
        note=join_sentences(
            image.note,
            *(
                ()
                if tag or image.replaced
                else describe_lasting_tag(specs.label_sets(spec)[0], view.version.image.partition("@")[0])
            ),
            f"the service is stopped and stays stopped: its next start runs {starting}" if stopped else "",
            "the job runs once more; a failed run is not rolled back, because that would run the previous version again"
            if is_job
            else "",
        ),
        stopped=stopped,
        stage=stage,
        result=result,
    )


def describe_plan(journal: RedeployJournal, view: ServiceView, limits: RunLimits) -> Plan:
    """Return the dry-run plan of a redeploy with these limits."""
    waiting = "an update of the service is under way: a redeploy would wait for its end" if view.updating else ""
    return Plan(
        order=str(journal.config["Order"]) if journal.config else "",
        order_reason=journal.order_reason,
        image_name=parse_reference(original_image(journal.labels, journal.image)).with_digest(None).name,
        image_before=split_digest(journal.old.image)[1],
        image_after=journal.image_after,
        steps=_steps(journal, view),
        notes=tuple(filter(None, (journal.note, waiting, *specs.read_labels(view.spec).problems, str(limits)))),
    )


def _steps(journal: RedeployJournal, view: ServiceView) -> tuple[str, ...]:
    if journal.result is not None:
        return (journal.result.reason,)
    update = f"update the service to {journal.image}"
    if journal.config is None:
        return (update, "follow the job until enough of its tasks have completed")
    if specs.is_stopped(view.spec):
        return (update,)
    duration = f"{journal.stable_s:g} s"
    probe = (
        f"start one task of the new image beside the service, without traffic, and wait until it has run for {duration}"
    )
    return (
        *((probe,) if journal.stage is Stage.PROBE else ()),
        f"{update}, {describe_pace(journal.config)}, with a rollback if one does not run for {duration}",
        "follow it until every task is new and runs on a node that is ready",
        "restore the service's own update settings, which restarts nothing",
    )


def _refuse_without_node(view: ServiceView, image: ResolvedImage) -> None:
    """Raise EngineRefusedError if no node would accept a new task: the task would wait forever."""
    if not view.nodes.open and not specs.is_stopped(view.spec):
        raise EngineRefusedError(
            "no node of the swarm takes new containers: all are paused, drained or away, see `docker node ls`; "
            "the service was left alone"
        )
    built = {(str(platform["OS"]), str(platform["Architecture"])) for platform in image.platforms or ()}
    there = view.nodes.platforms
    if not built or not there or any(os in ("", o) and arch in ("", a) for os, arch in built for o, a in there):
        return
    raise EngineRefusedError(
        f"no node of the swarm can run {image.image}: it was built for {_list_platforms(built)}, and the nodes that "
        f"take containers are {_list_platforms(there)}; the service was left alone"
    )


def _list_platforms(platforms: Collection[tuple[str, str]]) -> str:
    return ", ".join(sorted(f"{os}/{arch}" for os, arch in platforms))
