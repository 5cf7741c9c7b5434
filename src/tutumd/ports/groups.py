"""The part of Store about calls of groups."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from tutumd.model import Page, Query, Reference, User
from tutumd.model.groups import GroupCall


class Groups(Protocol):
    """Calls of groups. Each method is one transaction. A viewer sees the calls of the groups that it sees, and those of
    its own revoked groups.
    """

    def group_calls(self, viewer: User, query: Query) -> Page[GroupCall]:
        """Return calls of groups, newest first. Filters: `handler`, the number of the group; `received__gte` and
        `received__lte`.
        """

    def group_call(self, viewer: User, number: int) -> GroupCall:
        """Return a call of a group. Raises NotFoundError."""

    def group_progress(self, references: Sequence[Reference]) -> Mapping[Reference, GroupCall]:
        """Return the calls of references with `GROUP_CALL`, for their callers. Unknown ones are missing."""
