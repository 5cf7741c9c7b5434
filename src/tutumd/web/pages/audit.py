"""The audit log: who did what, and with which credentials."""

import re
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from tutumd.model import AuditEntry
from tutumd.web.context import context
from tutumd.web.pages.agents import describe_agent
from tutumd.web.pages.formats import verb
from tutumd.web.pages.rendering import render
from tutumd.web.pages.visitors import Reader

router = APIRouter()

_PAGE = 50
_VIA = {"api": "API", "page": "page", "command": "command"}


@router.get("/audit/")
def show_audit(
    request: Request, visitor: Reader, before: Annotated[int | None, Query(ge=1, le=2**62)] = None
) -> Response:
    """Show what users did, newest first: admins see all, members what they did."""
    entries = context(request).store.audit(visitor, before=before, limit=_PAGE + 1)
    shown = entries[:_PAGE]
    return render(
        request,
        "audit.html",
        entries=shown,
        older=shown[-1].number if len(entries) > _PAGE else None,
        is_newest=before is None,
        via=_VIA,
        describe_agent=describe_agent,
        describe_details=_describe_details,
    )


def _describe_details(entry: AuditEntry) -> str:
    """Return the details of an entry. Those of actions and handlers begin with what these do."""
    if not entry.what.startswith(("action ", "handler ")):
        return entry.details
    first, *others = re.split(r"(?=[ ,;])", entry.details, maxsplit=1)
    return "".join((verb(first), *others))
