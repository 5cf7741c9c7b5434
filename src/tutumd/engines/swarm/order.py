"""Whether a new task starts before the old one has stopped, and why."""

from typing import NamedTuple

from tutumd.engines.labels import Json, Order
from tutumd.engines.swarm import spec as specs
from tutumd.engines.swarm.tasks import Nodes


class Choice(NamedTuple):
    """An order, never `auto`, and its reason in a sentence."""

    order: Order
    reason: str


def choose_order(spec: Json, nodes: Nodes, asked: Order, *, host_network: bool) -> Choice:
    """Choose the order of one update.

    Args:
        asked: What the label `tutum.redeploy.order` says.
        host_network: The tasks share the network of their node.
    """
    if asked is Order.STOP_FIRST:
        return Choice(Order.STOP_FIRST, "the label tutum.redeploy.order asks for it")
    if clash := _clash(spec, nodes, host_network):
        but = ", whatever the label tutum.redeploy.order asks for" if asked is Order.START_FIRST else ""
        return Choice(Order.STOP_FIRST, f"{clash}{but}")
    if asked is Order.START_FIRST:
        return Choice(Order.START_FIRST, "the label tutum.redeploy.order asks for it")
    if (specs.config_of(spec) or {}).get("Order") == Order.START_FIRST:
        return Choice(Order.START_FIRST, "the service's own update settings ask for it")
    if shared := shared_mount(spec):
        return Choice(Order.STOP_FIRST, f"two tasks at once would write to the mount {shared}")
    return Choice(Order.START_FIRST, "nothing forbids that old and new tasks run side by side")


def _clash(spec: Json, nodes: Nodes, host_network: bool) -> str:
    """Say what makes it impossible that two tasks overlap; empty where nothing does."""
    if specs.mode_of(spec) is not specs.Mode.REPLICATED:
        # moby/moby#37972: global, start-first and rollback together have lost the good task.
        return "the service is global: with start-first a rollback could lose the good task"
    if host_network:
        return "its tasks use the network of their node, where two would want the same ports"
    ports = (spec.get("EndpointSpec") or {}).get("Ports") or []
    host = next((port for port in ports if port.get("PublishMode") == "host"), None)
    if host is not None:
        # moby/moby#36934: the new task would wait for ever for the old one's port.
        number = host.get("PublishedPort") or host.get("TargetPort")
        return f"port {number} is published in host mode, and only one task of a node can have it"
    per_node = specs.most_per_node(spec)
    if per_node and specs.replicas_of(spec) >= per_node * nodes.usable:
        return f"at most {per_node} of its tasks may be on a node, and no node has room for one more"
    return ""


def shared_mount(spec: Json) -> str:
    """Name the first mount that two tasks at once would write to; empty where there is none."""
    container = (spec.get("TaskTemplate") or {}).get("ContainerSpec") or {}
    for mount in container.get("Mounts") or []:
        if mount.get("Type") not in ("tmpfs", "image") and not mount.get("ReadOnly"):
            return str(mount.get("Target"))
    return ""
