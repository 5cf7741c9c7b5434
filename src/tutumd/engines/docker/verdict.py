"""Whether a container that was just started can be relied on."""

from tutumd.engines.docker.inspect.inspected_container import InspectedContainer

REMOVED = "it was removed by somebody else"
ENDED = (
    "it ended, and as it was started with --rm the engine deleted it with its output: "
    "run the image without --rm to see why"
)


def verdict(one: InspectedContainer | None, running_s: float, stable_s: float) -> str | None:
    """Judge a new container: None while it is too early, an empty text when it is good, else why it failed.

    With a health check it must be healthy; without, run for `stable_s` without having been restarted.

    Args:
        running_s: For how long it has been seen to run.
    """
    if one is None:
        return REMOVED
    if one.oom_killed and one.status != "running":
        return "it ran out of memory"
    if one.status == "exited" or one.status == "dead":
        return f"it exited with code {one.exit_code}" + (f": {one.error}" if one.error else "")
    if one.status == "restarting":
        return f"it exited with code {one.exit_code} and is being restarted"
    if one.restart_count:
        # The exit code is gone once it runs again.
        return f"it exited and was restarted, {one.restart_count} time(s) so far"
    if one.health == "unhealthy":
        return "it is unhealthy" + _last_check(one)
    if one.status == "paused":
        return ""
    if one.status != "running" or one.health == "starting":
        return None
    return "" if one.health == "healthy" or running_s >= stable_s else None


def _last_check(one: InspectedContainer) -> str:
    entries = ((one.raw.get("State") or {}).get("Health") or {}).get("Log") or ()
    output = str(entries[-1].get("Output", "")).strip() if entries else ""
    return f": {output[-500:]}" if output else ""
