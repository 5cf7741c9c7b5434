"""HorizontalPodAutoscalers: which one sets a workload's number of pods, and whether the workload can be scaled then."""

from collections.abc import Iterable
from dataclasses import dataclass

from tutumd.engines.kubernetes.view import controller_of
from tutumd.engines.kubernetes.workloads import Address
from tutumd.engines.labels import AUTOSCALER, Json
from tutumd.errors import EngineRefusedError


@dataclass(frozen=True, slots=True, kw_only=True)
class Autoscaler:
    """One HorizontalPodAutoscaler. `min_replicas` is None if it has none, which means 1."""

    name: str
    min_replicas: int | None
    max_replicas: int
    owner: str = ""


def find_autoscaler(autoscalers: Iterable[Json], address: Address) -> Autoscaler | None:
    """Return the one whose target is the workload."""
    for autoscaler in autoscalers:
        metadata, spec = autoscaler["metadata"], autoscaler["spec"]
        target = spec["scaleTargetRef"]
        group = str(target.get("apiVersion") or "").partition("/")[0]
        if (group, target["kind"], target["name"]) == ("apps", address.kind.value, address.name):
            owner = controller_of(metadata)
            return Autoscaler(
                name=metadata["name"],
                min_replicas=spec.get("minReplicas"),
                max_replicas=int(spec["maxReplicas"]),
                owner=f"{owner['kind']} {owner['name']}" if owner else "",
            )
    return None


def refuse_scaling(autoscaler: Autoscaler, address: Address, target: int, *, raise_min: bool) -> None:
    """Raise EngineRefusedError if an autoscaler would undo the new number, or may not be changed.

    Args:
        raise_min: The workload's annotation allows us to raise minReplicas.
    """
    low, high = autoscaler.min_replicas or 1, autoscaler.max_replicas
    rule = f"the HorizontalPodAutoscaler {autoscaler.name} keeps {address.words} between {low} and {high}"
    if not raise_min:
        raise EngineRefusedError(
            f"{rule} and would undo {target}: change it instead, or annotate the workload with {AUTOSCALER}=raise-min "
            "so that scaling raises its minReplicas"
        )
    if autoscaler.owner:
        raise EngineRefusedError(f"{rule}, and itself belongs to the {autoscaler.owner}: change that one")
    if target > high:
        raise EngineRefusedError(f"{rule}, so {target} are more than its maxReplicas: raise that first")
    if target < low:
        raise EngineRefusedError(f"{rule}, and its minReplicas is only ever raised here: {target} would lower it")
