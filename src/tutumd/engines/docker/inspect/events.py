"""Waiting for something to change on an engine."""

from collections.abc import Callable
from threading import Event, Thread
from typing import Any

import requests.exceptions
import urllib3.exceptions

from tutumd.engines.docker.inspect.container_cache import ContainerCache
from tutumd.engines.dockerapi.connection import Client
from tutumd.engines.dockerapi.failures import timed_out, translated
from tutumd.errors import EngineUnavailableError

_LOOK_S = 0.5
_QUIET = ("exec", "top", "resize", "attach", "detach")


def watch_events(client: Client, sight: ContainerCache, changed: Callable[[], None], stop: Event) -> None:
    """Call `changed` at each event of a container or image, until `stop` is set or the connection breaks.

    A connection on which nothing came for a minute is made anew, in case the other end is gone without a word; what
    happened meanwhile is told again.
    """
    since: float | None = None
    try:
        while not stop.is_set():
            with translated("follow the engine's events"):
                since = _follow(client, sight, changed, stop, since)
    finally:
        sight.end()


def _follow(
    client: Client, sight: ContainerCache, changed: Callable[[], None], stop: Event, since: float | None
) -> float | None:
    """Follow one connection until nothing came for too long, or `stop`; answer from when on events may be missing.

    Raises:
        EngineUnavailableError: the other end closed it.
    """
    ended = Event()
    with client.event_records({"type": ["container", "image"]}, since) as events:
        ender = Thread(target=_hang_up_at, args=(stop, ended, events.hang_up), name="docker-events-end", daemon=True)
        ender.start()
        if since is None:
            sight.begin()
            changed()
        latest = events.began
        try:
            for record in events.records:
                if stop.is_set():
                    return None
                latest = record.get("time", latest)
                if not _is_quiet(record):
                    sight.touch(record)
                    changed()
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            if stop.is_set():
                return None
            if not timed_out(error):
                raise
            return latest
        finally:
            ended.set()
            ender.join()
    if stop.is_set():
        return None
    raise EngineUnavailableError("the engine ended the stream of its events")


def _is_quiet(record: dict[str, Any]) -> bool:
    action = str(record.get("Action", ""))
    return action.startswith(_QUIET)


def _hang_up_at(stop: Event, ended: Event, hang_up: Callable[[], None]) -> None:
    while not ended.is_set():
        if stop.wait(_LOOK_S):
            try:
                hang_up()
            except (OSError, AttributeError):
                # The other end was faster: the SDK looks for a socket that is closed already.
                pass
            return
