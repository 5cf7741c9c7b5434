"""The server's logs: events with fields, one per line, as text or JSON, without handler URLs and keys."""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from tutumd.errors import escape

# The UUID in a handler's path is a credential, like an Authorization header.
_SECRETS = (
    (re.compile(r"(?i)((?:handler|group)(?:/|%(?:25)*2f)+)(?:[0-9a-f-]|%(?:25)*[0-9a-f]{2}){8,}"), r"\1[hidden]"),
    (re.compile(r"(?i)\b(apikey|basic|bearer)( +)[^\s'\",]+"), r"\1\2[hidden]"),
    (re.compile(r"\btutumd_[0-9a-f]{8,}"), "tutumd_[hidden]"),
)


writes_json = False
"""Whether programs read the log."""


def redact(text: str) -> str:
    """Return `text` with `[hidden]` for each credential."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


def configure(level: str = "info", form: str = "text") -> None:
    """Send the logs of the server and of libraries to standard error.

    Args:
        level: Lowest level to log, from `debug` to `critical`. Libraries log nothing below `info`: at `debug`, some of
            them log the data that they send.
        form: `text` for people, or `json` for programs.
    """
    global writes_json
    writes_json = form == "json"
    lowest = logging.getLevelNamesMapping()[level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    for_people = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0)
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            _redact_all,
            structlog.processors.JSONRenderer() if form == "json" else for_people,
        ],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], level=max(lowest, logging.INFO), force=True)
    logging.getLogger("tutumd").setLevel(lowest)
    for name in ("docker", "urllib3", "alembic", "sqlalchemy", "asyncio"):
        logging.getLogger(name).setLevel(max(lowest, logging.WARNING))
    # It warns about each attempt during an outage, which the engines report themselves.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    # It warns about each unusual request: strangers would fill the log, and so would Java clients, which offer HTTP/2.
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(lowest),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


def _redact_all(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {key: _redact_value(value) for key, value in event.items()}


def _redact_value(value: object) -> object:
    """Return a value that both forms of the log can hold, without credentials and control characters."""
    if value is None or isinstance(value, bool | int | float):
        return value
    return escape(redact(str(value)))
