"""Output of containers: of a culprit, and of all pods of a service."""

from tutumd.engines.kubernetes.api import Cluster
from tutumd.engines.kubernetes.view import Pod
from tutumd.engines.rollout.log_lines import merge_log_lines
from tutumd.engines.rollout.outcome import LOG_LINES
from tutumd.errors import EngineRefusedError, EngineUnavailableError

_MAX_PODS = 20


def log_tail(cluster: Cluster, pod: Pod | None, main: str) -> str:
    """Return the last lines of a pod's failing container, else of its `main` one; empty if they cannot be read."""
    if pod is None:
        return ""
    container = pod.failing or pod.container(main)
    try:
        # A container that waits for its next start has written nothing; its predecessor has.
        text = ""
        if container.restarts:
            text = cluster.log(pod.namespace, pod.name, container.name, lines=LOG_LINES, previous=True)
        text = text or cluster.log(pod.namespace, pod.name, container.name, lines=LOG_LINES)
    except (EngineRefusedError, EngineUnavailableError):
        # That must not hide how the rollout went.
        return ""
    return merge_log_lines([text], LOG_LINES)


def service_log(cluster: Cluster, pods: tuple[Pod, ...], main: str, lines: int) -> str:
    """Return the last lines of the main containers of the newest pods, in order of time."""
    newest = sorted(pods, key=lambda pod: str(pod.created))[-_MAX_PODS:]
    texts = [cluster.log(pod.namespace, pod.name, main, lines=lines) for pod in newest] if lines > 0 else []
    return merge_log_lines(texts, lines)
