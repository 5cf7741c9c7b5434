"""Adding and removing users on the page of the account, and links that sign users in. For admins."""

from fastapi import APIRouter, Request
from fastapi.responses import Response

from tutumd.application import accounts as rules
from tutumd.application.scopes import require_admin
from tutumd.errors import ConflictError, InvalidInputError
from tutumd.web.context import context
from tutumd.web.errors import describe_error
from tutumd.web.pages.account import render_account
from tutumd.web.pages.rendering import go_to, start_of_urls
from tutumd.web.pages.visitors import Admin, SentForm

router = APIRouter(prefix="/account/user")

_FOR_ADMINS = "it decides who else signs in"


@router.post("/")
def add_user(request: Request, visitor: Admin, form: SentForm) -> Response:
    """Add a user, and show a link that signs the user in."""
    require_admin(visitor, _FOR_ADMINS)
    name = form.get("name", "").strip()
    try:
        rules.add_user(context(request).store, name, is_admin=bool(form.get("is_admin")), by=visitor)
    except (ConflictError, InvalidInputError) as error:
        return render_account(request, visitor, describe_error(error)[0], new_user=name, errors={"user": str(error)})
    return make_link(request, visitor, {"user": name})


@router.post("/link/")
def make_link(request: Request, visitor: Admin, form: SentForm) -> Response:
    """Show a link that signs a user in once. The link is in this response only."""
    require_admin(visitor, _FOR_ADMINS)
    web, name = context(request), form.get("user", "")
    link = start_of_urls(request) + rules.make_login_link(web.store, name, web.clock(), visitor)
    return render_account(request, visitor, 201, link=link, owner=name)


@router.post("/remove/")
def remove_user(request: Request, visitor: Admin, form: SentForm) -> Response:
    """Remove a user, whose keys are then refused and whose sessions end."""
    require_admin(visitor, _FOR_ADMINS)
    try:
        labelled = context(request).store.remove_user(form.get("user", ""), visitor)
    except ConflictError as error:
        return render_account(request, visitor, 409, errors={"user": str(error)})
    return go_to(request, "/account/", "user-removed-labelled" if labelled else "user-removed")
