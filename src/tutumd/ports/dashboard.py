"""What pages of the dashboard read beyond the API, lists without totals, and the figures for monitoring."""

from datetime import datetime
from typing import Protocol

from tutumd.model import (
    Delivery,
    DeliveryOutcome,
    Figures,
    Overview,
    ServiceList,
    ServiceState,
    User,
)


class Dashboard(Protocol):
    """Reads of pages. Each method is one transaction; its cost does not grow with the tables, or only slowly.

    Lists go on from the last object of a page: `before` its number, `after` its UUID. A viewer sees what `Store` says.
    """

    def service_list(
        self,
        viewer: User,
        *,
        search: str = "",
        state: ServiceState | None = None,
        stack: str | None = None,
        engine: str | None = None,
        gone: bool = False,
        after: str | None = None,
        limit: int = 50,
    ) -> ServiceList:
        """Return services by name, with what the filters of the page offer.

        Args:
            search: Part of the name, with or without its stack, or of the image; upper and lower case are the same.
            stack: Its services; an empty text: services of no stack. None: all.
            gone: Return the services that their engines do not show, instead of the others.
            after: UUID of the last service of the page before. If it is deleted, the list begins again.
        """

    def overview(self, viewer: User, *, unused_before: datetime) -> Overview:
        """Return what failed, runs and waits, and what is odd.

        Args:
            unused_before: A handler that was created before, and not called since, counts as unused.
        """

    def service_deliveries(
        self,
        viewer: User,
        service_uuid: str,
        *,
        handler_number: int | None = None,
        outcome: DeliveryOutcome | None = None,
        before: int | None = None,
        limit: int = 30,
    ) -> tuple[Delivery, ...]:
        """Return what handlers of a service received, newest first, without its content.

        With calls of a revoked handler as long as an action of the service tells of them: it has no number then.

        Args:
            handler_number: Only of this handler. One that the service does not have received nothing.

        Raises:
            NotFoundError: There is no such service.
        """

    def action_deliveries(self, viewer: User, action_uuid: str, limit: int = 100) -> tuple[tuple[Delivery, ...], int]:
        """Return the newest deliveries that an action carries out, without content, and how many it has.

        Raises:
            NotFoundError: There is no such action.
        """

    def delivery_by_number(self, viewer: User, service_uuid: str, handler_number: int, number: int) -> Delivery:
        """Return a delivery with its content."""


class FigureReader(Protocol):
    """Reads the figures for monitoring."""

    def read(self) -> Figures:
        """Return the figures of this moment, within a few seconds.

        Raises:
            UnavailableError: The database cannot be read in that time.
        """
