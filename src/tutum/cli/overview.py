"""The commands in one table, from which `tutum --help` is printed and the command tree is built."""

SUMMARY = "Work with services, their webhook handlers and what these did."

#: Command: (module of its typer app, what it is for).
COMMANDS = {
    "action": ("actions", "See what was done to services, and how it ended."),
    "login": ("login", "Check and save a user and an API key."),
    "service": ("services", "List, inspect and operate services."),
    "webhook-handler": ("webhook_handlers", "Manage and call the secret URLs of a service."),
}

ENVIRONMENT = {
    "TUTUM_REST_HOST": "the server (default http://127.0.0.1:8000)",
    "TUTUM_USER": "user name; default: what tutum login saved",
    "TUTUM_APIKEY": "API key of that user",
}


def overview() -> str:
    """Return the text of `tutum --help`."""
    options = {
        "-v, --version": "Show the version.",
        "--install-completion": "Install completion for the current shell.",
        "-h, --help": "Show this text.",
    }
    commands = {name: summary for name, (_, summary) in COMMANDS.items()}
    return "\n".join(
        [
            "Usage: tutum [OPTIONS] COMMAND [ARGS]...",
            "",
            f"  {SUMMARY}",
            "",
            *_section("Options", options),
            *_section("Commands", commands),
            *_section("Environment", ENVIRONMENT),
            "Exit codes: 0 done, 1 the operation failed, 2 wrong usage, 3 API error.",
        ]
    )


def _section(title: str, entries: dict[str, str]) -> list[str]:
    width = max(map(len, entries))
    return [f"{title}:", *(f"  {name:<{width}}  {text}" for name, text in entries.items()), ""]
