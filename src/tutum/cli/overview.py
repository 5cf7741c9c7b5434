"""The table of commands: the text of `tutum --help`, and the modules of the command tree."""

SUMMARY = "Work with services, their webhook handlers and the actions that these start."

#: Command: (module of its typer app, summary).
COMMANDS = {
    "action": ("actions", "Show what was done to services, and how it ended."),
    "apply": ("apply", "Make the webhook handlers of services as a file says."),
    "export": ("export", "Print the webhook handlers of services as such a file."),
    "login": ("login", "Check and save a user and an API key."),
    "service": ("services", "List, inspect and operate services."),
    "webhook-handler": ("webhook_handlers", "Manage and call the secret URLs of a service."),
}

#: Commands without subcommands.
SINGLE_COMMANDS = frozenset({"apply", "export", "login"})

ENVIRONMENT = {
    "TUTUM_REST_HOST": "Server; default: http://127.0.0.1:8000.",
    "TUTUM_USER": "User name; default: what tutum login saved.",
    "TUTUM_APIKEY": "API key of the user; default: what tutum login saved.",
}
OPTIONS = {
    "-v, --version": "Show the version.",
    "--install-completion": "Install completion for the current shell.",
    "-h, --help": "Show this text.",
}


def overview() -> str:
    """Return the text of `tutum --help`."""
    commands = {name: summary for name, (_, summary) in COMMANDS.items()}
    lines = ["Usage: tutum [OPTIONS] COMMAND [ARGS]...", "", f"  {SUMMARY}", ""]
    for title, entries in (("Options", OPTIONS), ("Commands", commands), ("Environment", ENVIRONMENT)):
        lines += [f"{title}:", *(f"  {name:<{max(map(len, entries))}}  {text}" for name, text in entries.items()), ""]
    return "\n".join([*lines, "Exit codes: 0 done, 1 the operation failed, 2 wrong usage, 3 API error."])
