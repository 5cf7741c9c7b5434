"""Hides an old container from clients, while its open connections go on."""

from dataclasses import replace
from functools import partial

from tutumd.engines.docker.swap.journal import Swap
from tutumd.engines.docker.swap.step_runner import StepRunner
from tutumd.engines.docker.swap.steps import SwapStep, detach_step, reattach_steps
from tutumd.errors import EngineRefusedError


def hide(runner: StepRunner, swap: Swap) -> None:
    """Take the names of an old container away, and reconnect it so that open connections survive."""
    facts = runner.api.facts()
    before = runner.api.container(swap.old)
    runner.advance(partial(detach_step, rename_updates_dns=not facts.in_swarm), swap)
    after = runner.api.container(swap.old)
    if facts.is_podman:
        # Podman assigns another address each time, so the connections are lost anyway.
        return
    for step in reattach_steps(swap, before, after):
        try:
            runner.apply(step)
        except EngineRefusedError:
            # Engine API NetworkConnect: an address can be chosen only in a network that was created with a subnet.
            # Otherwise the engine mostly assigns the lowest free address, which is the same again.
            _reattach(runner, replace(step, endpoint={**(step.endpoint or {}), "IPAMConfig": {}}))


def _reattach(runner: StepRunner, step: SwapStep) -> None:
    try:
        runner.apply(step)
    except EngineRefusedError as error:
        runner.run.log(f"open connections of the old container are cut: {error}")
