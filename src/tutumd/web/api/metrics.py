"""The route for Prometheus. It is closed unless a setting opens it."""

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

from tutumd.errors import ForbiddenError, NotFoundError
from tutumd.web.context import context
from tutumd.web.scrapes import Scrapes

_CLOSED = "the metrics are closed: set TUTUMD_METRICS_TOKEN or TUTUMD_METRICS_ALLOW_FROM, see docs/how-to/observe.md"

router = APIRouter()


@router.get("/metrics", include_in_schema=False)
async def scrape(request: Request) -> Response:
    """Return the metrics of this web process, and of all workers on its database."""
    web = context(request)
    if web.scrapes is None:
        raise NotFoundError(_CLOSED)
    if not may_scrape(request):
        raise _refusal(web.scrapes)
    content, content_type = await web.scrapes.render(web.call_metrics, request.headers.get("accept", ""))
    return Response(content, headers={"Content-Type": content_type, "Cache-Control": "no-store"})


def may_scrape(request: Request) -> bool:
    """Return whether a client may read the metrics."""
    web = context(request)
    address = web.read_origin(request.scope).address if web.knows_client(request.scope) else ""
    return web.scrapes is not None and web.scrapes.is_open_to(request.headers.get("authorization", ""), address)


def _refusal(scrapes: Scrapes) -> Exception:
    if scrapes.token:
        text = "the metrics need a token: send Authorization: Bearer with the value of TUTUMD_METRICS_TOKEN"
        return HTTPException(401, text, {"WWW-Authenticate": "Bearer"})
    return ForbiddenError(
        "the metrics are not open to this address: see TUTUMD_METRICS_ALLOW_FROM, and TUTUMD_TRUSTED_PROXIES if a proxy"
        " forwards the request"
    )
