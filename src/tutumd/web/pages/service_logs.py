"""The page with the last output of a service's containers."""

from functools import partial

from fastapi import APIRouter, Request
from fastapi.responses import Response

from tutumd.application import services as rules
from tutumd.application.queries import parse_number
from tutumd.web.context import context, parse_uuid
from tutumd.web.pages.engine_answers import ask
from tutumd.web.pages.rendering import render
from tutumd.web.pages.service_buttons import command, name_in_command
from tutumd.web.pages.visitors import Reader

router = APIRouter()

_TAILS = (100, 300, 1000, 5000)


@router.get("/service/{uuid}/logs/")
def show_logs(request: Request, visitor: Reader, uuid: str) -> Response:
    """Show the last lines that the containers wrote."""
    web = context(request)
    lines = parse_number(request.query_params.multi_items(), "tail", 1, 10_000, default=300)
    service = web.store.service(visitor, parse_uuid(uuid))
    output, missing = ask(request, visitor, service, partial(rules.logs, web.store, visitor, service.uuid, lines))
    at = f"{web.public_path}/service/{service.uuid}"
    return render(
        request,
        "service_logs.html",
        service=service,
        at=at,
        lines=(output or "").removesuffix("\n").split("\n") if output else [],
        missing=missing,
        tails=[(f"Last {each}", f"{at}/logs/?tail={each}", None, each == lines) for each in _TAILS],
        tail=lines,
        command=command("logs", name_in_command(web.store, visitor, service), "--tail", str(lines)),
    )
