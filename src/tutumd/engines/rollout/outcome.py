"""The status of a rollout while it runs, and its outcome."""

from dataclasses import asdict
from enum import Enum, auto

from tutumd.engines.rollout.journal import Result, join_sentences
from tutumd.model import Outcome
from tutumd.ports.engine import Run

# Lines of a failed container's output that an outcome carries.
LOG_LINES = 20


class RolloutStatus(Enum):
    """The status of a rollout.

    SUCCEEDED: Every container that is replaced is new and works.
    FAILED: It cannot succeed any more; the service still has our version.
    ROLLING_BACK, ROLLED_BACK: The engine itself puts, or has put, the previous version back.
    SUPERSEDED: Somebody else has changed the service.
    """

    IN_PROGRESS = auto()
    SUCCEEDED = auto()
    FAILED = auto()
    ROLLING_BACK = auto()
    ROLLED_BACK = auto()
    SUPERSEDED = auto()


def restarts_text(restarts: int) -> str:
    """Return the words after "it exited with 7" that tell how often a container was restarted since."""
    how_often = "once" if restarts == 1 else f"{restarts} times"
    return f", restarted {how_often}" if restarts else ""


def log_progress(run: Run, last: str, line: str) -> str:
    """Log a line that differs from the last one; return it."""
    if line != last:
        run.log(line)
    return line


def build_outcome(
    result: Result | None,
    *notes: str,
    image_before: str | None,
    image_after: str | None,
    image_tried: str | None = None,
    containers_before: tuple[str, ...],
    containers_after: tuple[str, ...],
) -> Outcome:
    """Return the outcome of a result.

    Args:
        result: None if the action ended without one.
        notes: Sentences to append to the reason.
    """
    ended = result or Result(success=False, reason="it is not known how the change ended")
    return Outcome(
        **{**asdict(ended), "reason": join_sentences(ended.reason, *notes)},
        image_before=image_before,
        image_after=image_after,
        image_tried=None if ended.success else image_tried,
        containers_before=containers_before,
        containers_after=containers_after,
    )
