"""What a new installation lacks before anybody can call a handler."""

from enum import StrEnum

from tutumd.model import Overview


class FirstStep(StrEnum):
    """What is to be done first."""

    ENGINE = "engine"
    SERVICE = "service"
    HANDLER = "handler"


def find_first_step(overview: Overview) -> FirstStep | None:
    """Return what a viewer has to do first; None once there is a handler."""
    if overview.has_handlers:
        return None
    if not overview.engines:
        return FirstStep.ENGINE
    return FirstStep.HANDLER if overview.counts.states or overview.counts.gone else FirstStep.SERVICE
