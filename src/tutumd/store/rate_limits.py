"""Limits of calls in a time: a token bucket in one number, the time at which it would be full again (GCRA)."""

from collections.abc import Iterable
from ipaddress import IPv6Address, ip_address, ip_network

import sqlalchemy as sa

from tutumd.store.tables import client_rates

_SECOND = 1_000_000
_ADD = sa.text("INSERT INTO client_rates (address, rate_tat) VALUES (:address, 0) ON CONFLICT (address) DO NOTHING")


def admit(tat: int, now: int, count: int, seconds: int) -> tuple[int, int]:
    """Take one of `count` tokens, which all come back within `seconds`.

    Args:
        tat: Microseconds since 1970 when all will be back ("theoretical arrival time").

    Returns:
        The new time, and how many microseconds to wait; 0 where a token was there.
    """
    period = seconds * _SECOND
    if tat - now > 2 * period:
        tat = now  # no call made it so: the clock was set back, or the limit was another one
    wanted = max(tat, now) + period // count
    wait = wanted - now - period
    return (tat, wait) if wait > 0 else (wanted, 0)


class ClientRates:
    """The buckets of the client addresses of one batch, locked in their order until the transaction ends."""

    def __init__(self, connection: sa.Connection, addresses: Iterable[str], rate: tuple[int, int], now: int) -> None:
        """Read the buckets of addresses; of IPv6 a whole /64 is one client."""
        self._connection = connection
        self._count, self._seconds = rate
        self._now = now
        wanted = sorted({client_of(address) for address in addresses})
        connection.execute(_ADD, [{"address": address} for address in wanted])
        locked = (
            sa.select(client_rates)
            .where(client_rates.c.address.in_(wanted))
            .order_by(client_rates.c.address)
            .with_for_update()
        )
        # One that is full may have been deleted for its age before it was locked.
        self._tats = dict.fromkeys(wanted, 0) | {row.address: row.rate_tat for row in connection.execute(locked)}
        self._before = dict(self._tats)

    def take(self, address: str) -> int:
        """Take a token of an address; answers the whole seconds to wait, 0 where one was there."""
        client = client_of(address)
        self._tats[client], wait = admit(self._tats[client], self._now, self._count, self._seconds)
        return -(-wait // _SECOND)

    def save(self) -> None:
        """Write what changed."""
        for address, tat in self._tats.items():
            if tat != self._before[address]:
                self._connection.execute(
                    sa.update(client_rates).where(client_rates.c.address == address).values(rate_tat=tat)
                )


def client_of(address: str) -> str:
    """Name who is behind an address: who has one IPv6 address has its whole /64."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address[:64]
    return str(ip_network((parsed, 64), strict=False)) if isinstance(parsed, IPv6Address) else address
