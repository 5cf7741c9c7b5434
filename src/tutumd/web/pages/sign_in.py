"""Pages to sign in and out."""

import re

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from tutumd.errors import ConflictError, TooManyCallsError, UnauthorizedError
from tutumd.web.context import context
from tutumd.web.pages.proxy_users import read_user_name
from tutumd.web.pages.rendering import render
from tutumd.web.pages.visitors import (
    SentForm,
    begin_session,
    begin_visit,
    end_session,
    field,
    find_visitor,
    make_session,
)

router = APIRouter()

# One slash at the start: browsers take `//` and `/\` for the start of a host.
_OUR_PATH = re.compile(r"/(?![/\\])[A-Za-z0-9._~/?=&%+-]*", re.ASCII)


@router.get("/sign-in/")
def show_sign_in(request: Request, next: str = "") -> Response:
    """Show the form to sign in."""
    if find_visitor(request) is not None:
        return go_to(request, next)
    begin_visit(request)
    return render(request, "sign_in.html", next=next, user="", error="")


@router.post("/sign-in/")
def sign_in(request: Request, form: SentForm) -> Response:
    """Begin a session for the owner of an API key."""
    web, name, after = context(request), field(form, "user").strip(), field(form, "next")
    try:
        user = web.sign_ins.authenticate(web.read_client(request.scope), name, field(form, "key").strip())
    except (UnauthorizedError, TooManyCallsError) as error:
        begin_visit(request)
        return _refuse(request, error, "sign_in.html", next=after, user=name)
    response = go_to(request, after)
    begin_session(request, response, user)
    return response


@router.get("/sign-in/link/{token}/")
def show_link(request: Request, token: str) -> Response:
    """Show the button that uses a link: previews of links, in chats and mails, only get it."""
    find_visitor(request)
    begin_visit(request)
    return render(request, "sign_in_link.html", error="")


@router.post("/sign-in/link/{token}/")
def use_link(request: Request, token: str) -> Response:
    """Begin a session for the user of a link, which works once."""
    web, response = context(request), go_to(request, "/")
    try:
        new = make_session(request, response)
        web.sign_ins.use_link(web.read_client(request.scope), token, new, web.read_origin(request.scope))
    except (UnauthorizedError, TooManyCallsError) as error:
        return _refuse(request, error, "sign_in_link.html")
    return response


@router.post("/sign-out/")
def sign_out(request: Request) -> Response:
    """End the session."""
    if read_user_name(request):
        raise ConflictError("the proxy in front of this server signed you in, and names you again: sign out there")
    response = go_to(request, "/sign-in/")
    end_session(request, response)
    return response


def go_to(request: Request, path: str) -> RedirectResponse:
    """Redirect to a page of ours. Anything but its path leads to the overview."""
    address = path if _OUR_PATH.fullmatch(path) else "/"
    return RedirectResponse(context(request).public_path + address, 303)


def _refuse(request: Request, error: UnauthorizedError | TooManyCallsError, template: str, **values: str) -> Response:
    if isinstance(error, UnauthorizedError):
        return render(request, template, 401, error=str(error), **values)
    response = render(request, template, 429, error=str(error), **values)
    response.headers["Retry-After"] = str(error.retry_after_s)
    return response
