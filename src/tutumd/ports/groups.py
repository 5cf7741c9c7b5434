"""The groups part of Store."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from tutumd.model import Delivery, Page, Query, Reference, User
from tutumd.model.groups import Group, GroupCall, NewGroup


class Groups(Protocol):
    """Groups and their calls. Each method is one transaction. A viewer sees the own groups, an admin all; credentials
    for one stack see the groups of that stack, credentials for one service none.
    """

    def groups(self, viewer: User, query: Query) -> Page[Group]:
        """Return groups, oldest first. Filters: `uuid`, `name`."""

    def group(self, viewer: User, reference: str | int) -> Group:
        """Return a group by its UUID or its number. Raises NotFoundError."""

    def add_group(self, viewer: User, new: NewGroup) -> Group:
        """Create a group. Raises NotFoundError if a listed service is not the viewer's, ConflictError if another
        group of the owner has the name or the viewer has too many handlers, ForbiddenError if the credentials do not
        cover the selected services.
        """

    def add_group_once(self, viewer: User, new: NewGroup, form_sha256: str) -> tuple[Group, bool]:
        """Create a group for a form, and return it and True; if the form has already created a group, return that group
        and False. Raises as `add_group`.
        """

    def change_group(self, viewer: User, uuid: str, change: Callable[[Group], NewGroup]) -> Group:
        """Change a group. Raises as `add_group`."""

    def rotate_group(self, viewer: User, uuid: str, old_until: datetime) -> Group:
        """Give a group a new URL; the old one accepts calls until `old_until`. Raises NotFoundError."""

    def delete_group(self, viewer: User, uuid: str) -> None:
        """Revoke a group. Its actions go on. Raises NotFoundError."""

    def group_calls(self, viewer: User, query: Query) -> Page[GroupCall]:
        """Return calls of groups, newest first. Filters: `handler`, the number of the group; `received__gte` and
        `received__lte`.
        """

    def group_call(self, viewer: User, number: int) -> GroupCall:
        """Return a call of a group. Raises NotFoundError."""

    def group_delivery(self, viewer: User, group: int, number: int) -> Delivery:
        """Return a delivery of a group, with its content. Raises NotFoundError."""

    def group_progress(self, references: Sequence[Reference]) -> Mapping[Reference, GroupCall]:
        """Return the calls of references with `GROUP_CALL`, for their callers. Unknown ones are missing."""
