"""Pages of lists: filters as SQL conditions, order, and the total."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

import sqlalchemy as sa

from tutumd.model import Page, Query

T = TypeVar("T")


def read_page(
    connection: sa.Connection,
    statement: sa.Select[Any],
    query: Query,
    order: Sequence[sa.ColumnElement[Any]],
    make_values: Callable[[Sequence[sa.Row[Any]]], Iterable[T]],
    filters: Mapping[str, sa.ColumnElement[Any]] | None = None,
) -> Page[T]:
    """Return one page of a statement's rows.

    Args:
        make_values: Turns the rows of the page into values.
        filters: Columns by the names of filters, without suffixes such as `__gte`; None: the query's are ignored.
    """
    if filters is not None:
        statement = statement.where(*conditions(query.filters, filters))
    total = connection.execute(sa.select(sa.func.count()).select_from(statement.subquery())).scalar_one()
    rows = connection.execute(statement.order_by(*order).limit(query.limit).offset(query.offset)).all()
    return Page(objects=tuple(make_values(rows)), total=total)


def conditions(
    filters: Mapping[str, str], columns: Mapping[str, sa.ColumnElement[Any]]
) -> Iterator[sa.ColumnElement[bool]]:
    """Yield the conditions of filters. `columns` is as of `read_page`."""
    return (_condition(name, value, columns) for name, value in filters.items())


def _condition(name: str, value: str, columns: Mapping[str, sa.ColumnElement[Any]]) -> sa.ColumnElement[bool]:
    column, _, suffix = name.rpartition("__")
    if suffix == "startswith":
        return columns[column].startswith(value.lower(), autoescape=True)
    if suffix == "gte":
        return columns[column] >= datetime.fromisoformat(value)
    if suffix == "lte":
        return columns[column] <= datetime.fromisoformat(value)
    return columns[name] == (value.lower() if name in ("uuid", "service", "object") else value)
