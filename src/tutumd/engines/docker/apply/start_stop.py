"""START and STOP of a service's existing containers."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from tutumd.engines.docker.api import DockerApi
from tutumd.engines.docker.look.containers import InspectedContainer
from tutumd.engines.docker.look.readiness import TAIL_LINES, ContainerWatch, ReadinessCheck
from tutumd.engines.rollout.journal import join_sentences
from tutumd.errors import EngineRefusedError
from tutumd.model import Outcome, Phase
from tutumd.ports.engine import LOST_JOURNAL, Run

_CONCURRENCY = 8


def start_containers(readiness: ReadinessCheck, containers: Sequence[InspectedContainer], run: Run) -> Outcome:
    """Start the containers that do not run; if one fails, stop those that this run has started."""
    if not run.journal or run.journal == LOST_JOURNAL:
        run.save({"started": [container.id for container in containers if not container.is_active]})
    started: Any = run.journal["started"]
    failed, log_tail = _start_all(readiness, containers, started, run)
    problems = _stop_all(readiness.api, started, run) if failed else ""
    ids = tuple(container.id for container in containers)
    return Outcome(
        success=not failed,
        reason=join_sentences(failed, problems),
        log_tail=log_tail,
        rolled_back=bool(failed) and not problems,
        containers_before=ids,
        containers_after=ids,
    )


def stop_containers(api: DockerApi, containers: Sequence[InspectedContainer], run: Run) -> Outcome:
    """Stop the containers that run. The engine does not restart a container that was stopped by a call."""
    for container in containers:
        if container.auto_remove:
            raise EngineRefusedError(
                f"the container {container.name} was started with --rm: stopping it would delete it, so it could not "
                "be started again; start it without --rm"
            )
    ids = tuple(container.id for container in containers)
    problems = _stop_all(api, ids, run)
    return Outcome(success=not problems, reason=problems, containers_before=ids, containers_after=ids)


def _start_all(
    readiness: ReadinessCheck, containers: Sequence[InspectedContainer], started: Sequence[str], run: Run
) -> tuple[str, str]:
    """Start containers and wait for those that are in `started`; return why one failed, and its last log lines."""
    for container in containers:
        try:
            if container.status == "paused":
                readiness.api.unpause(container.id, run)
            elif not container.is_active:
                readiness.api.start(container.id, run)
                run.log(f"started {container.name}", Phase.STARTING)
        except EngineRefusedError as error:
            return str(error), ""
    names = {container.id: container.name for container in containers if container.id in started}
    if failure := ContainerWatch(readiness, run).confirm(names):
        container_id, reason = failure
        return f"the container {names[container_id]} failed: {reason}", readiness.api.output(container_id, TAIL_LINES)
    return "", ""


def _stop_all(api: DockerApi, container_ids: Sequence[str], run: Run) -> str:
    """Stop several containers at once, since each may take its whole grace period; return what went wrong."""
    with ThreadPoolExecutor(_CONCURRENCY) as pool:
        return join_sentences(*pool.map(partial(_stop, api, run), container_ids))


def _stop(api: DockerApi, run: Run, container_id: str) -> str:
    container = api.container(container_id)
    if container is None or not container.is_active:
        return ""
    try:
        api.stop(container_id, run)
    except EngineRefusedError as error:
        return str(error)
    run.log(f"stopped {container.name}", Phase.STOPPING)
    return ""
