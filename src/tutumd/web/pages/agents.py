"""User agents of browsers, in words."""

_PROGRAMS = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)
"""What stands in a user agent, and whose it is. The first one counts: most of them name others, too."""

_SYSTEMS = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
)


def describe_agent(user_agent: str) -> str:
    """Return the browser and the system that a user agent names, such as `Firefox on Linux`; else its first word.

    It is for people who look for a session that is not theirs. Whoever sends it can write anything into it.
    """
    program = next((name for part, name in _PROGRAMS if part in user_agent), "")
    system = next((name for part, name in _SYSTEMS if part in user_agent), "")
    if program and system:
        return f"{program} on {system}"
    return program or system or user_agent.partition(" ")[0][:40] or "unknown"
