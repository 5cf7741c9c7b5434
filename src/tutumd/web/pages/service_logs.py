"""The output of a service's containers: the last lines, perhaps since a time or with a text, and new lines."""

from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from urllib.parse import urlencode

from fastapi import APIRouter, Response
from starlette.datastructures import QueryParams

from tutumd.application import services as rules
from tutumd.application.admission.json_checks import check_storable
from tutumd.application.queries import parse_number, write_date
from tutumd.errors import InvalidInputError, UnavailableError
from tutumd.model import LINES_MISSING, Service
from tutumd.web.pages.service import ask
from tutumd.web.pages.service_buttons import command
from tutumd.web.pages.visitors import Reader, ServiceOfPage, Visit

router = APIRouter(prefix="/service/{uuid}/logs")

_TAILS = (100, 300, 1000, 5000)
_NEW_LINES = 1000
_PERIODS = {
    "10m": ("the last 10 minutes", timedelta(minutes=10)),
    "1h": ("the last hour", timedelta(hours=1)),
    "24h": ("the last 24 hours", timedelta(days=1)),
}


@router.get("/")
def show_logs(visit: Reader, service: ServiceOfPage, after: str = "") -> Response:
    """Show the last lines that the containers wrote; with the cursor `after`, only the lines that were written since.

    With `follow`, scripts request the lines after those of the page, and add them.
    """
    chosen = _parse(visit.request.query_params)
    tail, since = chosen["tail"], chosen["since"]
    if after:
        return _show_new_lines(visit, service, after, chosen["search"])
    try:
        output, missing = _read(visit, service, int(tail), since=since)
    except InvalidInputError as error:  # its engine stores no times
        output, missing = None, str(error)
    text, cursor = output or ("", "")
    options = [*(["-f"] if chosen["follow"] else []), "--tail", tail, *(["--since", since] if since else [])]
    return visit.render(
        "service_logs.html",
        service=service,
        at=(at := f"{visit.root}/service/{service.uuid}"),
        lines=_select(text, chosen["search"]),
        cursor=cursor,
        has_output=bool(text),
        missing=missing,
        tails=[(f"Last {each}", _link(at, chosen, tail=str(each)), None, str(each) == tail) for each in _TAILS],
        chosen=chosen,
        periods=[("", "any time"), *((name, label) for name, (label, _) in _PERIODS.items())]
        if service.engine_kind != "local"
        else (),
        refresh_href=_link(at, chosen),
        follow_href=_link(at, chosen, follow="" if chosen["follow"] else "1"),
        command=command("logs", visit.name_in_command(service), *options),
    )


def _parse(query: QueryParams) -> dict[str, str]:
    """Return `tail`, `since`, `search` and `follow` of the address. Raises InvalidInputError."""
    tail = parse_number([("tail", each) for each in query.getlist("tail")], "tail", 1, 10_000, default=300)
    since, search = query.get("since", ""), query.get("search", "").strip()[:200]
    if since and since not in _PERIODS:
        raise InvalidInputError(f"since must be {', '.join(_PERIODS)}, got {since[:50]!r}")
    check_storable("search", search)
    return {"tail": str(tail), "since": since, "search": search, "follow": "1" if query.get("follow") else ""}


def _show_new_lines(visit: Visit, service: Service, after: str, search: str) -> Response:
    output, missing = _read(visit, service, _NEW_LINES, after=after)
    if output is None:
        raise UnavailableError(missing)
    text, cursor = output
    if cursor == after:
        return Response(status_code=204)
    return visit.render("service_log_lines.html", lines=_select(text, search), cursor=cursor)


def _read(
    visit: Visit, service: Service, tail: int, *, since: str = "", after: str = ""
) -> tuple[tuple[str, str] | None, str]:
    """Return the text and the next cursor, or None and the reason. Raises as `Followers.read` does."""
    begin = write_date(visit.web.clock() - _PERIODS[since][1]) or "" if since else ""
    read = partial(rules.logs, visit.store, visit.user, service.uuid, tail)
    return ask(visit, service, partial(visit.web.followers.read, visit.user, after, begin, read))


def _select(text: str, search: str) -> list[str]:
    """Return the lines that contain a text, in any case, and the line that says that others are missing."""
    wanted, lines = search.casefold(), text.removesuffix("\n").split("\n") if text else []
    return [line for line in lines if wanted in line.casefold() or line == LINES_MISSING]


def _link(at: str, chosen: Mapping[str, str], **changed: str) -> str:
    return f"{at}/logs/?{urlencode({name: value for name, value in {**chosen, **changed}.items() if value})}"
