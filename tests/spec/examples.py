"""Examples of the specification, read from its text."""

import re
from dataclasses import dataclass
from pathlib import Path

SPECIFICATION = Path(__file__).parents[2] / "docs" / "reference" / "webhook-handlers.md"

# UUIDs of the two objects in the examples. Nothing else is replaced when an example runs.
SERVICE = "61a29874-9134-48f9-b460-f37d4bec4826"
HANDLER = "7eaf7fff-882c-4f3d-9a8f-a22317ac00ce"


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One fenced block: its heading, its language and its text."""

    section: str
    language: str
    text: str

    def about(self, service: str, handler: str) -> str:
        """Return the text with the UUIDs of these two objects."""
        return self.text.replace(SERVICE, service).replace(HANDLER, handler)

    def __str__(self) -> str:
        return f"{self.section}, {self.language}"


def specification() -> str:
    """Return the whole text."""
    return SPECIFICATION.read_text(encoding="utf-8")


def examples() -> list[Example]:
    """Return every fenced block of the text, in order."""
    found = []
    section = ""
    for match in re.finditer(r"^## ([^\n]+)$|^```(\w*)\n(.*?)^```$", specification(), re.MULTILINE | re.DOTALL):
        if match[1]:
            section = match[1].strip()
        else:
            found.append(Example(section=section, language=match[2], text=match[3]))
    return found


def example(section: str, language: str) -> Example:
    """Return the one block of a language in a section."""
    (found,) = (each for each in examples() if (each.section, each.language) == (section, language))
    return found
