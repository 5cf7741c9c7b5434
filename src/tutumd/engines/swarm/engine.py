"""The engine `swarm`: the services of one Docker Swarm, through one of its managers."""

import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from threading import Event
from typing import Any

from tutumd.engines.dockerapi.checkup import Needed, check_engine
from tutumd.engines.dockerapi.connection import connect
from tutumd.engines.labels import Json, describe_lasting_tag, found_settings, group_facts, original_image, owner_of
from tutumd.engines.rollout import ScaleJournal, Timing, carry_out, refuse_stopped
from tutumd.engines.swarm import spec as specs
from tutumd.engines.swarm.api import SwarmApi
from tutumd.engines.swarm.context import ServiceContext, limits_of
from tutumd.engines.swarm.health import desired_count
from tutumd.engines.swarm.images import find_availability, rollback_refusal, running_image, split_digest
from tutumd.engines.swarm.new_tasks import remove_probe
from tutumd.engines.swarm.plan import RedeployJournal, describe_plan, prepare_redeploy
from tutumd.engines.swarm.redeploy import Redeploy
from tutumd.engines.swarm.scale import Scale, plan_scaling
from tutumd.engines.swarm.view import ServiceView, Task, TaskPhase
from tutumd.errors import EngineRefusedError
from tutumd.model import (
    Availability,
    ContainerSnapshot,
    ContainerState,
    EngineInfo,
    Finding,
    Outcome,
    Output,
    Plan,
    Port,
    RunLimits,
    Service,
    ServiceSnapshot,
    WantedImage,
    ok,
    wrong,
)
from tutumd.ports import LOST_JOURNAL, Run

_STATES = {
    TaskPhase.STARTING: ContainerState.STARTING,
    TaskPhase.RUNNING: ContainerState.RUNNING,
    TaskPhase.LOST: ContainerState.STOPPED,
    TaskPhase.STOPPING: ContainerState.STOPPING,
    TaskPhase.ENDED: ContainerState.STOPPED,
}


def take_snapshot(view: ServiceView) -> ServiceSnapshot:
    """Return the snapshot of a service. Its containers are the tasks that have not ended."""
    spec = view.spec
    of_service, of_containers = specs.label_sets(spec)
    original = original_image(of_service, view.version.image)
    image, digest = split_digest(original)[0], split_digest(view.version.image)[1]
    owner, warnings = owner_of((of_service, of_containers))
    labels = specs.read_labels(spec)
    shown = [task for task in view.tasks if task.phase is not TaskPhase.ENDED]
    stopped = specs.is_stopped(spec)
    stack = (spec.get("Labels") or {}).get(specs.STACK, "")
    return ServiceSnapshot(
        selector=spec["Name"],
        name=spec["Name"],
        full_name=spec["Name"],  # `docker stack deploy` has included the stack in the name
        alias=spec["Name"].replace(f"{stack}_", f"{stack}/", 1) if stack else "",
        target=specs.replicas_before_stop(spec) if stopped else desired_count(view),
        containers=tuple(_container(view, task) for task in shown),
        stack=stack,
        owner=owner,
        stopped=stopped,
        image_name=image,
        image_digest=digest,
        run_command=_run_command(spec),
        deployed=max(
            [task.created for task in shown if task.created and task.phase is not TaskPhase.STOPPING], default=None
        ),
        service_cap=labels.service_cap,
        warnings=(*warnings, *labels.problems, *_warnings(view)),
        left_tags=describe_lasting_tag(of_service, image),
        settings=found_settings([{**of_containers, **of_service}]),
        image=running_image(view),
        rollback_refusal=rollback_refusal(original),
        **group_facts({**of_containers, **of_service}),
    )


def _run_command(spec: Json) -> str:
    """Return the command in the specification; empty if the image's own command applies."""
    container = specs.container_spec(spec)
    return shlex.join([*(container.get("Command") or ()), *(container.get("Args") or ())])


