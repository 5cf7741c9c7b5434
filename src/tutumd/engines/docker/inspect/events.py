"""The event stream of an engine, which keeps the container cache current."""

from collections.abc import Callable
from threading import Event

import requests.exceptions
import urllib3.exceptions

from tutumd.engines.docker.inspect.container_cache import ContainerCache
from tutumd.engines.dockerapi.connection import Client
from tutumd.engines.dockerapi.failures import timed_out, translated
from tutumd.errors import EngineUnavailableError

_IRRELEVANT = ("exec", "top", "resize", "attach", "detach")


def watch_events(client: Client, cache: ContainerCache, changed: Callable[[], None], stop: Event) -> None:
    """Call `changed` at each event of a container or image, until `stop` is set or the connection breaks.

    A connection that is silent for a minute is replaced, since its other end may be gone. The new one repeats the
    events from then on.
    """
    since: float | None = None
    try:
        while not stop.is_set():
            with translated("follow the engine's events"):
                since = _follow(client, cache, changed, stop, since)
    finally:
        cache.disable()


def _follow(
    client: Client, cache: ContainerCache, changed: Callable[[], None], stop: Event, since: float | None
) -> float | None:
    """Follow one connection until it is silent for too long, or `stop` is set.

    Returns:
        The time, by the engine's clock, from which on events may be missing.

    Raises:
        EngineUnavailableError: The engine closed the connection.
    """
    with client.event_records({"type": ["container", "image"]}, since, stop.is_set) as events:
        if since is None:
            cache.enable()
            changed()
        latest = events.began
        try:
            for record in events.records:
                if stop.is_set():
                    break
                latest = record.get("time", latest)
                if not str(record.get("Action", "")).startswith(_IRRELEVANT):
                    cache.invalidate(record)
                    changed()
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            if not (stop.is_set() or timed_out(error)):
                raise
            return latest
    if stop.is_set():
        return None
    raise EngineUnavailableError("the engine ended the stream of its events")
