"""START and STOP of a service's existing containers."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from tutumd.engines.docker.api import DockerApi
from tutumd.engines.docker.look.containers import InspectedContainer
from tutumd.engines.docker.look.readiness import TAIL_LINES, ActionContext
from tutumd.engines.docker.plan.journal import SwapStep
from tutumd.engines.rollout.journal import join_sentences
from tutumd.errors import EngineRefusedError
from tutumd.model import Outcome, Phase
from tutumd.ports.engine import LOST_JOURNAL, Run
from tutumd.reasons import Cause, code_of

_CONCURRENCY = 8


def start_containers(context: ActionContext, containers: Sequence[InspectedContainer]) -> Outcome:
    """Start the stopped containers; if one fails, stop the containers that this run has started."""
    run = context.run
    if not run.journal or run.journal == LOST_JOURNAL:
        run.save({"started": [container.id for container in containers if not container.is_active]})
    started: Any = run.journal["started"]
    failed, log_tail = _start_all(context, containers, started)
    problems = _stop_all(context, started) if failed else ""
    ids = tuple(container.id for container in containers)
    return Outcome(
        success=not failed,
        reason=join_sentences(failed, problems),
        reason_code=code_of(failed),
        log_tail=log_tail,
        rolled_back=bool(failed) and not problems,
        containers_before=ids,
        containers_after=ids,
    )


def stop_containers(context: ActionContext, containers: Sequence[InspectedContainer]) -> Outcome:
    """Stop the running containers. The engine does not restart a container that was stopped through its API."""
    for container in containers:
        if container.auto_remove:
            raise EngineRefusedError(
                f"the container {container.name} was started with --rm: stopping it would delete it, so it could not "
                "be started again; start it without --rm"
            )
    ids = tuple(container.id for container in containers)
    problems = _stop_all(context, ids)
    return Outcome(
        success=not problems,
        reason=problems,
        reason_code=code_of(problems),
        containers_before=ids,
        containers_after=ids,
    )


def _start_all(
    context: ActionContext, containers: Sequence[InspectedContainer], started: Sequence[str]
) -> tuple[str, str]:
    """Start containers and wait for those in `started`; return why one failed, and its last log lines."""
    api, run = context.api, context.run
    for container in containers:
        try:
            if container.status == "paused":
                api.apply(SwapStep(verb="unpause", container=container.id), run)
            elif not container.is_active:
                api.apply(SwapStep(verb="start", container=container.id), run)
                run.log(f"started {container.name}", Phase.STARTING)
        except EngineRefusedError as error:
            return error.cause, ""
    names = {container.id: container.name for container in containers if container.id in started}
    if failure := context.confirm(names):
        container_id, reason = failure
        failed = Cause(f"the container {names[container_id]} failed: {reason}", code_of(reason))
        return failed, api.output(container_id, TAIL_LINES)
    return "", ""


def _stop_all(context: ActionContext, container_ids: Sequence[str]) -> str:
    """Stop several containers in parallel, since each may take its whole grace period; return the errors."""
    with ThreadPoolExecutor(_CONCURRENCY) as pool:
        return join_sentences(*pool.map(partial(_stop, context.api, context.run), container_ids))


def _stop(api: DockerApi, run: Run, container_id: str) -> str:
    container = api.container(container_id)
    if container is None or not container.is_active:
        return ""
    try:
        api.stop(container_id, run)
    except EngineRefusedError as error:
        return error.cause
    run.log(f"stopped {container.name}", Phase.STOPPING)
    return ""
