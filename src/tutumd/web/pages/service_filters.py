"""The filters of the list of services, as its page's address holds them."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from urllib.parse import urlencode

from tutumd.application.admission.json_checks import is_storable
from tutumd.errors import InvalidInputError
from tutumd.model import Query, ServiceGroup, ServiceState

GONE = "Gone"
_MAX_DIGITS = 10

_ORDER = (
    ServiceState.NOT_RUNNING,
    ServiceState.PARTLY_RUNNING,
    ServiceState.REDEPLOYING,
    ServiceState.SCALING,
    ServiceState.STARTING,
    ServiceState.STOPPING,
    ServiceState.TERMINATING,
    ServiceState.RUNNING,
    ServiceState.STOPPED,
)
"""States as filters show them: first what may need a person."""

Filter = tuple[str, str, int | None, bool]
"""A link that filters a list: label, address, how many there are, and whether it is the current one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceFilters:
    """What the list shows. Empty texts: all.

    Attributes:
        state: A state, or `Gone`.
        after: How many services come before the page.
    """

    search: str = ""
    state: str = ""
    stack: str = ""
    engine: str = ""
    after: int = 0

    @property
    def is_any(self) -> bool:
        """Whether it leaves something out."""
        return bool(self.search or self.state or self.stack or self.engine)

    def query(self, limit: int) -> Query:
        """Return the query of a page of the list."""
        is_gone = self.state == GONE
        filters = {
            "search": self.search,
            "state": "" if is_gone else self.state,
            "stack": self.stack,
            "engine": self.engine,
            "gone": "yes" if is_gone else "no",
        }
        given = {name: value for name, value in filters.items() if value}
        return Query(filters=given, limit=limit, offset=self.after, by_stack=True)

    def address(self, root: str) -> str:
        """Return the address of the list with these filters."""
        query = urlencode({name: value for name, value in asdict(self).items() if value})
        return f"{root}/services/{f'?{query}' if query else ''}"


def parse_filters(query: Mapping[str, str]) -> ServiceFilters:
    """Return the filters in the query of an address.

    Raises:
        InvalidInputError: There is no such state, or a text that no service can have.
    """
    given = {name: query.get(name, "").strip() for name in ("search", "state", "stack", "engine", "after")}
    if not all(map(is_storable, given.values())):
        raise InvalidInputError("filters must not contain NUL characters or unpaired surrogates")
    after = given.pop("after")
    filters = ServiceFilters(**given, after=int(after) if after.isdecimal() and len(after) < _MAX_DIGITS else 0)
    states = [GONE, *_ORDER]
    if filters.state and filters.state not in states:
        raise InvalidInputError(f"there is no state {filters.state[:50]!r}: services are {', '.join(states)}")
    return filters


def state_filters(root: str, filters: ServiceFilters | None, groups: Iterable[ServiceGroup]) -> list[Filter]:
    """Return the links that choose a state: all, each that a service is in, and those that are gone.

    Args:
        filters: Of the list; None: the page is another one.
        groups: All services that the other filters let through.
    """
    chosen = filters.state if filters else None
    counts = Counter[str]()
    for group in groups:
        counts[group.state if group.bound else GONE] += group.number

    def link(label: str, state: str, number: int) -> Filter:
        address = replace(filters or ServiceFilters(), state=state, after=0).address(root)
        return label, address, number, chosen == state

    shown = [state for state in (*_ORDER, GONE) if counts[state] or chosen == state]
    return [link("All", "", counts.total() - counts[GONE]), *(link(state, state, counts[state]) for state in shown)]
