"""A visitor of the dashboard without a browser: it has cookies, follows links and redirects, and sends forms.

    visitor = signed_in(server)            # or signed_in(server, "ann", key)
    visitor = Visitor(server.url)          # with the path of the public URL, if there is one
    page = visitor.sign_in(USER, APIKEY)   # or visitor.sign_in_by_link(token)
    page = visitor.get("/services/")
    assert page.status == 200 and "web" in page.text
    page = page.follow("web")              # a link, by its text or `aria-label`
    page = page.submit("Save", name="x")   # a button, by its text or `aria-label`; other fields are sent as they are

It sends what is in the page and nothing else, as a browser without scripts does: a field, link or button that is not
there fails the test. `page.find("td", "web")` finds elements, `page.form("Save")` what a button would send, and
`visitor.send` sends anything.
"""

import http.client
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from http.cookies import SimpleCookie
from urllib.parse import urlencode, urljoin, urlsplit

from tests.support.api import APIKEY, USER, Api
from tests.support.html_tree import Element, parse
from tests.support.waiting import wait_until

_REDIRECTS = 5
LIMIT_S = 240.0
"""Only ends a hang."""

_NAVIGATION = {"Accept": "text/html,*/*;q=0.8", "User-Agent": "Mozilla/5.0 (test)", "Sec-Fetch-Site": "same-origin"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What a button sends: fields as browsers encode them, in order, those that repeat several times."""

    method: str
    address: str
    fields: tuple[tuple[str, str], ...]

    @property
    def csrf(self) -> str:
        """The token that proves that the form is one of the session."""
        return dict(self.fields).get("csrf", "")


@dataclass(frozen=True)
class Page:
    """A response to a visitor."""

    visitor: "Visitor" = field(repr=False)
    status: int
    path: str
    """With the query, without the path of the public URL."""
    headers: http.client.HTTPMessage = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def html(self) -> str:
        return self.body.decode()

    @cached_property
    def root(self) -> Element:
        """The whole page."""
        return parse(self.html)

    @property
    def text(self) -> str:
        """The text that people see, with single spaces."""
        return self.root.text

    @property
    def title(self) -> str:
        return " ".join("".join(map(str, self.find("title")[0].children)).split())

    @property
    def alert(self) -> str:
        """What the page says first about what went wrong or what was done; empty if it says nothing."""
        return next((each.text for each in self.root.walk() if each.attributes.get("role") in ("alert", "status")), "")

    @property
    def copies(self) -> dict[str, str]:
        """What the page offers to copy, by the names of the fields that hold it."""
        fields = [each.attributes for each in self.find("input") if "readonly" in each.attributes]
        return {each["aria-label"]: each["value"] for each in fields}

    def find(self, tag: str, text: str | None = None, **attributes: str) -> list[Element]:
        """Return elements; see `Element.find`."""
        return self.root.find(tag, text, **attributes)

    def follow(self, text: str, *, within: Element | None = None) -> "Page":
        """Get the page that the first link with a text or `aria-label` leads to."""
        links = (within or self.root).find("a", text)
        assert links, f"{self.path} has no link {text!r}: {[each.label for each in self.find('a')]}"
        return self.visitor.get(self._resolve(links[0].attributes["href"]))

    def submit(self, button: str, *, within: Element | None = None, **fields: str | list[str]) -> "Page":
        """Press the first button with a text or `aria-label`, after filling in fields, and return the next page."""
        form = self.form(button, within=within, **fields)
        encoded = urlencode(form.fields)
        if form.method == "GET":
            return self.visitor.get(f"{form.address.partition('?')[0]}?{encoded}")
        return self.visitor.post(form.address, encoded)

    def form(self, button: str, *, within: Element | None = None, **fields: str | list[str]) -> Form:
        """Return what the first button with a text or `aria-label` would send; a list fills in several values."""
        pressed = next(
            (each for each in _buttons(within or self.root) if button in (each.text, each.label)),
            None,
        )
        found = [each.label for each in _buttons(self.root)]
        assert pressed is not None, f"{self.path} has no button {button!r} that can be pressed: {found}"
        form = _form_of(self.root, pressed)
        sent = list(_filled_in(self.root, form, pressed))
        names = {each.attributes.get("name") for each in _controls(self.root, form)}
        assert fields.keys() <= names, f"the form has no fields {fields.keys() - names}, only {names}"
        sent = [(name, value) for name, value in sent if name not in fields]
        sent += [
            (name, each) for name, value in fields.items() for each in ([value] if isinstance(value, str) else value)
        ]
        settings = form.attributes | {
            name.removeprefix("form"): value
            for name, value in pressed.attributes.items()
            if name in ("formaction", "formmethod")
        }
        return Form(
            method=settings.get("method", "get").upper(),
            address=self._resolve(settings.get("action", "")),
            fields=tuple(sent),
        )

    def _resolve(self, address: str) -> str:
        here = self.visitor.root + self.path
        resolved = urlsplit(urljoin(here, address or here))
        assert not resolved.netloc, f"{address} leads to another site"
        path = resolved.path + (f"?{resolved.query}" if resolved.query else "")
        assert path.startswith(f"{self.visitor.root}/"), f"{address} lacks {self.visitor.root}"
        return path.removeprefix(self.visitor.root)


class Visitor:
    """Somebody with a browser that has no scripts.

    Args:
        url: Of the server, with the path of its public URL.
        address: That the visitor comes from, any one of loopback: wrong keys are counted per address.
        headers: Sent with all requests, for example those of a proxy.
    """

    def __init__(self, url: str, *, address: str = "127.0.0.1", **headers: str) -> None:
        parts = urlsplit(url)
        self._address = address
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port
        self.root = parts.path.rstrip("/")
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.cookies: dict[str, str] = {}

    def sign_in(self, user: str, key: str) -> Page:
        """Sign in with an API key, and return the page that this leads to."""
        page = self.get("/sign-in/").submit("Sign in", user=user, key=key)
        assert page.status == 200, page.text
        return page

    def sign_in_by_link(self, token: str) -> Page:
        """Sign in with a link that works once, and return the page that this leads to."""
        page = self.get(f"/sign-in/link/{token}/").submit("Sign in")
        assert page.status == 200, page.text
        return page

    def get(self, path: str, **headers: str) -> Page:
        """Get a page, at the end of redirects."""
        return self._follow(self.send("GET", path, **headers))

    def get_part(self, path: str, **headers: str) -> Page:
        """Get what scripts get. While the server has no time to render it, it says 204, and scripts ask again."""

        def rendered() -> Page | None:
            page = self.send("GET", path, HX_Request="true", **headers)
            return page if page.status != 204 else None

        return wait_until(rendered, f"the server has time to render {path}")

    def post(self, path: str, fields: Mapping[str, str] | str = "", **headers: str) -> Page:
        """Post a form, and return the page at the end of redirects."""
        return self._follow(self.send("POST", path, fields, **headers))

    def send(self, method: str, path: str, body: Mapping[str, str] | str | bytes = "", **headers: str) -> Page:
        """Send one request and return its response. `_` in a header's name stands for `-`."""
        content = body if isinstance(body, bytes | str) else urlencode(body)
        sent = {**_NAVIGATION, **self.headers}
        if method == "POST":
            # Pages ask for no referrer, so browsers do not tell their origin either.
            sent |= {"Content-Type": "application/x-www-form-urlencoded", "Origin": "null"}
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        source = (self._address, 0)
        with closing(
            http.client.HTTPConnection(self._host, self._port, timeout=LIMIT_S, source_address=source)
        ) as connection:
            connection.request(method, self.root + path, content or (b"" if method == "POST" else None), sent)
            response = connection.getresponse()
            page = Page(visitor=self, status=response.status, path=path, headers=response.msg, body=response.read())
        self._keep_cookies(page)
        return page

    def _follow(self, page: Page) -> Page:
        for _ in range(_REDIRECTS):
            if page.status not in (302, 303, 307):
                return page
            assert page.status != 307, "a form would be sent again"
            page = self.send("GET", page._resolve(page.headers["location"]))
        raise AssertionError(f"{page.path} redirects on and on")

    def _keep_cookies(self, page: Page) -> None:
        for header in page.headers.get_all("set-cookie", []):
            for name, cookie in SimpleCookie(header).items():
                if cookie["max-age"] == "0" or not cookie.value:
                    self.cookies.pop(name, None)
                else:
                    self.cookies[name] = cookie.value


def signed_in(server: Api, user: str = USER, key: str = APIKEY, **headers: str) -> Visitor:
    """Return somebody who has signed in at a server with a key."""
    visitor = Visitor(server.url, **headers)
    visitor.sign_in(user, key)
    return visitor


def _buttons(within: Element) -> list[Element]:
    return [
        each
        for each in within.walk()
        if (each.tag == "button" or each.attributes.get("type") == "submit")
        and each.attributes.get("type", "submit") == "submit"
        and "disabled" not in each.attributes
    ]


def _form_of(page: Element, control: Element) -> Element:
    if "form" in control.attributes:
        return page.find("form", id=control.attributes["form"])[0]
    form = control.ancestor("form")
    assert form is not None, f"{control} is in no form"
    return form


def _controls(page: Element, form: Element) -> list[Element]:
    inside = [each for each in form.walk() if "form" not in each.attributes]
    elsewhere = [each for each in page.walk() if each.attributes.get("form", "") == form.attributes.get("id", "-")]
    return [each for each in inside + elsewhere if each.tag in ("input", "select", "textarea", "button")]


def _filled_in(page: Element, form: Element, pressed: Element) -> Iterator[tuple[str, str]]:
    """Yield names and values as the HTML standard's "constructing the entry list" does."""
    for control in _controls(page, form):
        attributes, kind = control.attributes, control.attributes.get("type", "")
        name = attributes.get("name")
        if not name or "disabled" in attributes:
            continue
        if control.tag == "button" or kind in ("submit", "button", "reset"):
            if control is pressed:
                yield name, attributes.get("value", "")
        elif control.tag == "select":
            options = control.find("option")
            chosen = [each for each in options if "selected" in each.attributes]
            if "multiple" not in attributes:
                chosen = (chosen or options)[:1]
            yield from ((name, each.attributes.get("value", each.text)) for each in chosen)
        elif control.tag == "textarea":
            yield name, "".join(map(str, control.children)).removeprefix("\n")
        elif kind not in ("checkbox", "radio"):
            yield name, attributes.get("value", "")
        elif "checked" in attributes:
            yield name, attributes.get("value", "on")
