"""How plans are shown: what a redeploy would do, for people or as JSON."""

from collections.abc import Sequence
from dataclasses import asdict

import typer

from tutum.cli.output import print_json, printable
from tutum.cli.progress import FAILED_EXIT_CODE
from tutum.plan import Plan

_DIGEST_SHOWN = len("sha256:") + 12


def show_plans(plans: Sequence[tuple[str, Plan]], *, as_json: bool) -> None:
    """Print what redeploys would do.

    Args:
        plans: The services' names, and their plans.

    Raises:
        typer.Exit: With 1, if one of them is not possible.
    """
    if as_json:
        found = [{"service": name} | asdict(plan) for name, plan in plans]
        print_json(found[0] if len(found) == 1 else found)
    else:
        print("\n\n".join("\n".join(plan_lines(name, plan)) for name, plan in plans))
    if not all(plan.possible for _, plan in plans):
        raise typer.Exit(FAILED_EXIT_CODE)


def plan_lines(name: str, plan: Plan) -> list[str]:
    """Return the lines that tell a plan to a person."""
    if not plan.possible:
        lines = [f"REDEPLOY of {name} is not possible: {plan.reason}"]
    else:
        lines = [f"REDEPLOY of {name} would:", *(f"  {n}. {step}" for n, step in enumerate(plan.steps, 1))]
    if plan.order:
        lines.append(f"Order: {plan.order}" + (f" ({plan.order_reason})" if plan.order_reason else ""))
    lines.append(f"Image: {_image(plan)}")
    lines += [f"Note:  {note}" for note in plan.notes]
    return [printable(line) for line in lines]


def _image(plan: Plan) -> str:
    before, after = (_shortened(digest) for digest in (plan.image_before, plan.image_after))
    if not plan.possible or before == after:
        change = f"{before}, unchanged" if plan.possible and plan.image_before else f"now {before}"
    else:
        change = f"{before} → {after}"
    return f"{plan.image_name} ({change})" if plan.image_name else change


def _shortened(digest: str | None) -> str:
    return digest[:_DIGEST_SHOWN] if digest else "unknown"
