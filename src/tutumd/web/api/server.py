"""Routes about the server itself: credentials, health and readiness."""

from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request, Response

from tutumd.application import health
from tutumd.web.api.metrics import may_scrape
from tutumd.web.api.objects import ACCOUNT
from tutumd.web.api.schemas import list_of, write_list
from tutumd.web.auth import Reader, parse_credentials
from tutumd.web.context import context
from tutumd.web.uris import PREFIX

router = APIRouter()


@router.get(f"{PREFIX}/auth/", tags=["account"], response_model=list_of(ACCOUNT))
def check_credentials(request: Request, viewer: Reader) -> dict[str, Any]:
    """Check credentials: returns the user and the key that were sent."""
    _, key = parse_credentials(request)
    return write_list([{"username": viewer.name, "key": key}])


@router.get("/healthz", tags=["server"], openapi_extra={"security": []})
async def check_health() -> dict[str, str]:
    """Check that the server responds."""
    return {"status": "ok"}


@router.get(
    "/readyz",
    tags=["server"],
    openapi_extra={"security": []},
    responses={503: {"model": health.Readiness, "description": "Calls are refused, or will be at once"}},
)
def check_readiness(request: Request, response: Response) -> health.Readiness:
    """Check that actions are performed: `ready`, `degraded` (calls are stored, but some wait), or with a 503 `down` or
    `stopping`. `engines` is empty unless the client is on the same machine, or may read the metrics.
    """
    web = context(request)
    readiness = health.check(web.store, web.intake, web.clock, web.worker_state())
    if web.is_stopping:
        readiness = replace(readiness, status="stopping")
    if not (web.is_local(request.scope) or may_scrape(request)):
        readiness = replace(readiness, engines={})
    response.status_code = 503 if readiness.status in ("down", "stopping") else 200
    return readiness
