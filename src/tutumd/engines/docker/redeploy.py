"""REDEPLOY: prepare, bring the new containers in, then remove the old ones or put them back."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tutumd.engines.docker.back import Restorer
from tutumd.engines.docker.host import Host
from tutumd.engines.docker.journal import Journal, Swap, load
from tutumd.engines.docker.prepare import Find, Preparer
from tutumd.engines.docker.snapshots import image_digest
from tutumd.engines.docker.swap import Swapper
from tutumd.engines.docker.trial import Trial
from tutumd.engines.docker.walk import Walker
from tutumd.model import Outcome
from tutumd.ports import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Redeployer:
    """Redeploys one service in one run."""

    host: Host
    trial: Trial
    find: Find
    run: Run
    own_id: str | None = None

    def redeploy(self) -> Outcome:
        """Go on from wherever the journal says an earlier process was killed."""
        journal = load(self.run.journal)
        if journal is not None and journal.timeout_s is not None:
            self.run.set_time_limit(journal.timeout_s)
        if journal is None or journal.phase == "pull":
            preparer = Preparer(host=self.host, find=self.find, run=self.run, own_id=self.own_id)
            journal = preparer.prepare(journal)
        if journal.phase == "unchanged":
            return _unchanged(journal)
        walker = Walker(host=self.host, run=self.run)
        swapper = Swapper(host=self.host, walker=walker, trial=self._trial(journal), run=self.run)
        if journal.phase == "swap":
            journal = swapper.swap(journal)
        if journal.phase == "join":
            journal = swapper.join(journal)
        if journal.phase == "leave":
            journal = swapper.leave(journal)
        if journal.phase == "restore":
            restorer = Restorer(host=self.host, walker=walker, run=self.run)
            return self._failed(journal, restorer.restore(journal))
        return self._succeeded(journal, swapper.commit(journal))

    def _trial(self, journal: Journal) -> Trial:
        return self.trial if journal.stable_s is None else replace(self.trial, stable_s=journal.stable_s)

    def _succeeded(self, journal: Journal, problems: Sequence[str]) -> Outcome:
        first = self.host.container(journal.swaps[0].new)
        return Outcome(
            success=True,
            reason="; ".join((*_remarks(journal), *problems)),
            image_before=journal.digest_before,
            image_after=image_digest(first.image_name, first.image_id, first.image) if first else None,
            containers_before=tuple(swap.old for swap in journal.swaps if not swap.follows),
            containers_after=tuple(swap.new for swap in journal.swaps if not swap.follows),
        )

    def _failed(self, journal: Journal, problems: Sequence[str]) -> Outcome:
        own = [swap for swap in journal.swaps if not swap.follows]
        candidates = [one for swap in own for one in (swap.old, swap.spare, swap.new) if one]
        after = [one for one in candidates if self.host.container(one) is not None]
        return Outcome(
            success=False,
            reason="; ".join((journal.reason, *_copied(own, after), *problems)),
            log_tail=journal.log_tail,
            rolled_back=not problems,
            image_before=journal.digest_before,
            image_after=None if problems else journal.digest_before,
            containers_before=tuple(swap.old for swap in own),
            containers_after=tuple(after),
        )


def _unchanged(journal: Journal) -> Outcome:
    return Outcome(
        success=True,
        reason="there is no newer image, and the service wants no redeploy then: nothing was done",
        image_before=journal.digest_before,
        image_after=journal.digest_before,
        containers_before=tuple(journal.containers_before),
        containers_after=tuple(journal.containers_before),
    )


def _copied(own: Sequence[Swap], after: Sequence[str]) -> list[str]:
    """Tell of which containers only a copy could be put back."""
    return [
        f"{swap.name} was started with --rm, so that its stop deleted it: a copy of it was put in its stead"
        for swap in own
        if swap.spare in after and swap.old not in after
    ]


def _remarks(journal: Journal) -> list[str]:
    own = [swap for swap in journal.swaps if not swap.follows]
    stopped = sum(not swap.run or swap.paused for swap in own)
    total = len(own)
    remarks = []
    if stopped == total:
        remarks.append("the service is stopped: it was replaced and stays stopped")
    elif stopped:
        remarks.append(f"{stopped} of {total} containers were stopped: they were replaced and stay stopped")
    if following := [swap.name for swap in journal.swaps if swap.follows]:
        remarks.append(f"made anew with it, as they depend on it: {', '.join(following)}")
    if journal.local:
        remarks.append("the image was never in a registry: the local one was used")
    return remarks