def _container(view: ServiceView, task: Task) -> ContainerSnapshot:
    image, digest = split_digest(task.version.image)
    return ContainerSnapshot(
        id=task.id,
        name=f"{view.spec['Name']}.{task.slot}",
        state=_STATES[task.phase],
        image_name=image,
        image_digest=digest,
        run_command=_run_command(view.spec),
        exit_code=task.exit_code,
        started=task.started,
        ports=tuple(
            Port(
                inner=port["TargetPort"],
                outer=port.get("PublishedPort") or None,
                protocol=port.get("Protocol", "tcp"),
            )
            for port in (view.service.get("Endpoint") or {}).get("Ports") or ()
        ),
    )


def _warnings(view: ServiceView) -> Iterator[str]:
    lost = sorted({task.slot for task in view.tasks if task.phase is TaskPhase.LOST})
    if lost:
        yield f"the nodes of these containers do not respond: {', '.join(lost)}"
    if view.update_state in ("paused", "rollback_paused", "rollback_completed"):
        state = view.update_state.replace("_", " ")
        yield f"the last update of the service ended as {state}: {view.status.get('Message', '')}"


_WATCH_S = 1.0
_PAUSE_PER_CPU_SECOND = 20.0


class SwarmEngine:
    """Services of a swarm, bound by name. The contract is on `ports.Engine`."""

    def __init__(
        self,
        name: str,
        url: str | None,
        *,
        config_dir: str | None,
        server_cap: int,
        limits: RunLimits = RunLimits(),
        timing: Timing | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Create the engine; nothing is connected yet.

        Args:
            url: URL of a manager; None means DOCKER_HOST of `environment`, else the usual socket.
            config_dir: Directory of the Docker client's configuration, for registry logins.
            server_cap: Maximum number of containers of a service.
            limits: Time limits of a run, from the server's settings.
        """
        self.info = EngineInfo(name=name, kind="swarm", hint="On swarm, each Swarm service is one.")
        self._server_cap = server_cap
        self._limits = limits
        self._api = SwarmApi(connect(url, config_dir, environment=environment), config_dir)
        self._timing = (timing or Timing(poll_s=0.2, doubt_s=2.0)).adapted(limits)

    def discover(self) -> tuple[ServiceSnapshot, ...]:
        return tuple(take_snapshot(view) for view in self._api.views() if specs.is_shown(view.spec))

    def inspect(self, service: Service) -> ServiceSnapshot | None:
        view = self._api.view(service.selector)
        return take_snapshot(view) if view is not None and specs.is_shown(view.spec) else None

    def watch(self, changed: Callable[[], None], stop: Event) -> None:
        """Compare the services every second with their previous state: tasks of other nodes cause no events here.

        A large swarm is compared less often, so that the comparison takes at most a twentieth of a core.
        """
        before = self.discover()
        pause_s = _WATCH_S
        while not stop.wait(pause_s):
            began = time.thread_time()
            now = self.discover()
            pause_s = max(_WATCH_S, _PAUSE_PER_CPU_SECOND * (time.thread_time() - began))
            if now != before:
                before = now
                changed()

    def plan(self, service: Service, tag: str | None, image: WantedImage | None = None) -> Plan:
        view = self._api.require_view(service.selector)
        journal = prepare_redeploy(self._api, view, tag, {}, self._timing, self._limits, wanted=image)
        limits = self._limits.adapted(**limits_of(self._api, {**view.spec, specs.UPDATE_CONFIG: journal.config}))
        return describe_plan(journal, view, limits)

    def redeploy(self, service: Service, run: Run) -> Outcome:
        context = self._context(service, run)
        if run.journal == LOST_JOURNAL:
            remove_probe(context)
        return carry_out(Redeploy(context), RedeployJournal)

    def availability(self, service: Service, images: Sequence[WantedImage]) -> Mapping[int, Availability]:
        return find_availability(self._api, self._api.require_view(service.selector), images)

    def scale(self, service: Service, target: int, run: Run) -> Outcome:
        def plan(view: ServiceView) -> ScaleJournal:
            refuse_stopped(service.name, target, stopped=specs.is_stopped(view.spec))
            return plan_scaling(view, target, self._server_cap)

        return carry_out(Scale(self._context(service, run), plan), ScaleJournal)

    def start(self, service: Service, run: Run) -> Outcome:
        """Start the service with as many containers as it had when it was stopped; with one if that is unknown."""

        def plan(view: ServiceView) -> ScaleJournal:
            target = specs.replicas_of(view.spec) or service.target or specs.replicas_before_stop(view.spec) or 1
            return plan_scaling(view, target, self._server_cap)

        return carry_out(Scale(self._context(service, run), plan), ScaleJournal)

    def stop(self, service: Service, run: Run) -> Outcome:
        """Scale the service to 0 and store the number of containers in a label."""

        def plan(view: ServiceView) -> ScaleJournal:
            noted = specs.replicas_of(view.spec) or specs.replicas_before_stop(view.spec)
            return plan_scaling(view, 0, self._server_cap, noted=noted)

        return carry_out(Scale(self._context(service, run), plan), ScaleJournal)

    def terminate(self, service: Service, run: Run) -> Outcome:
        raise EngineRefusedError(
            f"the service {service.name} was not created through tutumd: remove it with `docker service rm`"
        )

    def logs(self, service: Service, lines: int, after: Mapping[str, str] | None = None) -> Output:
        return self._api.log(self._api.require_view(service.selector), lines, after)

    def probe(self) -> None:
        """Query the manager, which responds even if the swarm has no leader."""
        self._api.client.probe()

    def check(self) -> tuple[Finding, ...]:
        subject = f"engine {self.info.name}"
        return check_engine(subject, self._api.client, NEEDED, partial(check_manager, subject))

    def close(self) -> None:
        self._api.client.close()

    def _context(self, service: Service, run: Run) -> ServiceContext:
        return ServiceContext(api=self._api, name=service.selector, run=run, timing=self._timing, limits=self._limits)


# The requests that the engine must let through, by the feature that needs them.
NEEDED = {
    "services cannot be found": (
        Needed("GET", "/services"),
        Needed("GET", "/services/{absent}"),
        Needed("GET", "/tasks", query={"filters": '{"service":["tutumd-doctor"]}'}),
        Needed("GET", "/nodes"),
    ),
    "a redeploy cannot update services": (
        Needed("POST", "/services/{absent}/update", query={"version": "1"}, body={}),
    ),
    "a redeploy cannot try the new image with one task first": (
        # Without a name: 400.
        Needed("POST", "/services/create", body={}),
        Needed("DELETE", "/services/{absent}-trial-00000000"),
    ),
    "no output can be shown": (Needed("GET", "/services/{absent}/logs", query={"stdout": "1"}),),
    "a failure shows no output": (Needed("GET", "/tasks/{absent}/logs", query={"stdout": "1"}),),
    "the newest image cannot be found": (Needed("GET", "/distribution/INVALID/json"),),
    "the platform of an image cannot be found": (Needed("GET", "/images/{absent}/json"),),
    "the order of an update cannot be chosen": (Needed("GET", "/networks/host"),),
}


def check_manager(subject: str, info: Mapping[str, Any]) -> Finding:
    """Return whether the engine can change the swarm."""
    swarm = info.get("Swarm") or {}
    state = swarm.get("LocalNodeState") or "inactive"
    if state == "active" and swarm.get("ControlAvailable"):
        count = swarm.get("Managers") or 1
        return ok(subject, f"is a manager of a swarm ({count} {'manager' if count == 1 else 'managers'})")
    if state == "active":
        return wrong(subject, "is a worker of a swarm, and only managers can change services", "name a manager's URL")
    if state == "locked":
        return wrong(subject, "is locked", "unlock it: docker swarm unlock")
    return wrong(
        subject,
        f"is no part of a swarm (state {state})",
        "run docker swarm init there, name a manager's URL, or use the engine docker",
    )
