"""The engine `kubernetes`: Deployments, StatefulSets and DaemonSets of a cluster's namespaces."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from threading import Event, Thread

from tutumd.engines.kubernetes.access import Access, check_connection, check_permissions
from tutumd.engines.kubernetes.api import Cluster
from tutumd.engines.kubernetes.context import WorkloadContext, limits_of
from tutumd.engines.kubernetes.discover import Informer, node_digests, take_snapshot, take_snapshots
from tutumd.engines.kubernetes.patches import RedeployJournal
from tutumd.engines.kubernetes.plan import describe_plan, plan_redeploy
from tutumd.engines.kubernetes.redeploy import Redeploy
from tutumd.engines.kubernetes.scale import (
    Scale,
    plan_scaling,
    refuse_scaling,
)
from tutumd.engines.kubernetes.view import Pod, WorkloadView, read_pod
from tutumd.engines.kubernetes.workloads import Address, Kind, Workload, read_address
from tutumd.engines.labels import parse_labels
from tutumd.engines.output import Source, merge_output, since_of
from tutumd.engines.rollout import ScaleJournal, Timing, carry_out, refuse_over_cap, refuse_stopped
from tutumd.errors import EngineRefusedError, EngineUnavailableError, TutumdError
from tutumd.model import (
    Availability,
    EngineInfo,
    Finding,
    Outcome,
    Output,
    Plan,
    RunLimits,
    Service,
    ServiceSnapshot,
    WantedImage,
)
from tutumd.ports import PartialDiscoveryError, Run

_LOG_PODS = 20
_END_S = 5.0
# Without a probe, an ended container was shown as ready for up to 4.1 s.
_STABLE_S = 10.0
# The time before a namespace that may not be followed is tried again. All watches end then.
_REFUSED_S = 60.0


class KubernetesEngine:
    """Workloads of a cluster, bound by kind, namespace and name. The contract is on `ports.Engine`."""

    def __init__(
        self,
        name: str,
        access: Access,
        *,
        namespaces: Sequence[str] = (),
        server_cap: int,
        timing: Timing | None = None,
        limits: RunLimits = RunLimits(),
    ) -> None:
        """Create the engine; nothing is connected yet.

        Args:
            namespaces: Namespaces whose workloads are services, `*` for all; empty means the namespace of the
                credentials.
            server_cap: Maximum number of containers of a service.
            limits: Limits of a run, from the server's settings.
        """
        self.info = EngineInfo(
            name=name, kind="kubernetes", hint="On kubernetes, each Deployment, StatefulSet and DaemonSet is one."
        )
        self._server_cap = server_cap
        self._limits = limits
        self._cluster = Cluster(access.connect)
        self._namespaces = ("",) if "*" in namespaces else (tuple(dict.fromkeys(namespaces)) or (access.namespace,))
        self._timing = (timing or Timing(stable_s=_STABLE_S, poll_s=0.15)).adapted(limits)
        self._workloads = {
            namespace: [Informer(self._cluster, kind.plural, namespace, partial(Workload, kind)) for kind in Kind]
            for namespace in self._namespaces
        }
        self._pods = {namespace: Informer(self._cluster, "pods", namespace, read_pod) for namespace in self._namespaces}

    def discover(self) -> tuple[ServiceSnapshot, ...]:
        """Return all services: from the informers, or from the cluster while nobody watches.

        The services of a namespace that may not be listed are unknown.
        """
        snapshots: tuple[ServiceSnapshot, ...] = ()
        refused: dict[str, str] = {}
        for namespace in self._namespaces:
            try:
                listed = [workload for informer in self._workloads[namespace] for workload in informer.objects()]
                snapshots += take_snapshots(listed, self._pods[namespace].objects())
            except EngineRefusedError as error:
                refused[namespace] = str(error)
        reason = "; ".join(refused.values())
        if len(refused) == len(self._namespaces):
            raise EngineUnavailableError(reason)
        if refused:
            addresses = {f"{kind.singular}/{namespace}/" for kind in Kind for namespace in refused}
            raise PartialDiscoveryError(reason, snapshots, lambda selector: selector.startswith(tuple(addresses)))
        return snapshots

    def inspect(self, service: Service) -> ServiceSnapshot | None:
        try:
            view = self._cluster.view(self._address(service))
        except EngineRefusedError:
            return None
        return take_snapshot(view.workload, view.pods) if view is not None else None

    def watch(self, changed: Callable[[], None], stop: Event) -> None:
        """Follow workloads and pods by watches of the API, each in its own thread, until one of them ends.

        If a namespace may not be followed, the watches of the others continue for a while.
        """
        stopping = Event()
        failures: list[TutumdError] = []
        refused: set[str] = set()

        def follow(informer: Informer[Workload] | Informer[Pod]) -> None:
            try:
                informer.follow(changed, stopping)
            except TutumdError as error:
                failures.append(error)
                if isinstance(error, EngineRefusedError):
                    refused.add(informer.namespace)
                    if len(refused) < len(self._namespaces):
                        stopping.wait(_REFUSED_S)

        informers: list[Informer[Workload] | Informer[Pod]] = [
            *(informer for kinds in self._workloads.values() for informer in kinds),
            *self._pods.values(),
        ]
        threads = [
            Thread(target=follow, args=(informer,), name=f"watch {informer.kind}", daemon=True)
            for informer in informers
        ]
        for thread in threads:
            thread.start()
        while not stop.wait(0.1) and all(thread.is_alive() for thread in threads):
            pass
        stopping.set()
        deadline = time.monotonic() + _END_S
        while any(thread.is_alive() for thread in threads) and time.monotonic() < deadline:
            for informer in informers:
                informer.interrupt()
            time.sleep(0.02)
        if failures and not stop.is_set():
            raise failures[0]

    def plan(self, service: Service, tag: str | None, image: WantedImage | None = None) -> Plan:
        view = self._cluster.require_view(self._address(service))
        return describe_plan(
            view,
            plan_redeploy(view, tag, {}, self._timing, wanted=image),
            self._limits.adapted(**limits_of(view.workload)),
        )

    def redeploy(self, service: Service, run: Run) -> Outcome:
        return carry_out(Redeploy(self._context(service, run)), RedeployJournal)

    def availability(self, service: Service, images: Sequence[WantedImage]) -> Mapping[int, Availability]:
        """Return which images a node has. Only the nodes know what their registry has."""
        present = node_digests(self._cluster)
        known = {
            image.number: Availability.LOCAL if image.digest in present else Availability.UNKNOWN for image in images
        }
        return known | {image.number: Availability.NO for image in images if not image.digest}

    def scale(self, service: Service, target: int, run: Run) -> Outcome:
        def plan(view: WorkloadView) -> ScaleJournal:
            self._refuse_over_cap(view.workload, target)
            refuse_stopped(service.name, target, stopped=view.workload.is_stopped)
            # An autoscaler whose target has no replicas is off.
            autoscaler = self._cluster.autoscaler(view.workload.address) if target else None
            if autoscaler is not None:
                refuse_scaling(
                    autoscaler,
                    view.workload.address,
                    target,
                    raise_min=parse_labels([view.workload.annotations]).raise_min,
                )
            return plan_scaling(view, target, raised=autoscaler)

        return carry_out(Scale(self._context(service, run), plan), ScaleJournal)

    def start(self, service: Service, run: Run) -> Outcome:
        """Start the service with as many pods as it had when it was stopped; with one if that is unknown.

        An autoscaler works again as soon as there is one pod, so the number is adjusted to its limits.
        """

        def plan(view: WorkloadView) -> ScaleJournal:
            workload = view.workload
            autoscaler = self._cluster.autoscaler(workload.address)
            target = workload.replicas or service.target or workload.replicas_before_stop or 1
            self._refuse_over_cap(workload, target)
            if not workload.replicas and autoscaler is not None:
                target = min(max(target, autoscaler["spec"]["minReplicas"]), autoscaler["spec"]["maxReplicas"])
            return plan_scaling(view, target, shared_with=autoscaler)

        return carry_out(Scale(self._context(service, run), plan), ScaleJournal)

    def stop(self, service: Service, run: Run) -> Outcome:
        """Scale the service to 0 and store the number of pods in an annotation."""

        def plan(view: WorkloadView) -> ScaleJournal:
            workload = view.workload
            noted = workload.replicas or workload.replicas_before_stop
            # Kubernetes: "Implicit maintenance-mode deactivation" of an autoscaler whose target has no replicas.
            return plan_scaling(view, 0, noted=noted, shared_with=self._cluster.autoscaler(workload.address))

        return carry_out(Scale(self._context(service, run), plan), ScaleJournal)

    def terminate(self, service: Service, run: Run) -> Outcome:
        raise EngineRefusedError(
            f"the service {service.name} was not created through tutumd: remove it with `kubectl delete`"
        )

    def logs(self, service: Service, lines: int, after: Mapping[str, str] | None = None) -> Output:
        view = self._cluster.require_view(self._address(service))
        newest = sorted(view.alive, key=lambda pod: str(pod.created))[-_LOG_PODS:] if lines > 0 else []
        main = view.workload.main["name"]
        sources = [
            Source(
                id=pod.name,
                text=self._cluster.log(pod.namespace, pod.name, main, lines=lines, since=since_of(after, [pod.name])),
                label=f"{pod.name} | " if len(newest) > 1 else "",
            )
            for pod in newest
        ]
        return merge_output(sources, lines, after)

    def probe(self) -> None:
        """Request the version, to which every cluster responds."""
        with suppress(EngineRefusedError):
            self._cluster.version()

    def check(self) -> tuple[Finding, ...]:
        subject = f"engine {self.info.name}"
        return (
            *check_connection(subject, self._cluster.version),
            *check_permissions(subject, self._namespaces, self._cluster.is_allowed),
        )

    def close(self) -> None:
        self._cluster.close()

    def _address(self, service: Service) -> Address:
        address = read_address(service.selector)
        if address is None or not {"", address.namespace}.intersection(self._namespaces):
            raise EngineRefusedError(f"the service {service.name} is in none of the namespaces that are served")
        return address

    def _context(self, service: Service, run: Run) -> WorkloadContext:
        return WorkloadContext(cluster=self._cluster, address=self._address(service), run=run, timing=self._timing)

    def _refuse_over_cap(self, workload: Workload, target: int) -> None:
        refuse_over_cap(
            target,
            self._server_cap,
            parse_labels([workload.annotations]).service_cap,
            max(workload.replicas, workload.replicas_before_stop),
        )
