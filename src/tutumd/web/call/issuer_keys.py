"""The keys of issuers of identity tokens, as a notifier has fetched and stored them."""

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from threading import Thread
from typing import TYPE_CHECKING

import anyio.to_thread

from tutumd.application.admission.identity import ALGORITHMS, AllowedIssuers, KeyFault, KeyLookup
from tutumd.errors import UnavailableError
from tutumd.model.issuers import MAX_KEYS_AGE, REFETCH_AFTER
from tutumd.ports import Clock, Store

if TYPE_CHECKING:
    from jwt import PyJWK

RELOAD_S = 30.0
"""Age at which keys are read from the store again, in the background."""

WAIT_S = 5.0
_POLL_S = 0.1
_ALGORITHMS = ("", *ALGORITHMS)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """Keys of an issuer by `kid`, when a notifier fetched them, why its last fetch failed, and when this process read
    them (monotonic).
    """

    keys: "Mapping[str, PyJWK]"
    fetched: datetime | None
    error: str
    read_at: float

    @property
    def outcome(self) -> tuple[datetime | None, str]:
        """What the fetches have led to."""
        return self.fetched, self.error


class KeyCache:
    """Finds keys without waiting. An instance serves one event loop; any thread may call `find`."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        allowed: AllowedIssuers,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wait_s: float = WAIT_S,
    ) -> None:
        """Begin without keys.

        Args:
            wait_s: Maximum time for a notifier to fetch keys.
        """
        self._store = store
        self._clock = clock
        self._allowed = allowed
        self._monotonic = monotonic
        self._wait_s = wait_s
        self._entries: dict[str, _Entry] = {}
        self._refreshing: dict[str, asyncio.Task[None]] = {}
        self._wanted_at: dict[str, float] = {}

    def find(self, url: str, kid: str) -> "PyJWK | KeyFault":
        """Return a key as `KeyLookup` defines."""
        if url not in self._allowed:
            return KeyFault.FORBIDDEN_ISSUER
        entry, now = self._entries.get(url), self._monotonic()
        if entry is None:
            return KeyFault.MISSING_KEYS
        if now - entry.read_at > RELOAD_S:
            self._entries[url] = replace(entry, read_at=now)
            Thread(target=self._reload, args=(url,), name="issuer keys", daemon=True).start()
        if entry.fetched is None or self._clock() - entry.fetched > MAX_KEYS_AGE:
            return KeyFault.MISSING_KEYS
        if not kid and len(entry.keys) == 1:
            return next(iter(entry.keys.values()))
        return entry.keys.get(kid, KeyFault.UNKNOWN_KID)

    def loaded(self) -> KeyLookup:
        """Return `find` when the stored keys of all issuers were read."""
        for url in self._allowed:
            self._reload(url)
        return self.find

    async def refreshed(self, url: str) -> None:
        """Return when the keys of an issuer were read again: from the store, or from the issuer, which takes up to 5
        seconds.

        All callers share one request for an issuer's keys, and there is at most one per minute. Until the first fetch
        has ended, all callers wait: a notifier may just start.
        """
        task = self._refreshing.get(url)
        if task is None or task.done():
            task = self._refreshing[url] = asyncio.ensure_future(self._refresh(url))
        await asyncio.wait([task])  # a caller that is canceled leaves the others their task

    async def _refresh(self, url: str) -> None:
        before = self._entries.get(url)
        with suppress(UnavailableError):
            after = await anyio.to_thread.run_sync(self._read, url)
            now = self._monotonic()
            if after.fetched is not None and (before is None or after.fetched != before.fetched):
                return
            if now - self._wanted_at.get(url, -REFETCH_AFTER.total_seconds()) >= REFETCH_AFTER.total_seconds():
                self._wanted_at[url] = now
                await anyio.to_thread.run_sync(self._store.want_keys, url)
            elif any(after.outcome):
                return
            while self._entries[url].outcome == after.outcome and self._monotonic() < now + self._wait_s:
                await asyncio.sleep(_POLL_S)
                await anyio.to_thread.run_sync(self._read, url)

    def _reload(self, url: str) -> None:
        with suppress(UnavailableError):  # the old keys stay
            self._read(url)

    def _read(self, url: str) -> _Entry:
        stored = self._store.issuer_keys(url)
        self._entries[url] = entry = _Entry(
            keys=read_keys(stored.keys) if stored and stored.keys else {},
            fetched=stored.fetched if stored else None,
            error=stored.error if stored else "",
            read_at=self._monotonic(),
        )
        return entry


def read_keys(text: str) -> "dict[str, PyJWK]":
    """Return the public keys for signatures in a JSON Web Key Set, by `kid`. Unusable keys are left out."""
    from jwt import PyJWK, PyJWTError  # with it comes `cryptography`

    keys: dict[str, PyJWK] = {}
    for each in json.loads(text)["keys"]:
        # PyJWT accepts symmetric keys, and raises other errors for `none`.
        if isinstance(each, dict) and each.get("kty") in ("RSA", "EC", "OKP") and each.get("alg", "") in _ALGORITHMS:
            with suppress(PyJWTError):
                if each.get("use", "sig") == "sig" and "d" not in each:
                    keys[str(each.get("kid", ""))] = PyJWK(each)
    return keys
