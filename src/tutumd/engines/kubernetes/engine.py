"""The engine `kubernetes`: Deployments, StatefulSets and DaemonSets of a cluster's namespaces."""

import random
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from threading import Event, Thread

from tutumd import model
from tutumd.engines.kubernetes.api import Cluster
from tutumd.engines.kubernetes.autoscalers import Autoscaler, find_autoscaler, refuse_scaling
from tutumd.engines.kubernetes.changes import Tempo, look, must_look, read_workload
from tutumd.engines.kubernetes.connection import Access
from tutumd.engines.kubernetes.mirror import Mirror
from tutumd.engines.kubernetes.output import service_log
from tutumd.engines.kubernetes.plan import show
from tutumd.engines.kubernetes.pods import Pod, read_pod
from tutumd.engines.kubernetes.redeploy import Rollout, plan_now
from tutumd.engines.kubernetes.scaling import Scaler, Scaling, plan_scaling, raise_least, refuse_daemon_set
from tutumd.engines.kubernetes.snapshots import is_shown, snapshot, snapshots_of, wanted_of
from tutumd.engines.kubernetes.verdict import View
from tutumd.engines.kubernetes.workloads import Address, Kind, Workload, read_address
from tutumd.engines.labels import Json
from tutumd.errors import EngineRefusedError, EngineUnavailableError, TutumdError
from tutumd.model import EngineInfo, Outcome, Service, ServiceSnapshot
from tutumd.ports import PartlySeenError, Run

EVERY_NAMESPACE = "*"
_END_S = 5.0
_OTHERS_S = 60.0
"""How long the other namespaces are watched before one that was refused is tried again."""


