"""Queries of lists, and pages."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Validated filters, and the requested page: `limit` is 1 to 100, `offset` starts at 0."""

    filters: Mapping[str, str] = field(default_factory=dict)
    limit: int = 25
    offset: int = 0


T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    """One page of a list, and the total number of objects."""

    objects: tuple[T, ...]
    total: int
