"""The account: who one is, and one's sessions and API keys."""

from fastapi import APIRouter, Request
from fastapi.responses import Response

from tutumd.application.scopes import describe_limits, require_everything
from tutumd.errors import NOT_FOUND, NotFoundError
from tutumd.model import User
from tutumd.web.context import context
from tutumd.web.pages.agents import describe_agent
from tutumd.web.pages.proxy_users import CREDENTIAL as PROXY
from tutumd.web.pages.rendering import render
from tutumd.web.pages.sign_in import go_to
from tutumd.web.pages.visitors import Operator, Reader

router = APIRouter()


@router.get("/account/")
def show_account(request: Request, visitor: Reader) -> Response:
    """Show the account."""
    return render_account(request, visitor)


def render_account(request: Request, visitor: User, status: int = 200) -> Response:
    """Return the page. Narrow credentials show nothing of the others of their user."""
    store, access = context(request).store, visitor.access
    return render(
        request,
        "account.html",
        status,
        limits=describe_limits(access),
        is_of_proxy=access.credential == PROXY,
        sessions=() if access.is_narrow else store.sessions(visitor.name),
        keys=() if access.is_narrow else store.keys(visitor.name),
        describe_agent=describe_agent,
    )


@router.post("/account/session/{number}/end/")
def end_session(request: Request, visitor: Operator, number: int) -> Response:
    """End one of one's sessions."""
    require_everything(visitor)
    if not context(request).store.end_sessions(visitor, number):
        raise NotFoundError(NOT_FOUND)
    return go_to(request, "/account/")


@router.post("/account/sessions/end/")
def end_other_sessions(request: Request, visitor: Operator) -> Response:
    """End all of one's sessions but this one."""
    require_everything(visitor)
    store = context(request).store
    for session in store.sessions(visitor.name):
        if session.number != visitor.access.session:
            store.end_sessions(visitor, session.number)
    return go_to(request, "/account/")
