"""What engines answer to questions of pages: an answer, or why there is none."""

from collections.abc import Callable
from typing import TypeVar

from fastapi import Request

from tutumd.application.health import judge_engine
from tutumd.errors import AnswerTimeoutError, UnavailableError
from tutumd.model import Service, User
from tutumd.web.context import context

Answer = TypeVar("Answer")


def ask(request: Request, visitor: User, service: Service, question: Callable[[], Answer]) -> tuple[Answer | None, str]:
    """Return the answer of a service's engine, or None and why there is none.

    An engine that is known to be away is not asked: nobody waits 10 s for a page that says so.
    """
    web = context(request)
    if service.gone_since is not None:
        return None, f"Engine {service.engine} does not show this service at present."
    engine = next((each for each in web.store.engines() if each.name == service.engine), None)
    health = judge_engine(engine, web.clock()) if engine else None
    if health is None or not health.can_answer:
        return None, f"Engine {service.engine}: {health.why if health else 'no worker has served it yet.'}"
    try:
        return web.ask_engine(visitor, question), ""
    except (UnavailableError, AnswerTimeoutError) as error:
        return None, str(error)
