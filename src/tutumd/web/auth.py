"""Authentication by the Authorization header: `ApiKey USER:KEY` as in 2015, or Basic with the same pair."""

import base64
import binascii
from typing import Annotated

from fastapi import Depends, Request

from tutumd.application.accounts import authenticate
from tutumd.errors import UnauthorizedError
from tutumd.model import User
from tutumd.web.context import context


def parse_credentials(request: Request) -> tuple[str, str]:
    """Return user name and key of a request. Raises UnauthorizedError."""
    scheme, _, value = request.headers.get("authorization", "").strip().partition(" ")
    pair = value.strip()
    if scheme.lower() == "basic":
        try:
            pair = base64.b64decode(pair, validate=True).decode()
        except (binascii.Error, ValueError):
            raise UnauthorizedError("the Authorization header is not valid Basic authentication") from None
    elif scheme.lower() != "apikey":
        raise UnauthorizedError("credentials are needed: send Authorization: ApiKey USER:KEY")
    name, _, key = pair.partition(":")
    return name.strip(), key.strip()


def authenticate_request(request: Request) -> User:
    """Return the user who sends a request. Raises UnauthorizedError, before the rest of the request is read."""
    return authenticate(context(request).store, *parse_credentials(request))


Viewer = Annotated[User, Depends(authenticate_request)]
