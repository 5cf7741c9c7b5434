"""API keys of users: make, list and revoke them. No key makes one that may do more, or lasts longer, than itself."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from tutumd.application import accounts, services
from tutumd.application.admission.json_checks import is_storable
from tutumd.application.digests import sha256_hex
from tutumd.application.queries import parse_date
from tutumd.application.scopes import require_admin, require_everything, require_scope
from tutumd.errors import NOT_FOUND, ForbiddenError, InvalidInputError, NotFoundError, about
from tutumd.model import ApiKey, NewKey, Scope, User
from tutumd.ports.store import Store

_DAYS = re.compile(r"([1-9][0-9]{0,4})d", re.ASCII)
_NOT_YOURS = "these are the keys of another user"


def make_key(
    store: Store,
    viewer: User,
    document: Mapping[str, Any],
    *,
    now: datetime,
    user_name: str | None = None,
    form_sha256: str | None = None,
) -> tuple[str, ApiKey]:
    """Make a key, and return it with what is stored of it. It cannot be read again: only its SHA-256 is stored.

    Args:
        document: `scope`, and perhaps `service` (a reference), `stack`, and `expires` (`90d` or a date).
        user_name: Whose key it is to be; None: the viewer's.
        form_sha256: Of the form that makes it, which makes no other one.

    Raises:
        ForbiddenError: The viewer came with a key that makes no keys, or none that lasts so long; or it is for another
            user, and the viewer is not an admin.
        InvalidInputError: A value is wrong.
        NotFoundError: There is no such user, or the user has no such service or stack.
        ConflictError: Several services match the reference, or the form has made a key.
    """
    owner = _find_owner(store, viewer, user_name, changes=True)
    with about("scope"):
        scope = parse_scope(document.get("scope"))
    with about("expires"):
        expires = parse_expiry(document.get("expires"), now)
        _check_expiry(expires, viewer.access.expires)
    reference, stack = document.get("service") or None, document.get("stack") or None
    with about("service"):
        service_uuid = None if reference is None else _find_service(store, owner, reference)
    key = accounts.generate_key()
    new = NewKey(
        key_sha256=sha256_hex(key),
        hint=accounts.make_hint(key),
        scope=scope,
        service_uuid=service_uuid,
        stack=stack,
        expires=expires,
        form_sha256=form_sha256,
    )
    store.add_key(owner.name, new, viewer)
    return key, ApiKey(
        id=new.key_sha256[: accounts.ID_LENGTH],
        user_name=owner.name,
        hint=new.hint,
        created=now,
        scope=scope,
        service_uuid=service_uuid,
        stack=stack,
        expires=expires,
    )


def list_keys(store: Store, viewer: User, user_name: str | None = None) -> tuple[ApiKey, ...]:
    """Return the keys of a user, oldest first. A key of one service or stack sees only itself.

    Raises:
        ForbiddenError: They are another user's, and the viewer is not an admin.
        NotFoundError: There is no such user.
    """
    owner = _find_owner(store, viewer, user_name, changes=False)
    own_id = (viewer.access.key_sha256 or "")[: accounts.ID_LENGTH]
    return tuple(key for key in store.keys(owner.name) if not viewer.access.is_narrow or key.id == own_id)


def revoke_key(store: Store, viewer: User, key_id: str, user_name: str | None = None) -> None:
    """Revoke a key. Once this returns, no request with it is accepted, and the sessions that it began have ended.

    Raises:
        ForbiddenError: As `make_key`.
        NotFoundError: The user has no such key.
    """
    owner = _find_owner(store, viewer, user_name, changes=True)
    if not is_storable(key_id):
        raise NotFoundError(NOT_FOUND)
    store.revoke_key(owner.name, key_id, viewer)


def parse_scope(text: object) -> Scope:
    """Return a scope. Raises InvalidInputError."""
    try:
        return Scope(str(text).lower())
    except ValueError:
        got = "nothing" if text is None else repr(str(text)[:30])
        raise InvalidInputError(f"scope must be {', '.join(Scope)}: the rights of the key, got {got}") from None


def parse_expiry(text: object, now: datetime) -> datetime | None:
    """Return when a key expires, from `90d` or a date; None: never. Raises InvalidInputError."""
    if text is None or text == "":
        return None
    if match := _DAYS.fullmatch(str(text)):
        return now + timedelta(days=int(match[1]))
    try:
        expires = parse_date("expires", str(text)).astimezone(UTC)
    except InvalidInputError:
        raise InvalidInputError(f"expires must be days such as 90d or a date, got {str(text)[:50]!r}") from None
    except OverflowError:
        raise InvalidInputError(f"expires must lie within the years 1 to 9999 of UTC, got {str(text)[:50]!r}") from None
    if expires <= now:
        raise InvalidInputError(f"expires must be in the future, got {str(text)[:50]!r}")
    return expires


def _check_expiry(expires: datetime | None, longest: datetime | None) -> None:
    if longest is not None and (expires is None or expires > longest):
        raise ForbiddenError(
            f"your key expires at {longest:%Y-%m-%dT%H:%M:%SZ}, and a key that it makes must expire then or before:"
            " give it an expiry"
        )


def _find_owner(store: Store, viewer: User, user_name: str | None, *, changes: bool) -> User:
    """Return the user whose keys are meant, with all that they see, if the viewer may see or change these."""
    if changes:
        require_scope(viewer, Scope.ADMIN)
        require_everything(viewer)
    name = user_name or viewer.name
    if name != viewer.name or not viewer.uuid:
        require_admin(viewer, _NOT_YOURS)
    owner = next((user for user in store.users() if user.name == name), None)
    if owner is None:
        raise NotFoundError(f"there is no user {name[:100]!r}: add it with tutumd user add {name[:100]}")
    return owner


def _find_service(store: Store, owner: User, reference: str) -> str:
    try:
        return services.find(store, owner, reference)
    except NotFoundError:
        raise NotFoundError(f"{owner.name} has no service {reference[:300]!r}") from None
