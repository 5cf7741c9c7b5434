"""Rules for the number of containers that hold on every engine."""

from tutumd.errors import EngineRefusedError


def refuse_over_cap(target: int, cap: int) -> None:
    """Raise EngineRefusedError if `target` containers are more than `cap`."""
    if target > cap:
        raise EngineRefusedError(f"a service may have at most {cap} containers here, got {target}")


def refuse_stopped(name: str, target: int, *, stopped: bool) -> None:
    """Raise EngineRefusedError if a stopped service would be scaled: only a start may bring containers back."""
    if stopped and target > 0:
        raise EngineRefusedError(f"the service {name} is stopped: start it before scaling it")
