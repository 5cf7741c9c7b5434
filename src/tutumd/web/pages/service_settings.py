"""What the labels of a service configure, in words."""

from tutumd.model import Service

_MEANINGS = {
    "tutum.owner": "The user who owns the service.",
    "tutum.service": "The name of the service.",
    "tutum.redeploy.order": "Whether a new container starts before or after the old one stops.",
    "tutum.redeploy.timeout": "Seconds that one redeploy may take, pulls apart.",
    "tutum.redeploy.stall": "Seconds that one redeploy may take without progress.",
    "tutum.redeploy.stable": "Seconds that a new container must run without a restart.",
    "tutum.redeploy.drain": "Seconds that an old container stays after its successor is reachable.",
    "tutum.redeploy.skip-unchanged": "Whether a redeploy that finds no newer image does nothing.",
    "tutum.redeploy.keep-images": "How many older images are kept, beside the current and the previous one.",
    "tutum.scale.max": "The most containers that the service may be scaled to.",
    "tutum.scale.hpa": "What scaling does with an autoscaler that sets the number.",
}


def list_settings(service: Service) -> list[tuple[str, str, str]]:
    """Return the labels that configure a service: name, value, and what it means."""
    return [(name, value, _MEANINGS.get(name, "")) for name, value in service.settings]
