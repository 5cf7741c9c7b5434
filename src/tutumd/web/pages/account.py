"""Sign-in and sign-out; the account with its sessions and API keys, for admins also all users; and the audit log."""

import re
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response

from tutumd.application import accounts as rules
from tutumd.application.queries import AUDIT_FILTERS, parse_audit_filters
from tutumd.application.scopes import describe_limits, require_admin, require_everything
from tutumd.errors import (
    NOT_FOUND,
    ConflictError,
    InvalidInputError,
    NotFoundError,
    TooManyCallsError,
    TutumdError,
    UnauthorizedError,
)
from tutumd.model import AuditEntry, AuditEvent, Scope, Via
from tutumd.web.auth import at_origin
from tutumd.web.context import context
from tutumd.web.pages.cookies import set_cookie
from tutumd.web.pages.rendering import go_to, render, start_of_urls, verb
from tutumd.web.pages.visitors import (
    PROXY,
    Admin,
    Before,
    Number,
    Reader,
    SentForm,
    Visit,
    begin_visit,
    find_visitor,
    fingerprint,
    make_session,
    read_user_name,
)

router = APIRouter()

_NEWEST = 20
"""Maximum number of sessions, keys and users that the page shows unless it shows all."""

_FIELDS = ("name", "scope", "service", "stack", "expires")
_SCOPES = {
    Scope.READ: "look, without the URLs of handlers",
    Scope.CALL: "also see these URLs, redeploy, and redeliver calls",
    Scope.OPERATE: "also scale, start and stop, and change handlers",
    Scope.ADMIN: "all that the user may do, also make keys",
}
_FOR_ADMINS = "it decides who else signs in"
_EXPIRIES = (("90d", "90 days"), ("7d", "7 days"), ("365d", "1 year"), ("", "never"))


@router.get("/account/")
def show_account(visit: Reader, show: str = "") -> Response:
    """Show the account: the newest sessions, keys and users, or all."""
    return render_account(visit, most=None if show == "all" else _NEWEST)


@router.post("/account/key/")
def make_key(visit: Admin, form: SentForm) -> Response:
    """Create an API key, and show it in this response only. If the same form is sent again, nothing is created."""
    document = {name: form.get(name, "").strip() for name in _FIELDS}
    owner = form.get("owner", "") or visit.user.name
    try:
        key, _ = rules.make_key(
            visit.store, visit.user, document, now=visit.web.clock(), user_name=owner, form_sha256=fingerprint(form)
        )
    except TutumdError as error:
        if not error.field and not isinstance(error, ConflictError):
            raise
        return render_account(visit, refused=error, sent=document, owner=owner)
    return render_account(visit, 201, made=key, owner=owner)


@router.post("/account/key/{key_id}/revoke/")
def revoke_key(visit: Admin, key_id: str, form: SentForm) -> Response:
    """Revoke one of the visitor's own API keys, or as an admin a key of another `owner`."""
    rules.revoke_key(visit.store, visit.user, key_id, form.get("owner", "") or None)
    return visit.go_to("/account/", "key-revoked")


@router.post("/account/session/{number}/end/")
def end_one_session(visit: Admin, number: Number) -> Response:
    """End one of the visitor's own sessions."""
    require_everything(visit.user)
    if not visit.store.end_sessions(visit.user, number):
        raise NotFoundError(NOT_FOUND)
    return visit.go_to("/account/", "session-ended")


@router.post("/account/sessions/end/")
def end_other_sessions(visit: Admin) -> Response:
    """End all of the visitor's own sessions except the current one."""
    require_everything(visit.user)
    for session in visit.store.sessions(visit.user.name):
        if session.number != visit.user.access.session:
            visit.store.end_sessions(visit.user, session.number)
    return visit.go_to("/account/", "sessions-ended")


@router.post("/account/user/")
def add_user(visit: Admin, form: SentForm) -> Response:
    """Add a user, and show a link that signs the user in."""
    require_admin(visit.user, _FOR_ADMINS)
    name = form.get("name", "").strip()
    try:
        rules.add_user(visit.store, name, is_admin=bool(form.get("is_admin")), by=visit.user)
    except (ConflictError, InvalidInputError) as error:
        return render_account(visit, refused=error, new_user=name, errors={"user": str(error)})
    return make_link(visit, {"user": name})


@router.post("/account/user/link/")
def make_link(visit: Admin, form: SentForm) -> Response:
    """Show a link that signs a user in once. The link is in this response only."""
    require_admin(visit.user, _FOR_ADMINS)
    name = form.get("user", "")
    link = start_of_urls(visit.request) + rules.make_login_link(visit.store, name, visit.web.clock(), visit.user)
    return render_account(visit, 201, link=link, owner=name)


@router.post("/account/user/remove/")
def remove_user(visit: Admin, form: SentForm) -> Response:
    """Remove a user, whose keys are then refused and whose sessions end."""
    require_admin(visit.user, _FOR_ADMINS)
    try:
        labelled = visit.store.remove_user(form.get("user", ""), visit.user)
    except ConflictError as error:
        return render_account(visit, refused=error, errors={"user": str(error)})
    return visit.go_to("/account/", "user-removed-labelled" if labelled else "user-removed")


