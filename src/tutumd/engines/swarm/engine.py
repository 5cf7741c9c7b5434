"""The engine `swarm`: the services of one Docker Swarm, through one of its managers."""

import random
import time
from collections.abc import Callable, Mapping
from threading import Event

from tutumd.engines.dockerapi.connection import connect
from tutumd.engines.swarm import spec as specs
from tutumd.engines.swarm.api import SwarmApi
from tutumd.engines.swarm.changes import Tempo
from tutumd.engines.swarm.planning import tell
from tutumd.engines.swarm.redeploy import Redeploy, prepare
from tutumd.engines.swarm.scaling import ScalePlan, Scaling, plan_scaling, read_scale_plan, refuse_impossible
from tutumd.engines.swarm.snapshots import image_parts, is_shown, snapshot
from tutumd.engines.swarm.verdict import View
from tutumd.errors import EngineRefusedError
from tutumd.model import EngineInfo, Outcome, Plan, Service, ServiceSnapshot
from tutumd.ports import Run

_WATCH_S = 1.0
_PAUSE_PER_LOOK = 20.0


class SwarmEngine:
    """Services of a swarm, bound by name. The contract is that of `ports.Engine`."""

    def __init__(
        self,
        name: str,
        url: str | None,
        *,
        config_dir: str | None,
        server_cap: int,
        stable_s: float = 3.0,
        environment: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Connect to nothing yet.

        Args:
            url: Of a manager; None means DOCKER_HOST of `environment`, else the usual socket.
            config_dir: Folder of the Docker client's configuration, for registry logins.
            server_cap: The most that a service may be scaled to.
            stable_s: How long a container without a healthcheck has to run before it counts.
        """
        self._name = name
        self._server_cap = server_cap
        self._api = SwarmApi(connect(url, config_dir, environment=environment), config_dir)
        self._tempo = Tempo(clock=clock, jitter=jitter, stable_s=stable_s)

    @property
    def info(self) -> EngineInfo:
        return EngineInfo(name=self._name, kind="swarm", can_create=False)

    def discover(self) -> tuple[ServiceSnapshot, ...]:
        return tuple(snapshot(view) for view in self._api.views() if is_shown(view.spec))

    def inspect(self, service: Service) -> ServiceSnapshot | None:
        view = self._api.view(service.selector)
        return snapshot(view) if view is not None and is_shown(view.spec) else None

    def watch(self, changed: Callable[[], None], stop: Event) -> None:
        """Compare what is there with what was there a second ago: tasks of other nodes cause no events here.

        Less often where there is much to look at, so that looking takes no more than a twentieth of a core.
        """
        seen = self.discover()
        pause_s = _WATCH_S
        while not stop.wait(pause_s):
            began = time.thread_time()
            now = self.discover()
            pause_s = max(_WATCH_S, _PAUSE_PER_LOOK * (time.thread_time() - began))
            if now != seen:
                seen = now
                changed()

    def plan(self, service: Service, tag: str | None) -> Plan:
        view = self._api.view(service.selector)
        if view is None:
            return Plan(refused=_gone(service), image_name=service.image_name)
        try:
            found = prepare(self._api, view, tag, {}, stable_s=self._tempo.stable_s)
        except EngineRefusedError as error:
            image, digest = image_parts(specs.version(view.spec).image)
            return Plan(refused=str(error), image_name=image, image_before=digest)
        return tell(found, view)

    def redeploy(self, service: Service, run: Run) -> Outcome:
        return Redeploy(self._api, service.selector, run, self._tempo).perform()

    def scale(self, service: Service, target: int, run: Run) -> Outcome:
        def plan(view: View) -> ScalePlan:
            refuse_impossible(view, target, self._server_cap)
            if specs.is_stopped(view.spec) and target > 0:
                raise EngineRefusedError(f"the service {service.name} is stopped: start it before scaling it")
            return plan_scaling(view, target, noted=None)

        return self._set_replicas(service, run, plan)

    def start(self, service: Service, run: Run) -> Outcome:
        """Start it with as many containers as it had when it was stopped; with one where that is not known."""

        def plan(view: View) -> ScalePlan:
            running = specs.replicas_of(view.spec)
            target = running or service.target or specs.stopped_replicas(view.spec) or 1
            refuse_impossible(view, target, max(self._server_cap, running))
            return plan_scaling(view, target, noted=None)

        return self._set_replicas(service, run, plan)

    def stop(self, service: Service, run: Run) -> Outcome:
        """Scale it to none and note in a label how many there were."""

        def plan(view: View) -> ScalePlan:
            refuse_impossible(view, 0, self._server_cap)
            noted = specs.replicas_of(view.spec) or specs.stopped_replicas(view.spec) or None
            return plan_scaling(view, 0, noted=noted)

        return self._set_replicas(service, run, plan)

    def terminate(self, service: Service, run: Run) -> Outcome:
        raise EngineRefusedError(
            f"the service {service.name} was not created through tutumd: remove it with `docker service rm`"
        )

    def logs(self, service: Service, lines: int) -> str:
        view = self._view(service)
        return self._api.service_log(view.service["ID"], tty=specs.is_tty(view.spec), lines=lines)

    def close(self) -> None:
        self._api.client.close()

    def _view(self, service: Service) -> View:
        view = self._api.view(service.selector)
        if view is None:
            raise EngineRefusedError(_gone(service))
        return view

    def _set_replicas(self, service: Service, run: Run, make_plan: Callable[[View], ScalePlan]) -> Outcome:
        scaling = Scaling(self._api, service.selector, run, self._tempo)
        plan = read_scale_plan(run.journal)
        if plan is not None:
            return scaling.go_on(plan)
        make_plan(self._view(service))  # what is impossible is refused at once, not after waiting for others
        return scaling.begin(make_plan)


def _gone(service: Service) -> str:
    return f"the service {service.name} is gone from the swarm"
