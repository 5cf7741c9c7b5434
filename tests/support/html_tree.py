"""HTML as a tree of elements, for tests: what people see, and how to find it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

_VOID = frozenset(
    {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
)
_INLINE = frozenset({"a", "abbr", "b", "code", "em", "i", "small", "span", "strong", "time"})
_UNSEEN = frozenset({"head", "script", "style", "template"})


@dataclass(slots=True)
class Element:
    """An element of a page. `parent` is None for the page itself."""

    tag: str
    attributes: dict[str, str] = field(default_factory=dict)
    parent: "Element | None" = field(default=None, repr=False)
    children: "list[Element | str]" = field(default_factory=list, repr=False)

    @property
    def text(self) -> str:
        """The text that people see, with single spaces."""
        return " ".join("".join(self._texts()).split())

    @property
    def label(self) -> str:
        """The name that a screen reader says: `aria-label`, else the text, else the value."""
        return self.attributes.get("aria-label") or self.text or self.attributes.get("value", "")

    def walk(self) -> "Iterator[Element]":
        """Yield this element and all inside of it, in order."""
        yield self
        for child in self.children:
            if isinstance(child, Element):
                yield from child.walk()

    def find(self, tag: str, text: str | None = None, **attributes: str) -> "list[Element]":
        """Return the elements inside of this one, with exactly this text and these attributes if they are given.

        `_` in the name of an attribute stands for `-`, and one at its end for nothing (`class_`).
        """
        wanted = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
        return [
            each
            for each in self.walk()
            if each.tag == tag
            and wanted.items() <= each.attributes.items()
            and (text is None or text in (each.text, each.attributes.get("aria-label")))
        ]

    def ancestor(self, tag: str) -> "Element | None":
        """Return the nearest element around this one that has a tag."""
        above = self.parent
        while above is not None and above.tag != tag:
            above = above.parent
        return above

    def _texts(self) -> Iterator[str]:
        for child in self.children:
            if isinstance(child, str):
                yield child
            elif child.tag not in _UNSEEN and "hidden" not in child.attributes:
                yield from child._texts()
                yield "" if child.tag in _INLINE else " "


class _TreeBuilder(HTMLParser):
    """Builds the tree of a page that closes its elements; those that HTML lets open are closed by their parents."""

    def __init__(self) -> None:
        super().__init__()
        self.page = self._at = Element("#page")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs}, self._at)
        self._at.children.append(element)
        if tag not in _VOID:
            self._at = element

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        closed = self._at if self._at.tag == tag else self._at.ancestor(tag)
        if closed is not None and closed.parent is not None:
            self._at = closed.parent

    def handle_data(self, data: str) -> None:
        self._at.children.append(data)


def parse(html: str) -> Element:
    """Return the tree of a page."""
    builder = _TreeBuilder()
    builder.feed(html)
    builder.close()
    return builder.page
