"""The server's logs: events with fields, one a line, without handler URLs and keys."""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

# The UUID in a handler's path is a credential, as an Authorization header is.
_SECRETS = (
    (re.compile(r"(?i)(handler(?:/|%(?:25)*2f)+)(?:[0-9a-f-]|%(?:25)*[0-9a-f]{2}){8,}"), r"\1[hidden]"),
    (re.compile(r"(?i)\b(apikey|basic|bearer)( +)[^\s'\",]+"), r"\1\2[hidden]"),
    (re.compile(r"\btutumd_[0-9a-f]{8,}"), "tutumd_[hidden]"),
)


def redact(text: str) -> str:
    """Return `text` with `[hidden]` for each credential."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


def configure(level: int = logging.INFO) -> None:
    """Send the logs of the server and of libraries to standard error."""
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            _redact_event,
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0),
        ],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], level=level, force=True)
    for name in ("docker", "urllib3", "alembic", "sqlalchemy", "asyncio"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # It warns of each try of an outage, which the engines report themselves.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    # It warns of each odd request: strangers would fill the log, and Java's clients, which offer HTTP/2.
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


def _redact_event(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {key: _escape(redact(value)) if isinstance(value, str) else value for key, value in event.items()}


def _escape(text: str) -> str:
    """Return a text that cannot disturb a terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)
