"""The engine `swarm`: the services of one Docker Swarm, through one of its managers."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from threading import Event

from tutumd.engines.dockerapi.checkup import check_engine
from tutumd.engines.dockerapi.connection import connect
from tutumd.engines.rollout.scaling import refuse_stopped
from tutumd.engines.rollout.timing import Timing
from tutumd.engines.swarm import spec as specs
from tutumd.engines.swarm.api import SwarmApi
from tutumd.engines.swarm.checkup import NEEDED, check_manager
from tutumd.engines.swarm.context import ServiceContext
from tutumd.engines.swarm.discover import split_digest, take_snapshot
from tutumd.engines.swarm.journal import ScaleJournal
from tutumd.engines.swarm.limits import limits_of
from tutumd.engines.swarm.plan import describe_plan, prepare_redeploy
from tutumd.engines.swarm.redeploy import redeploy
from tutumd.engines.swarm.scale import plan_scaling, refuse_impossible, set_replicas
from tutumd.engines.swarm.view import ServiceView
from tutumd.errors import EngineRefusedError
from tutumd.model import EngineInfo, Finding, Outcome, Plan, RunLimits, Service, ServiceSnapshot
from tutumd.ports.engine import Run

_WATCH_S = 1.0
_PAUSE_PER_CPU_SECOND = 20.0


class SwarmEngine:
    """Services of a swarm, bound by name. The contract is that of `ports.Engine`."""

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
            server_cap: Most containers that a service may be scaled to.
            limits: Time limits of a run, as the server's settings say.
        """
        self._name = name
        self._server_cap = server_cap
        self._limits = limits
        self._api = SwarmApi(connect(url, config_dir, environment=environment), config_dir)
        self._timing = (timing or Timing(poll_s=0.3, doubt_s=2.0)).adapted(limits)

    @property
    def info(self) -> EngineInfo:
        return EngineInfo(name=self._name, kind="swarm", can_create=False)

    def discover(self) -> tuple[ServiceSnapshot, ...]:
        return tuple(take_snapshot(view) for view in self._api.views() if specs.is_shown(view.spec))

    def inspect(self, service: Service) -> ServiceSnapshot | None:
        view = self._api.view(service.selector)
        return take_snapshot(view) if view is not None and specs.is_shown(view.spec) else None

    def watch(self, changed: Callable[[], None], stop: Event) -> None:
        """Compare the services with those of a second ago: tasks of other nodes cause no events here.

        A large swarm is compared less often, so that this takes at most a twentieth of a core.
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

    def plan(self, service: Service, tag: str | None) -> Plan:
        image_name, digest = service.image_name, None
        try:
            view = self._api.require_view(service.selector)
            image_name, digest = split_digest(view.version.image)
            journal = prepare_redeploy(self._api, view, tag, {}, self._timing, self._limits)
            plan = describe_plan(journal, view)
            limits = self._limits.adapted(**limits_of(self._api, {**view.spec, specs.UPDATE_CONFIG: journal.config}))
            return replace(plan, notes=(*plan.notes, str(limits)))
        except EngineRefusedError as error:
            return Plan(refused=str(error), image_name=image_name, image_before=digest)

    def redeploy(self, service: Service, run: Run) -> Outcome:
        return redeploy(self._context(service, run))

    def scale(self, service: Service, target: int, run: Run) -> Outcome:
        def plan(view: ServiceView) -> ScaleJournal:
            refuse_impossible(view, target, self._cap(view))
            refuse_stopped(service.name, target, stopped=specs.is_stopped(view.spec))
            return plan_scaling(view, target, noted=None)

        return set_replicas(self._context(service, run), plan)

    def start(self, service: Service, run: Run) -> Outcome:
        """Start the service with as many containers as it had when it was stopped; with one if that is unknown."""

        def plan(view: ServiceView) -> ScaleJournal:
            target = specs.replicas_of(view.spec) or service.target or specs.replicas_before_stop(view.spec) or 1
            refuse_impossible(view, target, self._cap(view))
            return plan_scaling(view, target, noted=None)

        return set_replicas(self._context(service, run), plan)

    def stop(self, service: Service, run: Run) -> Outcome:
        """Scale the service to none and note in a label how many containers there were."""

        def plan(view: ServiceView) -> ScaleJournal:
            refuse_impossible(view, 0, self._server_cap)
            noted = specs.replicas_of(view.spec) or specs.replicas_before_stop(view.spec) or None
            return plan_scaling(view, 0, noted=noted)

        return set_replicas(self._context(service, run), plan)

    def terminate(self, service: Service, run: Run) -> Outcome:
        raise EngineRefusedError(
            f"the service {service.name} was not created through tutumd: remove it with `docker service rm`"
        )

    def logs(self, service: Service, lines: int) -> str:
        view = self._api.require_view(service.selector)
        return self._api.service_log(view, lines)

    def probe(self) -> None:
        """Ask the manager, which answers even if the swarm has no leader."""
        self._api.client.probe()

    def check(self) -> tuple[Finding, ...]:
        subject = f"engine {self._name}"
        return check_engine(subject, self._api.client, NEEDED, partial(check_manager, subject))

    def close(self) -> None:
        self._api.client.close()

    def _cap(self, view: ServiceView) -> int:
        """Return the number of replicas that the service may have. It may keep what it has, or had when stopped."""
        service_cap = specs.read_labels(view.spec).service_cap or self._server_cap
        present = max(specs.replicas_of(view.spec), specs.replicas_before_stop(view.spec))
        return max(min(self._server_cap, service_cap), present)

    def _context(self, service: Service, run: Run) -> ServiceContext:
        return ServiceContext(api=self._api, name=service.selector, run=run, timing=self._timing, limits=self._limits)
