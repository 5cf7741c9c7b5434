"""What a redeploy of a service will do, decided from what was seen, without touching anything."""

from collections.abc import Mapping
from dataclasses import replace

from tutumd.engines.images.reference import parse_reference
from tutumd.engines.labels import Json, Wanted, read_wanted
from tutumd.engines.swarm import spec as specs
from tutumd.engines.swarm.newest import Newest
from tutumd.engines.swarm.order import choose_order
from tutumd.engines.swarm.plan import Plan, Result, Stage
from tutumd.engines.swarm.trial import is_needed
from tutumd.engines.swarm.verdict import View, converged
from tutumd.errors import EngineRefusedError
from tutumd.model import Plan as ToldPlan

_STOPPED = "the service is stopped and stays stopped: its next start runs the new image"
_UNCHANGED = "nothing was done: its image has not changed (label tutum.redeploy.skip-unchanged)"
_AGAIN = "the job runs once more; a run that fails is not undone, since that would run the version before again"


def wanted_of(spec: Json) -> Wanted:
    """Read what the labels ask for: those of the service, before those of its containers."""
    return read_wanted([{**specs.container_labels(spec), **specs.service_labels(spec)}])


def plan_redeploy(
    view: View,
    newest: Newest,
    variables: Mapping[str, str | None],
    *,
    stable_s: float,
    host_network: bool = False,
) -> Plan:
    """Plan to replace every task by one of the newest image.

    Args:
        variables: What is set in the new tasks' environment; None takes one away.
        stable_s: Seconds that a new task must run, where no label says otherwise.
        host_network: The tasks share the network of their node.

    Raises:
        EngineRefusedError: no node can run the image, or takes new tasks at all.
    """
    _refuse_unfit(view, newest)
    spec, wanted = view.spec, wanted_of(view.spec)
    is_job = specs.mode_of(spec) is specs.Mode.JOB
    choice = choose_order(spec, view.nodes, wanted.order, host_network=host_network)
    config = specs.update_config(
        spec,
        order=choice.order,
        stable_s=stable_s if wanted.stable_s is None else wanted.stable_s,
        deadline_s=wanted.timeout_s,
    )
    notes = (newest.note, _STOPPED if specs.is_stopped(spec) else "", _AGAIN if is_job else "")
    plan = Plan(
        before=specs.remembered(spec, variables),
        image=newest.image,
        config=None if is_job else config,  # swarmkit: manager/controlapi/service.go `validateMode`: jobs have none
        platforms=newest.platforms,
        status_before=view.status,
        running_before=tuple(task.id for task in view.running),
        image_after=newest.digest,
        order_reason="" if is_job else choice.reason,
        note="; ".join(note for note in notes if note),
    )
    if plan.config is not None and is_needed(spec, config, checked=newest.checked):
        plan = replace(plan, stage=Stage.TRIAL)
    if wanted.skip_unchanged and newest.image == specs.version(spec).image and (is_job or _is_whole(view)):
        return plan.at(Stage.SETTLE, Result(success=True, reason=_UNCHANGED))
    return plan


def tell(plan: Plan, view: View) -> ToldPlan:
    """Tell a plan to people."""
    return ToldPlan(
        order=str(plan.config["Order"]) if plan.config else "",
        order_reason=plan.order_reason,
        image_name=parse_reference(plan.image).with_digest(None).name,
        image_before=parse_reference(plan.old.image).digest,
        image_after=plan.image_after,
        steps=_steps(plan, view),
        notes=tuple(note for note in (plan.note, *_notes(view)) if note),
    )


def _steps(plan: Plan, view: View) -> tuple[str, ...]:
    if plan.result is not None:
        return ("nothing: the image has not changed (label tutum.redeploy.skip-unchanged)",)
    order = f"update the service to {plan.image}"
    if plan.config is None:
        return (order, "follow the job until it has ended as often as it shall")
    if specs.is_stopped(view.spec):
        return (order,)
    at_once = plan.config["Parallelism"]
    lots = f"{at_once} task{'s' if at_once > 1 else ''} at a time" if at_once else "all tasks at once"
    tried = (
        f"start one task of the new image beside the service, without traffic, and see it run for {plan.stable_s:g} s"
    )
    return (
        *((tried,) if plan.stage is Stage.TRIAL else ()),
        f"{order}, {lots}, with rollback where one does not run for {plan.stable_s:g} s",
        "follow it until every task is new and runs on a node that is ready",
        "put the service's own update settings back, which restarts nothing",
    )


def _notes(view: View) -> tuple[str, ...]:
    waiting = "an update of the service is under way: a redeploy would wait for its end" if view.updating else ""
    return waiting, *wanted_of(view.spec).problems


def _is_whole(view: View) -> bool:
    return specs.is_stopped(view.spec) or converged(view, specs.version(view.spec))


def _refuse_unfit(view: View, newest: Newest) -> None:
    """Refuse what no node would take: new tasks would wait for ever, after old ones were perhaps stopped for them."""
    if not view.nodes.open and not specs.is_stopped(view.spec):
        raise EngineRefusedError(
            "no node of the swarm takes new containers: all are paused, drained or away, see `docker node ls`; "
            "the service was left alone"
        )
    built = {(str(one["OS"]), str(one["Architecture"])) for one in newest.platforms or ()}
    there = view.nodes.platforms
    if not built or not there or any(os in ("", o) and arch in ("", a) for os, arch in built for o, a in there):
        return
    raise EngineRefusedError(
        f"no node of the swarm can run {newest.image}: it was built for {_named(built)}, and the nodes that take "
        f"containers are {_named(there)}; the service was left alone"
    )


def _named(platforms: "set[tuple[str, str]] | frozenset[tuple[str, str]]") -> str:
    return ", ".join(sorted(f"{os}/{arch}" for os, arch in platforms))