def render_account(visit: Visit, status: int = 200, most: int | None = _NEWEST, **values: Any) -> Response:
    """Return the page. Narrow credentials do not show other credentials of their user.

    Args:
        most: Rows of each list; None: all.
        values: What is shown only now: `made`, a key of the user `owner`, or `link`, a link that signs in the user
            `owner`. After an invalid form: `refused`, `sent` and `owner`.
    """
    store, access = visit.store, visit.user.access
    users = store.users() if visit.user.administers else ()
    admins = [user.name for user in users if user.is_admin]
    known: dict[str, Any] = {
        "most": most,
        "limits": describe_limits(access),
        "is_of_proxy": access.credential == PROXY,
        "sessions": () if access.is_narrow else store.sessions(visit.user.name),
        "keys": rules.list_keys(store, visit.user),
        "users": users,
        "all_keys": store.keys() if visit.user.administers else (),
        "last_admin": admins[0] if len(admins) == 1 else "",
        "scopes": [(each.value, f"{each.value}: {text}") for each, text in _SCOPES.items()],
        "expiries": _EXPIRIES,
        "own_key": access.key_sha256,
        "makes_keys": access.scope is Scope.ADMIN and not access.is_narrow,
        "sent": dict.fromkeys(_FIELDS, ""),
        "made": "",
        "link": "",
        "new_user": "",
        "owner": "",
    }
    return visit.render("account.html", status, **known | values)


_VIA = {"api": "API", "page": "page", "command": "command"}


@router.get("/audit/")
def show_audit(visit: Reader, before: Before = None) -> Response:
    """Show the audit log, newest first: admins see all entries, members their own. Filters select entries."""
    query = visit.request.query_params
    page = visit.store.audit(visit.user, parse_audit_filters(query), before=before, limit=50)
    sent = {name: query.get(name, "").strip() for name in AUDIT_FILTERS}
    given = {name: text for name, text in sent.items() if text}
    here = f"{visit.root}/audit/"
    return visit.render(
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
    """Return the details of an entry. Details of actions and handlers begin with their verb."""
    if not entry.what.startswith(("action ", "handler ")):
        return entry.details
    return re.sub("^[A-Z]+", lambda word: verb(word[0]), entry.details)


# One slash at the start: browsers interpret `//` and `/\` as the start of a host.
_OUR_PATH = re.compile(r"/(?![/\\])[A-Za-z0-9._~/?=&%+-]*", re.ASCII)


@router.get("/sign-in/")
def show_sign_in(request: Request, next: str = "") -> Response:
    """Show the sign-in form."""
    if find_visitor(request) is not None:
        return _go_on(request, next)
    begin_visit(request)
    return render(request, "sign_in.html", next=next, user="")


@router.post("/sign-in/")
def sign_in(request: Request, form: SentForm) -> Response:
    """Begin a session for the owner of an API key."""
    web, name, after = context(request), form.get("user", "").strip(), form.get("next", "")
    try:
        user = web.sign_ins.authenticate(web.read_client(request.scope), name, form.get("key", "").strip())
    except (UnauthorizedError, TooManyCallsError) as error:
        begin_visit(request)
        return render(request, "sign_in.html", refused=error, next=after, user=name)
    response = _go_on(request, after)
    web.store.add_session(at_origin(request, user, Via.PAGE), make_session(request, response))
    return response


@router.get("/sign-in/link/{token}/")
def show_link(request: Request, token: str) -> Response:
    """Show the button that uses a link: link previews in chats and mails only send GET."""
    find_visitor(request)
    begin_visit(request)
    return render(request, "sign_in_link.html")


@router.post("/sign-in/link/{token}/")
def use_link(request: Request, token: str) -> Response:
    """Begin a session for the user of a link, which works once."""
    web, response = context(request), go_to(request, "/")
    try:
        web.sign_ins.use_link(
            web.read_client(request.scope), token, make_session(request, response), web.read_origin(request.scope)
        )
    except (UnauthorizedError, TooManyCallsError) as error:
        return render(request, "sign_in_link.html", refused=error)
    return response


@router.post("/sign-out/")
def sign_out(request: Request) -> Response:
    """End the session."""
    if read_user_name(request):
        raise ConflictError("the proxy in front of this server signed you in, and names you again: sign out there")
    response = go_to(request, "/sign-in/")
    set_cookie(request, response, "", 0)  # the browser removes it
    user = find_visitor(request)
    if user is not None and user.access.session is not None:
        context(request).store.end_sessions(user, user.access.session)
    return response


def _go_on(request: Request, path: str) -> Response:
    """Redirect to one of our pages; a path that is not one of ours redirects to the overview."""
    return go_to(request, path if _OUR_PATH.fullmatch(path) else "/")
