"""How new tasks start: before or after the old tasks stop, and whether a probe task of the new image runs first.

Without a health check, the engine counts a new task as running immediately and stops an old task for it. Until the
engine notices that the new task fails, a part of the service is down: all of it if there is one task. The probe task
runs beside the service and gets no traffic: it has no network aliases, ports or labels of the service.
"""

import copy
from typing import Any

from tutumd.engines.dockerapi.documents import is_health_check
from tutumd.engines.labels import ACTION, IGNORE, Json, Order
from tutumd.engines.rollout import HoldTimer, blame, unfinished
from tutumd.engines.swarm import spec as specs
from tutumd.engines.swarm.context import ServiceContext, report_progress
from tutumd.engines.swarm.health import describe_task, find_culprit, has_failed, lost_tasks
from tutumd.engines.swarm.view import Nodes
from tutumd.errors import EngineRefusedError
from tutumd.model import Phase

# Stored as `order_reason`, and compared after a restart.
NO_ROOM = "no node has room for a new task beside the old ones"
# docker/swarmkit: manager/controlapi/service.go `validateServiceSpec`.
_MAX_NAME = 63


def choose_order(spec: Json, nodes: Nodes, requested: Order, *, host_network: bool) -> tuple[Order, str]:
    """Return the order of one update, never `auto`, and its reason in a sentence.

    Args:
        requested: Value of the label `tutum.redeploy.order`.
        host_network: Whether the tasks share the network of their node.
    """
    if requested is Order.STOP_FIRST:
        return Order.STOP_FIRST, "the label tutum.redeploy.order requests it"
    if conflict := _conflict(spec, nodes, host_network):
        addition = ", whatever the label tutum.redeploy.order requests" if requested is Order.START_FIRST else ""
        return Order.STOP_FIRST, f"{conflict}{addition}"
    if requested is Order.START_FIRST:
        return Order.START_FIRST, "the label tutum.redeploy.order requests it"
    if (spec.get(specs.UPDATE_CONFIG) or {}).get("Order") == Order.START_FIRST:
        return Order.START_FIRST, "the service's own update settings request it"
    if shared := shared_mount(spec):
        return Order.STOP_FIRST, f"two tasks at once would write to the mount {shared}"
    return Order.START_FIRST, "nothing forbids that old and new tasks run side by side"


def _conflict(spec: Json, nodes: Nodes, host_network: bool) -> str:
    """Return why two tasks cannot overlap; empty if they can."""
    if specs.mode_of(spec) is not specs.Mode.REPLICATED:
        # moby/moby#37972: global, start-first and rollback together have lost the good task.
        return "the service is global: with start-first a rollback could lose the good task"
    if host_network:
        return "its tasks use the network of their node, where two would want the same ports"
    host = next(
        (port for port in (spec.get("EndpointSpec") or {}).get("Ports") or [] if port.get("PublishMode") == "host"),
        None,
    )
    if host is not None:
        # moby/moby#36934: the new task would wait forever for the old one's port.
        number = host.get("PublishedPort") or host.get("TargetPort")
        return f"port {number} is published in host mode, and only one task of a node can have it"
    per_node = specs.max_per_node(spec)
    if per_node and specs.replicas_of(spec) >= per_node * len(nodes.open):
        return f"at most {per_node} of its tasks may be on a node, and no node has room for one more"
    return ""


def shared_mount(spec: Json) -> str:
    """Return the first mount to which two simultaneous tasks would write; empty if there is none."""
    mounts = specs.container_spec(spec).get("Mounts") or []
    written = (each for each in mounts if each.get("Type") not in ("tmpfs", "image") and not each.get("ReadOnly"))
    return next((str(mount.get("Target")) for mount in written), "")


def needs_probe(spec: Json, order: Order, *, image_is_checked: bool) -> bool:
    """Return whether an update could stop an old task for a new task that does not last.

    If the new tasks have a health check, the engine waits until each is healthy.

    Args:
        image_is_checked: Whether the image has a health check, which a check of the service replaces or disables.
    """
    own = (specs.container_spec(spec).get("Healthcheck") or {}).get("Test")
    health_checked = is_health_check(own) if own else image_is_checked
    runs = specs.mode_of(spec) is specs.Mode.REPLICATED and specs.replicas_of(spec) > 0
    return runs and order is Order.START_FIRST and not shared_mount(spec) and not health_checked


