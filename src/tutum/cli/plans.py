"""Prints plans: what a redeploy would do, for a person or as JSON."""

from collections.abc import Sequence
from dataclasses import asdict

import typer

from tutum.cli.output import print_json, printable
from tutum.cli.progress import FAILED_EXIT_CODE
from tutum.plan import Plan

_DIGEST_LENGTH = len("sha256:") + 12


def show_plans(plans: Sequence[tuple[str, Plan]], *, as_json: bool) -> None:
    """Print what redeploys would do.

    Args:
        plans: Names of the services, and their plans.

    Raises:
        typer.Exit: With 1, if a redeploy is not possible.
    """
    if as_json:
        objects = [{"service": name} | asdict(plan) for name, plan in plans]
        print_json(objects[0] if len(objects) == 1 else objects)
    else:
        print("\n\n".join("\n".join(plan_lines(name, plan)) for name, plan in plans))
    if not all(plan.possible for _, plan in plans):
        raise typer.Exit(FAILED_EXIT_CODE)


def plan_lines(name: str, plan: Plan) -> list[str]:
    """Return the lines that describe a plan to a person."""
    if plan.possible:
        lines = [f"REDEPLOY of {name} would:", *(f"  {number}. {step}" for number, step in enumerate(plan.steps, 1))]
    else:
        lines = [f"REDEPLOY of {name} is not possible: {plan.reason}"]
    if plan.order:
        lines.append(f"Order: {plan.order}" + (f" ({plan.order_reason})" if plan.order_reason else ""))
    lines.append(f"Image: {_describe_image(plan)}")
    lines += [f"Note:  {note}" for note in plan.notes]
    return [printable(line) for line in lines]


def _describe_image(plan: Plan) -> str:
    before, after = (
        digest[:_DIGEST_LENGTH] if digest else "unknown" for digest in (plan.image_before, plan.image_after)
    )
    if plan.possible and before != after:
        change = f"{before} → {after}"
    else:
        change = f"{before}, unchanged" if plan.possible and plan.image_before else f"now {before}"
    return f"{plan.image_name} ({change})" if plan.image_name else change
