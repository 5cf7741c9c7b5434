"""Lists: what is asked for, and one page of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Filters, already checked, and the page wanted: `limit` 1 to 100, `offset` from 0."""

    filters: Mapping[str, str] = field(default_factory=dict)
    limit: int = 25
    offset: int = 0


T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    """One page of a list and how many objects there are in all."""

    objects: tuple[T, ...]
    total: int
