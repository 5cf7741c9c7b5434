"""The order of an update: whether a new task starts before or after the old one stops."""

from tutumd.engines.labels import Json, Order
from tutumd.engines.swarm import spec as specs
from tutumd.engines.swarm.view import Nodes


def choose_order(spec: Json, nodes: Nodes, requested: Order, *, host_network: bool) -> tuple[Order, str]:
    """Return the order of one update, never `auto`, and its reason in a sentence.

    Args:
        requested: The value of the label `tutum.redeploy.order`.
        host_network: The tasks share the network of their node.
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
    ports = (spec.get("EndpointSpec") or {}).get("Ports") or []
    host = next((port for port in ports if port.get("PublishMode") == "host"), None)
    if host is not None:
        # moby/moby#36934: the new task would wait forever for the old one's port.
        number = host.get("PublishedPort") or host.get("TargetPort")
        return f"port {number} is published in host mode, and only one task of a node can have it"
    per_node = specs.max_per_node(spec)
    if per_node and specs.replicas_of(spec) >= per_node * len(nodes.open):
        return f"at most {per_node} of its tasks may be on a node, and no node has room for one more"
    return ""


def shared_mount(spec: Json) -> str:
    """Return the first mount that two tasks at once would write to; empty if there is none."""
    for mount in specs.container_spec(spec).get("Mounts") or []:
        if mount.get("Type") not in ("tmpfs", "image") and not mount.get("ReadOnly"):
            return str(mount.get("Target"))
    return ""