class KubernetesEngine:
    """Workloads of a cluster, bound by kind, namespace and name. The contract is that of `ports.Engine`."""

    def __init__(
        self,
        name: str,
        access: Access,
        *,
        namespaces: Sequence[str] = (),
        server_cap: int,
        stable_s: float = 3.0,
        tempo: Tempo | None = None,
    ) -> None:
        """Connect to nothing yet.

        Args:
            namespaces: Those whose workloads are services, `*` for all; empty means the credentials' own.
            server_cap: The most that a service may be scaled to.
            stable_s: How long a container without a readiness probe has to run before it counts.
        """
        self._name = name
        self._server_cap = server_cap
        self._cluster = Cluster(access.connect)
        every = EVERY_NAMESPACE in namespaces
        self._namespaces = ("",) if every else tuple(dict.fromkeys(namespaces)) or (access.namespace,)
        self._tempo = tempo or Tempo(
            now=lambda: datetime.now(UTC), clock=time.monotonic, jitter=random.random, stable_s=stable_s
        )
        self._workloads = {
            namespace: [Mirror(self._cluster, kind.plural, namespace, _reader(kind)) for kind in Kind]
            for namespace in self._namespaces
        }
        self._pods = {namespace: Mirror(self._cluster, "pods", namespace, read_pod) for namespace in self._namespaces}

    @property
    def info(self) -> EngineInfo:
        return EngineInfo(name=self._name, kind="kubernetes", creates=False)

    def discover(self) -> tuple[ServiceSnapshot, ...]:
        """List all workloads: from the copies that a watch keeps, or from the cluster while nobody watches.

        Of a namespace that may not be listed nothing is known: its services may be as they were.
        """
        workloads: list[Workload] = []
        pods: list[Pod] = []
        refused: dict[str, str] = {}
        for namespace in self._namespaces:
            try:
                found = [one for mirror in self._workloads[namespace] for one in mirror.look()]
                pods += self._pods[namespace].look()
                workloads += found
            except EngineRefusedError as error:
                refused[namespace] = str(error)
        reason = "; ".join(refused.values())
        if len(refused) == len(self._namespaces):
            raise EngineUnavailableError(reason)
        seen = snapshots_of(workloads, pods)
        if refused:
            raise PartlySeenError(reason, seen, lambda selector: _namespace(selector) in refused)
        return seen

    def inspect(self, service: Service) -> ServiceSnapshot | None:
        address = read_address(service.selector)
        if address is None or not self._is_ours(address):
            return None
        view = look(self._cluster, address)
        return snapshot(view.workload, view.pods) if view is not None and is_shown(view.workload) else None

    def watch(self, changed: Callable[[], None], stop: Event) -> None:
        """Follow workloads and pods by watches of the API, one thread each.

        Where a namespace may not be followed, the others are for a while, before all are tried anew.
        """
        stopping, ended = Event(), Event()
        failures: list[TutumdError] = []
        refused: set[str] = set()

        def follow(mirror: Mirror[Workload] | Mirror[Pod]) -> None:
            try:
                mirror.follow(changed, stopping)
            except TutumdError as error:
                failures.append(error)
                if isinstance(error, EngineRefusedError):
                    refused.add(mirror.namespace)
                    if len(refused) < len(self._namespaces):
                        stopping.wait(_OTHERS_S)
            finally:
                ended.set()

        mirrors: list[Mirror[Workload] | Mirror[Pod]] = [
            *(mirror for kinds in self._workloads.values() for mirror in kinds),
            *self._pods.values(),
        ]
        threads = [
            Thread(target=follow, args=(mirror,), name=f"watch {mirror.kind}", daemon=True) for mirror in mirrors
        ]
        for thread in threads:
            thread.start()
        while not stop.wait(0.1) and not ended.is_set():
            pass
        stopping.set()
        _end(threads, mirrors)
        if failures and not stop.is_set():
            raise failures[0]

    def plan(self, service: Service, tag: str | None) -> model.Plan:
        try:
            view = self._view(service)
            return show(view.workload, plan_now(view, tag, {}, self._tempo), tag)
        except EngineRefusedError as error:
            return model.Plan(refused=str(error))

    def redeploy(self, service: Service, run: Run) -> Outcome:
        address = self._address(service)
        self._allow(address, run)
        return Rollout(self._cluster, address, run, self._tempo).perform()

    def scale(self, service: Service, target: int, run: Run) -> Outcome:
        def plan(view: View) -> Scaling:
            refuse_daemon_set(view.workload)
            self._refuse_too_many(view.workload, target)
            if view.workload.is_stopped and target > 0:
                raise EngineRefusedError(f"the service {service.name} is stopped: start it before scaling it")
            return self._plan_with_autoscaler(view, target)

        return self._scaler(service, run).perform(plan)

    def start(self, service: Service, run: Run) -> Outcome:
        """Start it with as many pods as it had when it was stopped; with one where that is not known.

        An autoscaler goes on with its work as soon as there is one, so its number counts.
        """

        def plan(view: View) -> Scaling:
            workload = view.workload
            refuse_daemon_set(workload)
            autoscaler = self._autoscaler(workload.address)
            target = workload.replicas or service.target or workload.stopped_replicas or 1
            if not workload.replicas:
                self._refuse_too_many(workload, target)
                target = autoscaler.within(target) if autoscaler else target
            return plan_scaling(view, target, shared_with=autoscaler.name if autoscaler else "")

        return self._scaler(service, run).perform(plan)

    def stop(self, service: Service, run: Run) -> Outcome:
        """Scale it to none and note in an annotation how many there were."""

        def plan(view: View) -> Scaling:
            workload = view.workload
            refuse_daemon_set(workload)
            noted = workload.replicas or workload.stopped_replicas
            # Kubernetes: "Implicit maintenance-mode deactivation" of an autoscaler whose target has no replicas.
            autoscaler = self._autoscaler(workload.address)
            shared_with = autoscaler.name if autoscaler else ""
            return plan_scaling(view, 0, noted=str(noted) if noted else None, shared_with=shared_with)

        return self._scaler(service, run).perform(plan)

    def terminate(self, service: Service, run: Run) -> Outcome:
        raise EngineRefusedError(
            f"the service {service.name} was not created through tutumd: remove it with `kubectl delete`"
        )

    def logs(self, service: Service, lines: int) -> str:
        view = self._view(service)
        return service_log(self._cluster, view.alive, view.workload.main["name"], lines)

    def close(self) -> None:
        self._cluster.close()

    def _is_ours(self, address: Address) -> bool:
        return self._namespaces == ("",) or address.namespace in self._namespaces

    def _address(self, service: Service) -> Address:
        address = read_address(service.selector)
        if address is None or not self._is_ours(address):
            raise EngineRefusedError(f"the service {service.name} is in none of the namespaces that are served")
        return address

    def _view(self, service: Service) -> View:
        return must_look(self._cluster, self._address(service))

    def _allow(self, address: Address, run: Run) -> None:
        """Give the run as long as the workload's own annotation says."""
        workload = read_workload(self._cluster, address)
        timeout_s = wanted_of(workload).timeout_s if workload is not None else None
        if timeout_s is not None:
            run.allow(timeout_s)

    def _scaler(self, service: Service, run: Run) -> Scaler:
        address = self._address(service)
        self._allow(address, run)
        return Scaler(self._cluster, address, run, self._tempo)

    def _plan_with_autoscaler(self, view: View, target: int) -> Scaling:
        address = view.workload.address
        plan = plan_scaling(view, target)
        # One whose target has no replicas is off.
        autoscaler = self._autoscaler(address) if target else None
        if autoscaler is None:
            return plan
        refuse_scaling(autoscaler, address, target, raise_min=wanted_of(view.workload).raise_min)
        return raise_least(plan, autoscaler)

    def _autoscaler(self, address: Address) -> Autoscaler | None:
        return find_autoscaler(self._cluster.autoscalers(address.namespace), address)

    def _refuse_too_many(self, workload: Workload, target: int) -> None:
        most = min(self._server_cap, wanted_of(workload).service_cap or self._server_cap)
        if target > most:
            raise EngineRefusedError(f"a service may have at most {most} containers here, wanted were {target}")


def _namespace(selector: str) -> str:
    address = read_address(selector)
    return address.namespace if address is not None else ""


def _reader(kind: Kind) -> Callable[[Json], Workload]:
    return lambda json: Workload(kind, json)


def _end(threads: Sequence[Thread], mirrors: Sequence[Mirror[Workload] | Mirror[Pod]]) -> None:
    ends = time.monotonic() + _END_S
    while any(thread.is_alive() for thread in threads) and time.monotonic() < ends:
        for mirror in mirrors:
            mirror.interrupt()
        time.sleep(0.02)
