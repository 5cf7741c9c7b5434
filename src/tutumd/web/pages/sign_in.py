"""Pages to sign in and out."""

import re

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from tutumd.errors import TooManyCallsError, UnauthorizedError
from tutumd.web.context import context
from tutumd.web.pages.rendering import render
from tutumd.web.pages.visitors import SentForm, begin_session, end_session, field, find_visitor

router = APIRouter()

_PATH = re.compile(r"/(?![/\\])[A-Za-z0-9._~/?=&%+-]*")


@router.get("/sign-in/")
def show_sign_in(request: Request, next: str = "") -> Response:
    """Show the form to sign in."""
    if find_visitor(request) is not None:
        return go_to(request, next)
    return render(request, "sign_in.html", next=next, user="", error="")


@router.post("/sign-in/")
def sign_in(request: Request, form: SentForm) -> Response:
    """Begin a session for the owner of an API key."""
    web, name, after = context(request), field(form, "user").strip(), field(form, "next")
    try:
        user = web.sign_ins.authenticate(web.read_client(request.scope), name, field(form, "key").strip())
    except (UnauthorizedError, TooManyCallsError) as error:
        status = 429 if isinstance(error, TooManyCallsError) else 401
        return render(request, "sign_in.html", status, next=after, user=name, error=str(error))
    response = go_to(request, after)
    begin_session(request, response, user)
    return response


@router.post("/sign-out/")
def sign_out(request: Request) -> Response:
    """End the session."""
    response = go_to(request, "/sign-in/")
    end_session(request, response)
    return response


def go_to(request: Request, path: str) -> RedirectResponse:
    """Redirect to a page of ours. Anything but its path leads to the overview."""
    address = path if _PATH.fullmatch(path) else "/"
    return RedirectResponse(context(request).public_path + address, 303, headers={"Cache-Control": "no-store"})
