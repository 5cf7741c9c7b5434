"""Routes about the server itself: credentials, health, readiness, and the metrics, which are disabled by default."""

from dataclasses import replace
from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from tutumd.application import health
from tutumd.errors import ForbiddenError, NotFoundError
from tutumd.web.api.objects import ACCOUNT, ENGINE
from tutumd.web.api.schemas import list_of, write_list
from tutumd.web.auth import Reader, parse_credentials
from tutumd.web.context import Web, WebContext
from tutumd.web.messages.engines import judge_engine
from tutumd.web.uris import PREFIX

router = APIRouter()


@router.get(f"{PREFIX}/auth/", tags=["account"], response_model=list_of(ACCOUNT))
def check_credentials(request: Request, viewer: Reader) -> dict[str, Any]:
    """Check credentials: returns the user and the key that were sent."""
    return write_list([{"username": viewer.name, "key": parse_credentials(request)[1]}])


@router.get(f"{PREFIX}/engine/", tags=["server"], response_model=list_of(ENGINE))
def list_engines(web: Web, viewer: Reader) -> dict[str, Any]:
    """List the engines. For an engine that cannot be reached: what happened, and what to do."""
    return write_list([judge_engine(info, web.clock()) for info in web.store.engines(viewer)])


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
async def check_readiness(web: Web, request: Request, response: Response) -> health.Readiness:
    """Check that actions are performed: `ready`, `degraded` (calls are stored, but some wait), or with a 503 `down` or
    `stopping`. `engines` is empty unless the client is on the same machine, or may read the metrics.
    """
    worker, notifier = web.worker_state(), web.notifier_state()
    if web.is_stopping:
        # Does not wait for the database: proxies have to know before the server stops.
        database: Literal["ok", "unavailable"] = "ok" if web.intake.failing_s() is None else "unavailable"
        readiness = health.Readiness(status="stopping", database=database, engines={}, worker=worker, notifier=notifier)
    else:
        readiness = await run_in_threadpool(
            health.check, web.store, web.intake, web.clock, worker, notifier, web.notification_delay_s
        )
    if not (web.is_local(request.scope) or may_scrape(web, request)):
        readiness = replace(readiness, engines={})
    response.status_code = 503 if readiness.status in ("down", "stopping") else 200
    return readiness


@router.get("/metrics", include_in_schema=False)
async def scrape(web: Web, request: Request) -> Response:
    """Return the metrics of this web process, and of all workers on its database."""
    if web.scrapes is None:
        raise NotFoundError(
            "the metrics are closed: set TUTUMD_METRICS_TOKEN or TUTUMD_METRICS_ALLOW_FROM, see docs/how-to/observe.md"
        )
    if not may_scrape(web, request):
        if web.scrapes.token:
            text = "the metrics need a token: send Authorization: Bearer with the value of TUTUMD_METRICS_TOKEN"
            raise HTTPException(401, text, {"WWW-Authenticate": "Bearer"})
        raise ForbiddenError(
            "the metrics are not open to this address: see TUTUMD_METRICS_ALLOW_FROM, and TUTUMD_TRUSTED_PROXIES if a"
            " proxy forwards the request"
        )
    content, content_type = await web.scrapes.render(web.call_metrics, request.headers.get("accept", ""))
    return Response(content, headers={"Content-Type": content_type, "Cache-Control": "no-store"})


def may_scrape(web: WebContext, request: Request) -> bool:
    """Return whether a client may read the metrics."""
    address = web.read_origin(request.scope).address if web.knows_client(request.scope) else ""
    return web.scrapes is not None and web.scrapes.is_open_to(request.headers.get("authorization", ""), address)
