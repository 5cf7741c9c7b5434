"""Looks at a change while it runs: whether it has succeeded for long enough, or failed for good."""

from collections.abc import Sequence
from contextlib import suppress

from tutumd.engines.kubernetes.context import WorkloadContext
from tutumd.engines.kubernetes.health import FailureWatch
from tutumd.engines.kubernetes.view import Pod, WorkloadView
from tutumd.engines.rollout.timing import HoldTimer
from tutumd.errors import EngineRefusedError


class ChangeWatch:
    """Follows the new pods of one run, by our own clock.

    Attributes:
        failed: A new pod that has failed for good; None if there is none.
        refusal: Why the cluster has been creating no pod for a while; empty if it has.
    """

    def __init__(self, context: WorkloadContext) -> None:
        self.failed: Pod | None = None
        self.refusal = ""
        self._context = context
        self._failures = FailureWatch(context.timing)
        self._whole = HoldTimer(context.timing.clock)
        self._refused = HoldTimer(context.timing.clock)

    def look(
        self, view: WorkloadView, new: Sequence[Pod], *, is_whole: bool, needed_s: float, emptied: str = ""
    ) -> bool:
        """Take a look; return whether all is as wanted, and has been for long enough.

        Args:
            new: The pods that the run has made.
            is_whole: All is as wanted at this moment.
            needed_s: For how long it has to stay so.
            emptied: Why no pod is wanted any more; empty if one is.
        """
        self.failed = self._failures.find(new)
        self.refusal = "" if is_whole else self._lasting_refusal(view, new, emptied)
        held_s = self._whole.seconds({pod.uid for pod in new} if is_whole else None)
        return is_whole and self.failed is None and held_s >= needed_s

    def _lasting_refusal(self, view: WorkloadView, new: Sequence[Pod], refusal: str) -> str:
        # A pod that stops makes room, and one that becomes ready lets another one stop.
        if not refusal and not view.stopping and all(pod.ready for pod in new):
            with suppress(EngineRefusedError):
                refusal = self._context.refusal(view)
        held_s = self._refused.seconds((bool(refusal), len(new)))
        return refusal if held_s >= self._context.timing.doubt_s else ""
