"""Which version of a service a specification describes: what tells our update from every other one."""

from dataclasses import dataclass

from tutumd.engines.labels import Json


@dataclass(frozen=True, slots=True)
class Version:
    """The image a task runs, and the count that makes two updates to the same image differ."""

    image: str
    force: int


def version_of(template: Json) -> Version:
    """Read the version from a service's TaskTemplate or from a task's Spec."""
    container: Json = template.get("ContainerSpec") or {}
    return Version(image=str(container.get("Image") or ""), force=int(template.get("ForceUpdate") or 0))
