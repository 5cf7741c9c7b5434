"""Routes of API keys, and of the audit log."""

from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Path, Request, Response

from tutumd.application import accounts as rules
from tutumd.application.queries import AUDIT_FILTERS, parse_audit_query, parse_user
from tutumd.model import User
from tutumd.web.api.objects import AUDIT, KEY, NEW_KEY, WHOAMI
from tutumd.web.api.schemas import ApiKeyIn, list_of, show, write_list
from tutumd.web.auth import Administrator, Reader
from tutumd.web.body import Body, documented, documented_query, parse, queried
from tutumd.web.context import Web
from tutumd.web.uris import PREFIX

router = APIRouter(prefix=PREFIX, tags=["account"])

_User = Annotated[str | None, queried(parse_user)]
_USER = documented_query(["user"])


@router.get("/whoami/", response_model=WHOAMI)
def show_account(viewer: Reader) -> User:
    """Show who sent the request, and with which rights."""
    return viewer


@router.get("/apikey/", response_model=list_of(KEY), openapi_extra=_USER)
def list_keys(web: Web, viewer: Reader, user: _User) -> dict[str, Any]:
    """List your API keys, oldest first; as an admin also those of another `user`. Keys themselves are not stored."""
    return write_list(rules.list_keys(web.store, viewer, user))


@router.post("/apikey/", status_code=201, response_model=NEW_KEY, openapi_extra=documented(ApiKeyIn) | _USER)
def make_key(web: Web, viewer: Administrator, user: _User, body: Body) -> dict[str, Any]:
    """Make an API key; as an admin also for another `user`. `key` is shown only now."""
    document = parse(body, ApiKeyIn).model_dump()
    document["expires"] = document.pop("expires_datetime")
    key, stored = rules.make_key(web.store, viewer, document, now=web.clock(), user_name=user)
    return show(NEW_KEY, stored, key=key)


@router.delete("/apikey/{key_id}/", status_code=204, openapi_extra=_USER)
def revoke_key(
    web: Web, viewer: Administrator, user: _User, key_id: Annotated[str, Path(description="`id` of the key")]
) -> Response:
    """Revoke an API key, and end the sessions that began with it. After the response it is refused."""
    rules.revoke_key(web.store, viewer, key_id, user)
    return Response(status_code=204)


@router.get("/audit/", response_model=AUDIT, openapi_extra=documented_query(["before", "limit", *AUDIT_FILTERS]))
def list_audit(web: Web, request: Request, viewer: Reader) -> dict[str, Any]:
    """List who did what, newest first: as an admin all, else what you did. Pages: limit, before (`meta.next`).

    The other parameters choose entries with these values, and the days of UTC from `since` to `until`. With them, a
    page may have few objects, or none, though `meta.next` is there.
    """
    filters, before, limit = parse_audit_query(request.query_params.multi_items())
    page = web.store.audit(viewer, filters, before=before, limit=limit)
    following = urlencode({**request.query_params, "limit": limit, "before": page.next})
    return {
        "meta": {"limit": limit, "next": None if page.next is None else f"{PREFIX}/audit/?{following}"},
        "objects": page.entries,
    }
