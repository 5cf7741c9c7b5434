"""What containers wrote: of one pod, of the pod that is to blame, of all pods in order of time."""

from tutumd.engines.kubernetes.api import Cluster
from tutumd.engines.kubernetes.pods import Pod
from tutumd.errors import EngineRefusedError, EngineUnavailableError

LOG_LINES = 20
_MOST_PODS = 20


def tail_of(cluster: Cluster, pod: Pod | None, main: str) -> str:
    """Read the last lines of the container that is to blame; empty where they cannot be had.

    Args:
        main: The container to read where none of the pod's has a trouble of its own.
    """
    if pod is None:
        return ""
    troubled = pod.trouble or pod.container(main)
    try:
        # A container that waits for its next try has written nothing since: the one before has.
        text = ""
        if troubled.restarts:
            text = cluster.log(pod.namespace, pod.name, troubled.name, lines=LOG_LINES, previous=True)
        text = text or cluster.log(pod.namespace, pod.name, troubled.name, lines=LOG_LINES)
    except (EngineRefusedError, EngineUnavailableError):
        # That must not hide how the rollout went.
        return ""
    return in_order([text], LOG_LINES)


def service_log(cluster: Cluster, pods: tuple[Pod, ...], main: str, lines: int) -> str:
    """Read the last lines of the main containers of the newest pods, in order of time."""
    newest = sorted(pods, key=lambda pod: str(pod.created))[-_MOST_PODS:]
    texts = [cluster.log(pod.namespace, pod.name, main, lines=lines) for pod in newest] if lines > 0 else []
    return in_order(texts, lines)


def in_order(texts: list[str], lines: int) -> str:
    """Bring timestamped lines of several containers in order; return the last ones without their times."""
    dated = [line.partition(" ") for text in texts for line in text.splitlines()]
    # RFC 3339 in UTC sorts as text.
    ordered = sorted(dated, key=lambda parts: parts[0])
    return "\n".join(line for _, _, line in ordered[-lines:]) if lines > 0 else ""
