"""How the server logs: events with fields, one a line, never a handler's URL or a key."""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

# The path of a handler holds its UUID, which is a credential; so does an Authorization header.
_SECRETS = (
    (re.compile(r"(/handler/)[0-9a-fA-F-]{8,36}"), r"\1[hidden]"),
    (re.compile(r"(?i)\b(apikey|basic|bearer)( +)[^\s'\",]+"), r"\1\2[hidden]"),
    (re.compile(r"\btutumd_[0-9a-f]{8,}"), "tutumd_[hidden]"),
)


def redact(text: str) -> str:
    """Hide what a reader of logs must not get."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


def configure(level: int = logging.INFO) -> None:
    """Send all logging of the process, ours and libraries', to standard error."""
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    colors = sys.stderr.isatty()
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            _redact_event,
            structlog.dev.ConsoleRenderer(colors=colors, pad_event_to=0),
        ],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for noisy in ("docker", "urllib3", "alembic", "uvicorn", "sqlalchemy", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


def _redact_event(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {key: redact(str(value)) if isinstance(value, str) else value for key, value in event.items()}
