"""Queries of lists, and pages."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from tutumd.errors import NOT_FOUND, NotFoundError


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Validated filters, and the requested page.

    Attributes:
        limit: 1 to 100.
        offset: Number of objects before the page.
        counts: Whether to count all objects of the list, which takes longer for long lists.
    """

    filters: Mapping[str, str] = field(default_factory=dict)
    limit: int = 25
    offset: int = 0
    counts: bool = True

    @classmethod
    def newest(cls, limit: int, **filters: object) -> "Query":
        """Return a query for the first objects of a list, without a count. Filters that are None are omitted."""
        return cls(
            filters={name: str(value) for name, value in filters.items() if value is not None},
            limit=limit,
            counts=False,
        )


T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    """One page of a list, and the total number of objects; 0 if the query does not count them."""

    objects: tuple[T, ...]
    total: int

    @property
    def first(self) -> T:
        """The first object. Raises NotFoundError if there is none."""
        if not self.objects:
            raise NotFoundError(NOT_FOUND)
        return self.objects[0]
