"""Waiting for something to change on an engine."""

from collections.abc import Callable
from threading import Event, Thread
from typing import Any

import requests.exceptions
import urllib3.exceptions

from tutumd.engines.dockerapi import Client, translated
from tutumd.engines.dockerapi.failures import timed_out

_LOOK_S = 0.5
_QUIET = ("exec_create", "exec_start", "exec_die", "exec_detach", "top", "resize", "attach", "detach")


def watch_events(client: Client, changed: Callable[[], None], stop: Event) -> None:
    """Call `changed` at each event of a container or image, until `stop` is set or the connection breaks.

    A connection on which nothing came for a minute is made anew, in case the other end is gone without a word.
    """
    while not stop.is_set():
        with translated("follow the engine's events"):
            if not _follow(client, changed, stop):
                return


def _follow(client: Client, changed: Callable[[], None], stop: Event) -> bool:
    """Follow one connection; True when it only was silent for too long."""
    ended = Event()
    with client.event_records({"type": ["container", "image"]}) as (records, hang_up):
        ender = Thread(target=_hang_up_at, args=(stop, ended, hang_up), name="docker-events-end", daemon=True)
        ender.start()
        try:
            changed()
            for record in records:
                if stop.is_set():
                    return False
                if not _is_quiet(record):
                    changed()
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            if stop.is_set():
                return False
            if not timed_out(error):
                raise
            return True
        finally:
            ended.set()
            ender.join()
    return False


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
