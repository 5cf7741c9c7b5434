"""Journals of the engine: one redeploy, and one change of the number of replicas. Their fields are persisted."""

from dataclasses import dataclass

from tutumd.engines.labels import Json
from tutumd.engines.rollout.journal import Result, Stage
from tutumd.engines.swarm import spec as specs
from tutumd.engines.swarm.spec import Version

# Stored as `order_reason`, and compared after a restart.
NO_ROOM = "no node has room for a new task beside the old ones"


@dataclass(frozen=True, slots=True, kw_only=True)
class RedeployJournal:
    """One redeploy.

    Attributes:
        before: The changed parts of the specification, as they were (`spec.stored_parts`), and as `HighestForce` the
            highest ForceUpdate of a task, ended ones too.
        image: The image of the new tasks, with its digest if known.
        config: The UpdateConfig of this update; None for a job, which has none.
        platforms: Platforms of the image; None changes nothing.
        status_before: The engine's report on the last update before ours, to distinguish the two.
        running_before: IDs of the tasks that ran.
        image_after: Digest of the new image, also if its name carries none.
        order_reason: Why new tasks start before or after the old ones stop.
        note: A sentence for the result of a success.
        stopped: The service was stopped when the redeploy began.
        result: How it ended; None while that is open.
        old, new: The version before, and that of the update.
        is_job: The service is a job: an update runs it once more.
        stable_s: Seconds that a new task must run before it counts.
    """

    before: Json
    image: str
    config: Json | None
    platforms: tuple[Json, ...] | None
    status_before: Json
    running_before: tuple[str, ...]
    image_after: str | None = None
    order_reason: str = ""
    note: str = ""
    stopped: bool = False
    stage: Stage = Stage.APPLY
    result: Result | None = None

    @property
    def old(self) -> Version:
        return specs.version(self.before)

    @property
    def new(self) -> Version:
        # A rollback restores the old ForceUpdate, and the failed tasks stay in the list: the next redeploy must differ.
        highest = int(self.before.get("HighestForce", 0))
        return Version(image=self.image, force=max(self.old.force, highest) + 1)

    @property
    def is_job(self) -> bool:
        return self.config is None

    @property
    def stable_s(self) -> float:
        return int((self.config or {}).get("Monitor") or 0) / specs.NANO


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleJournal:
    """One change of the number of replicas.

    Attributes:
        before, target: Replicas.
        noted_before, noted: Value of the label of a stopped service before and after; None means no label.
        tasks_before: IDs of all tasks, ended ones too.
        running_before: IDs of those that ran.
        result: How it ended; None while that is open.
    """

    before: int
    target: int
    noted_before: int | None
    noted: int | None
    tasks_before: tuple[str, ...]
    running_before: tuple[str, ...]
    stage: Stage = Stage.APPLY
    result: Result | None = None
