"""The filters of the list of services, as its page's address holds them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from tutumd.application.admission.json_checks import is_storable
from tutumd.errors import InvalidInputError
from tutumd.model import ServiceCounts, ServiceState

GONE = "Gone"
NO_STACK = "-"
"""Stands for services of no stack in an address: no stack can have this name."""

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
        stack: `-` for services of no stack.
        after: UUID of the last service of the page before.
    """

    search: str = ""
    state: str = ""
    stack: str = ""
    engine: str = ""
    after: str = ""

    @property
    def is_any(self) -> bool:
        """Whether it leaves something out."""
        return bool(self.search or self.state or self.stack or self.engine)

    @property
    def service_state(self) -> ServiceState | None:
        """The state that an engine or an action tells of."""
        return None if self.state in ("", GONE) else ServiceState(self.state)

    @property
    def stack_name(self) -> str | None:
        """The stack; empty for none, None for all."""
        return "" if self.stack == NO_STACK else self.stack or None

    def address(self, root: str) -> str:
        """Return the address of the list with these filters."""
        given = {name: getattr(self, name) for name in ("search", "state", "stack", "engine", "after")}
        query = urlencode({name: value for name, value in given.items() if value})
        return f"{root}/services/{f'?{query}' if query else ''}"


def parse_filters(query: Mapping[str, str]) -> ServiceFilters:
    """Return the filters in the query of an address.

    Raises:
        InvalidInputError: There is no such state, or a text that no service can have.
    """
    given = {name: query.get(name, "").strip() for name in ("search", "state", "stack", "engine", "after")}
    if not all(map(is_storable, given.values())):
        raise InvalidInputError("filters must not contain NUL characters or unpaired surrogates")
    filters = ServiceFilters(**given)
    states = [GONE, *_ORDER]
    if filters.state and filters.state not in states:
        raise InvalidInputError(f"there is no state {filters.state[:50]!r}: services are {', '.join(states)}")
    return filters


def state_filters(root: str, filters: ServiceFilters | None, counts: ServiceCounts) -> list[Filter]:
    """Return the links that choose a state: all, each that a service is in, and those that are gone.

    Args:
        filters: Of the list; None: the page is another one.
    """
    chosen = filters.state if filters else None

    def link(label: str, state: str, number: int) -> Filter:
        return label, replace(filters or ServiceFilters(), state=state, after="").address(root), number, chosen == state

    links = [link("All", "", sum(counts.states.values()))]
    for state in _ORDER:
        if counts.states.get(state) or chosen == state:
            links.append(link(state.value, state.value, counts.states.get(state, 0)))
    if counts.gone or chosen == GONE:
        links.append(link(GONE, GONE, counts.gone))
    return links
