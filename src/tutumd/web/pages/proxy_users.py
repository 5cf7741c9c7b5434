"""Users that a proxy has signed in: it names them in a header of each request."""

import shlex
from dataclasses import replace

from fastapi import Request

from tutumd.application.accounts import check_name
from tutumd.errors import ForbiddenError, InvalidInputError
from tutumd.model import Access, User, Via
from tutumd.web.context import context

CREDENTIAL = "proxy"


def read_user_name(request: Request) -> str:
    """Return the name in the header; empty if there is none, or if the request comes from nobody who may set it.

    Raises:
        ForbiddenError: There are several headers, so that one of them is the client's own.
    """
    web = context(request)
    peer = request.client.host if request.client else ""
    if not web.user_header or peer not in web.trusted_proxies:
        return ""
    wanted = web.user_header.lower().encode()
    values = [value for name, value in request.scope["headers"] if name.lower() == wanted]
    if len(values) > 1:
        raise ForbiddenError(
            f"the request has {len(values)} headers {web.user_header}: the proxy must replace what the client sends"
        )
    # RFC 9110, 5.5: spaces and tabs surround a value. `str.strip` also removes U+00A0, which is part of a name.
    return values[0].strip(b" \t").decode("utf-8", "surrogateescape") if values else ""


def find_proxy_user(request: Request) -> User | None:
    """Return the user that a trusted proxy names, with all rights of theirs; None if it names none.

    Raises:
        ForbiddenError: There is no such user, or the header does not count.
    """
    name = read_user_name(request)
    if not name:
        return None
    try:
        check_name(name)
    except InvalidInputError as error:
        raise ForbiddenError(f"the proxy has signed you in as {name[:100]!r}, and {error}") from None
    user = context(request).store.user_named(name)
    if user is None:
        raise ForbiddenError(
            f"the proxy has signed you in as {name!r}, and this server has no such user."
            f" An admin adds it with: tutumd user add {shlex.quote(name)}"
        )
    return replace(user, access=Access(via=Via.PAGE, credential=CREDENTIAL))
