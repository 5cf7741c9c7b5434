"""HorizontalPodAutoscalers: which one sets a workload's number, and what scaling means then."""

from collections.abc import Iterable
from dataclasses import dataclass

from tutumd.engines.kubernetes.workloads import Address
from tutumd.engines.labels import AUTOSCALER, Json
from tutumd.errors import EngineRefusedError


@dataclass(frozen=True, slots=True, kw_only=True)
class Autoscaler:
    """One of them, as far as it matters. `least` is None where it says none, which means 1."""

    name: str
    least: int | None
    most: int
    owner: str = ""

    def within(self, number: int) -> int:
        """Return the number that it would make of this one at least or at most."""
        return min(max(number, self.least or 1), self.most)


def find_autoscaler(autoscalers: Iterable[Json], address: Address) -> Autoscaler | None:
    """Find the one whose target the workload is."""
    for one in autoscalers:
        target = one["spec"]["scaleTargetRef"]
        group = str(target.get("apiVersion") or "").partition("/")[0]
        if (group, target["kind"], target["name"]) == ("apps", address.kind.value, address.name):
            owners = one["metadata"].get("ownerReferences") or ()
            owner: Json = next((each for each in owners if each.get("controller")), {})
            return Autoscaler(
                name=one["metadata"]["name"],
                least=one["spec"].get("minReplicas"),
                most=int(one["spec"]["maxReplicas"]),
                owner=f"{owner['kind']} {owner['name']}" if owner else "",
            )
    return None


def refuse_scaling(autoscaler: Autoscaler, address: Address, target: int, *, raise_min: bool) -> None:
    """Raise EngineRefusedError where an autoscaler would undo the new number, or may not be changed.

    Args:
        raise_min: The workload's annotation lets us raise minReplicas.
    """
    least, most = autoscaler.least or 1, autoscaler.most
    rule = f"the HorizontalPodAutoscaler {autoscaler.name} keeps {address.words} between {least} and {most}"
    if not raise_min:
        raise EngineRefusedError(
            f"{rule} and would undo {target}: change it instead, or annotate the workload with {AUTOSCALER}=raise-min "
            "so that scaling raises its minReplicas"
        )
    if autoscaler.owner:
        raise EngineRefusedError(f"{rule}, and itself belongs to the {autoscaler.owner}: change that one")
    if target > most:
        raise EngineRefusedError(f"{rule}, so {target} are more than its maxReplicas: raise that first")
    if target < least:
        raise EngineRefusedError(f"{rule}, and its minReplicas is only ever raised here: {target} would lower it")
