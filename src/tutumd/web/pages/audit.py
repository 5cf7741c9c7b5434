"""The audit log: who did what, and with which credentials."""

import re
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from tutumd.application.queries import AUDIT_FILTERS, parse_audit_filters
from tutumd.model import AuditEntry, AuditEvent
from tutumd.web.context import context
from tutumd.web.pages.rendering import render, verb
from tutumd.web.pages.visitors import Reader

router = APIRouter()

_PAGE = 50
_VIA = {"api": "API", "page": "page", "command": "command"}


@router.get("/audit/")
def show_audit(
    request: Request, visitor: Reader, before: Annotated[int | None, Query(ge=1, le=2**62)] = None
) -> Response:
    """Show what users did, newest first: admins see all, members what they did. Filters choose among it."""
    web, query = context(request), request.query_params
    page = web.store.audit(visitor, parse_audit_filters(query), before=before, limit=_PAGE)
    sent = {name: query.get(name, "").strip() for name in AUDIT_FILTERS}
    given = {name: text for name, text in sent.items() if text}
    here = f"{web.public_path}/audit/"
    return render(
        request,
        "audit.html",
        entries=page.entries,
        sent=sent,
        is_filtered=bool(given),
        all_href=here,
        older_href=f"{here}?{urlencode({**given, 'before': page.next})}" if page.next else "",
        newest_href="" if before is None else f"{here}?{urlencode(given)}".rstrip("?"),
        what_options=[("", "Everything"), *AuditEvent],
        via_options=[("", "Everywhere"), *_VIA.items()],
        via=_VIA,
        describe_details=_describe_details,
    )


def _describe_details(entry: AuditEntry) -> str:
    """Return the details of an entry. Those of actions and handlers begin with what these do."""
    if not entry.what.startswith(("action ", "handler ")):
        return entry.details
    return re.sub("^[A-Z]+", lambda word: verb(word[0]), entry.details)