def probe_name(name: str, action_uuid: str) -> str:
    """Return the name of an action's probe."""
    suffix = f"-trial-{action_uuid[:8]}"
    return name[: _MAX_NAME - len(suffix)] + suffix


def probe_spec(spec: Json, name: str, action_uuid: str) -> dict[str, Any]:
    """Return the specification of a probe, made from the specification of the update."""
    template: dict[str, Any] = copy.deepcopy(dict(spec["TaskTemplate"]))
    # A second attempt, for a task whose node rejects it or goes down.
    template["RestartPolicy"] = {"Condition": "on-failure", "MaxAttempts": 1, "Delay": specs.NANO}
    template["ContainerSpec"].pop("Labels", None)
    for network in template.get("Networks") or ():
        network.pop("Aliases", None)
    return {
        "Name": name,
        "Labels": {IGNORE: "true", ACTION: action_uuid},
        "TaskTemplate": template,
        "Mode": {"Replicated": {"Replicas": 1}},
        "EndpointSpec": {"Mode": "dnsrr"},
    }


def run_probe(context: ServiceContext, spec: Json, stable_s: float) -> tuple[str, str]:
    """Run a probe until it is stable or fails, then remove it.

    Args:
        spec: The specification of the update.

    Returns:
        Why the probe failed, and its last output lines; both empty if it is stable. The reason is `NO_ROOM` if no node
        had room for the probe.

    Raises:
        EngineRefusedError: The engine does not accept the probe; no probe remains.
    """
    name = probe_name(context.name, context.run.action_uuid)
    try:
        start_probe(context, spec, name)
        context.run.log(f"probing the new image beside the service for {stable_s:g} s", Phase.CHECKING)
        failure = _watch_probe(context, spec, name, stable_s)
    except EngineRefusedError:
        remove_probe(context)
        raise
    remove_probe(context)
    return failure


def start_probe(context: ServiceContext, spec: Json, name: str) -> None:
    """Create the probe unless it exists. If the probe ended while no server watched, it is created again."""
    view = context.api.view(name)
    if view is not None and not any(task.ended_early for task in view.tasks):
        return
    context.run.check()
    if view is not None:
        # The engine itself may have been restarted in the meantime.
        context.api.remove(name, context.run.action_uuid)
    # If an earlier process sent it, the probe may have appeared only after our look.
    auth = context.api.stored_or_fresh_auth(specs.version(spec).image)
    context.api.create(probe_spec(spec, name, context.run.action_uuid), auth)


def remove_probe(context: ServiceContext) -> None:
    """Remove the probe if it exists."""
    context.run.check()
    context.api.remove(probe_name(context.name, context.run.action_uuid), context.run.action_uuid)


def _watch_probe(context: ServiceContext, spec: Json, name: str, stable_s: float) -> tuple[str, str]:
    held, lost = HoldTimer(context.timing.clock), frozenset[str]()
    while True:
        view = context.api.view(name)
        if view is None:
            return "somebody else removed the probe task of the new image", ""
        report_progress(context, spec, view.tasks)
        lost |= lost_tasks(view.tasks)
        is_failed, no_room = has_failed(view.tasks, lost), any(task.lacks_room for task in view.tasks)
        held_s = held.seconds((is_failed, no_room, [task.id for task in view.running]))
        if view.running and held_s >= stable_s and not is_failed:
            return "", ""
        if no_room and held_s >= context.timing.no_room_s:
            return NO_ROOM, ""
        # A second node may accept what the first rejected, but an exit is final.
        exited = any(task.exited and task.id not in lost for task in view.tasks)
        ended = exited or (is_failed and held_s >= context.timing.doubt_s)
        if ended or context.run.remaining_s() <= 0:
            culprit = find_culprit(view.tasks, view.version)
            reason = (
                "the probe task of the new image failed"
                if ended
                else unfinished(context.run, "the probe task of the new image does not run yet")
            )
            cause = describe_task(culprit, view.tasks) if culprit else ""
            return blame(reason, cause), context.api.log_tail(view, culprit)
        poll_s = context.timing.poll_s
        context.run.sleep(min(poll_s, stable_s - held_s) if view.running and held_s < stable_s else poll_s)
