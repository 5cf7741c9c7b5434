"""Reading the Authorization header: `ApiKey USER:KEY` of 2015, or Basic with the same pair."""

import base64
import binascii
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from tutumd.application.accounts import authenticate
from tutumd.errors import UnauthorizedError
from tutumd.model import User
from tutumd.web.context import context


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What a request said about who sends it, once it was found right."""

    user: User
    key: str = field(repr=False)


def parse_header(header: str | None) -> tuple[str, str]:
    """Read user name and key from an Authorization header. Raises UnauthorizedError."""
    scheme, _, value = (header or "").strip().partition(" ")
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


def credentials(request: Request) -> Credentials:
    """Check the credentials of a request, before anything else of it is looked at."""
    name, key = parse_header(request.headers.get("authorization"))
    return Credentials(user=authenticate(context(request).store, name, key), key=key)


def viewer(found: Annotated[Credentials, Depends(credentials)]) -> User:
    """Answer who sends the request."""
    return found.user


Viewer = Annotated[User, Depends(viewer)]
