"""Rights of an API key's scope: one check for routes and pages."""

from tutumd.errors import ForbiddenError
from tutumd.model import Access, Scope, User


def require_scope(viewer: User, scope: Scope) -> None:
    """Raise ForbiddenError unless the credentials of the viewer have a scope."""
    held = viewer.access.scope
    if not held.includes(scope):
        raise ForbiddenError(
            f"this key has the scope {held.value!r}, and this needs {scope.value!r}: use another key, or make one with"
            f" tutumd apikey add {viewer.name} --scope {scope.value}"
        )


def require_admin(viewer: User, why: str, *, is_about_a_service: bool = False) -> None:
    """Raise ForbiddenError unless the viewer is an admin whose credentials have the scope ADMIN.

    Args:
        why: Reason why only admins may do it.
        is_about_a_service: Whether credentials for one service or stack suffice for it.
    """
    if not viewer.is_admin:
        raise ForbiddenError(f"only admins may do this: {why}")
    require_scope(viewer, Scope.ADMIN)
    if not is_about_a_service:
        require_everything(viewer)


def require_everything(viewer: User) -> None:
    """Raise ForbiddenError if the credentials of the viewer are for one service or stack only."""
    if viewer.access.is_narrow:
        raise ForbiddenError(
            f"this key is for {describe_limits(viewer.access)} only: use another key, or make one with"
            f" tutumd apikey add {viewer.name} --scope {viewer.access.scope.value}"
        )


def describe_limits(access: Access) -> str:
    """Return a phrase that names the service or stack of narrow credentials."""
    limits = (
        f"the service {access.service_uuid}" if access.service_uuid else "",
        f"the stack {access.stack!r}" if access.stack else "",
    )
    return " in ".join(filter(None, limits))
