"""Journals of the engine: one redeploy, and one change of the number of pods. Their fields are persisted."""

from dataclasses import dataclass

from tutumd.engines.kubernetes.workloads import Workload
from tutumd.engines.labels import Json
from tutumd.engines.rollout.journal import Result, Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class RedeployJournal:
    """One redeploy.

    Attributes:
        before: The changed parts of the pod template, as they were (`patches.stored_parts`).
        old: Fingerprint of the whole template as it was.
        image: Image of the main container.
        restarted_at: The time written into the template; no other restart has the same.
        min_ready_before, min_ready: minReadySeconds before this redeploy (None: absent) and during it (None: not
            changed).
        running_before: UIDs of the pods that were ready.
        image_before: Digest that they ran.
        stopped: The service was stopped when the redeploy began.
        pull_note: Why the nodes may not look for a newer image; empty if they do.
        ordered: Fingerprint of the template that the API made of our patch; empty until it is known.
        undone: The same of the patch that rolled it back.
        result: How it ended; None while that is open.
    """

    before: Json
    old: str
    image: str
    restarted_at: str
    min_ready_before: int | None
    min_ready: int | None
    running_before: tuple[str, ...]
    image_before: str | None
    notes: tuple[str, ...] = ()
    pull_note: str = ""
    stopped: bool = False
    ordered: str = ""
    undone: str = ""
    stage: Stage = Stage.APPLY
    result: Result | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleJournal:
    """One change of the number of pods.

    Attributes:
        before, target: Replicas; with an autoscaler its minReplicas (`before` None: absent).
        least: `before` as a number: an autoscaler without minReplicas means 1.
        fallback: Number to set if the target is not reached: the one before, or as many as became ready.
        autoscaler: Name of the HorizontalPodAutoscaler whose minReplicas is set; empty if replicas are set.
        shared_with: Name of the one that sets the replicas too, unless they are 0; empty if there is none.
        noted_before, noted: Value of the annotation of a stopped workload before and after; None means none.
        note: A sentence for the result of a success.
        pods_before: UIDs of all pods.
        running_before: UIDs of those that were ready.
        result: How it ended; None while that is open.
    """

    before: int | None
    target: int
    pods_before: tuple[str, ...]
    running_before: tuple[str, ...]
    autoscaler: str = ""
    shared_with: str = ""
    fallback: int | None = None
    noted_before: str | None = None
    noted: str | None = None
    note: str = ""
    stage: Stage = Stage.APPLY
    result: Result | None = None

    @property
    def least(self) -> int:
        return 1 if self.before is None else self.before

    def target_of(self, workload: Workload) -> int:
        """Return the number of pods that must be ready. An autoscaler may have changed the one that we set."""
        return workload.replicas if self.shared_with and self.target and workload.replicas else self.target
