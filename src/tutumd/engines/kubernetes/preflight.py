"""What a registry's word means for a redeploy: refused before anything is touched, or gone on with and noted."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tutumd.engines.kubernetes.answers import Answer, Ask, Verdict
from tutumd.engines.kubernetes.templates import all_containers
from tutumd.engines.kubernetes.workloads import Workload
from tutumd.engines.labels import Json
from tutumd.errors import EngineRefusedError

_ARCHITECTURE = "kubernetes.io/arch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preflight:
    """What is known of the image before a node pulls it; `note` is for people, empty where there is nothing to say."""

    digest: str | None = None
    note: str = ""


def check_image(workload: Workload, image: str, ask: Ask) -> Preflight:
    """Ask the registry for the image that the redeploy brings.

    Raises:
        EngineRefusedError: a node would have to pull it, and the registry has none that it could run.
    """
    if _policies(workload, image) == {"Never"}:
        return Preflight()
    return judge(workload, image, ask(image, bool(architectures(workload))))


def judge(workload: Workload, image: str, answer: Answer) -> Preflight:
    """Tell what the answer means. Raises EngineRefusedError as `check_image` does."""
    if answer.verdict is Verdict.UNKNOWN:
        return Preflight(note=f"it is not known beforehand whether {image} can be pulled: {answer.why}")
    wanted, built = architectures(workload), answer.architectures
    problem = ""
    if answer.verdict is Verdict.ABSENT:
        problem = f"its registry has no image {image}"
        if workload.template["spec"].get("imagePullSecrets") and not answer.logged_in:
            # Some registries tell those who are not logged in that a private image is not there.
            return Preflight(
                note=f"it is not known beforehand whether {image} can be pulled: its registry shows none to those who "
                "are not logged in, and the pods have logins of their own"
            )
    elif wanted is not None and built is not None and not wanted & built:
        problem = (
            f"{image} was built for {_listed(built)}, and the pods may only run on nodes with {_listed(wanted)} "
            f"({_ARCHITECTURE})"
        )
    if problem and must_pull(workload, image):
        raise EngineRefusedError(f"{problem}; the service was left alone")
    note = f"{problem}: only a node that has a copy already can run it" if problem else ""
    return Preflight(digest=answer.digest, note=note)


def must_pull(workload: Workload, image: str) -> bool:
    """Tell whether nodes will ask the registry: always, or since no pod of the workload has run the image yet."""
    policies = _policies(workload, image)
    return "Always" in policies or ("IfNotPresent" in policies and image != workload.main["image"])


def architectures(workload: Workload) -> frozenset[str] | None:
    """Return the only ones whose nodes the pods may run on; None where the workload does not say."""
    spec = workload.template["spec"]
    selected = (spec.get("nodeSelector") or {}).get(_ARCHITECTURE)
    found = [frozenset({str(selected)})] if selected else []
    found += _required((spec.get("affinity") or {}).get("nodeAffinity") or {})
    return frozenset.intersection(*found) if found else None


def _required(affinity: Json) -> Iterator[frozenset[str]]:
    terms = (affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}).get("nodeSelectorTerms") or ()
    for term in terms if len(terms) == 1 else ():  # several are alternatives
        for one in term.get("matchExpressions") or ():
            if one["key"] == _ARCHITECTURE and one["operator"] == "In":
                yield frozenset(map(str, one.get("values") or ()))


def _policies(workload: Workload, image: str) -> set[str]:
    """Collect the pull policies of the main container and of those whose image is changed with its own."""
    main = workload.main
    affected: list[Any] = [main]
    if image != main["image"]:
        affected = [one for _, one in all_containers(workload.template) if one["image"] == main["image"]]
    return {one.get("imagePullPolicy") or "Always" for one in affected}


def _listed(names: frozenset[str]) -> str:
    return ", ".join(sorted(names)) or "none"
