"""Base of the API's objects: fetching, listing, refreshing, and tracking changes."""

import builtins
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

from tutum.client import Client, FilterValue, current_client
from tutum.errors import TutumApiError


class Resource:
    """An object of the API. All fields that the server sent are attributes, including fields that the class does not
    name.
    """

    endpoint: ClassVar[str]

    uuid: str = ""
    resource_uri: str = ""

    def __init__(self, *, client: Client | None = None, **fields: Any) -> None:
        """Create a local object; nothing is sent before it is saved.

        Args:
            client: Default: `tutum.default_client`, or a client with the settings.
        """
        self._client = client
        self._changed: set[str] = set()
        for name, value in fields.items():
            setattr(self, name, value)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Return a field that the server sent and that the class does not name."""

    def __setattr__(self, name: str, value: Any) -> None:
        # A value that equals the class's default is also a change: the server may have another default.
        if not name.startswith("_") and (name not in vars(self) or value != vars(self)[name]):
            self._changed.add(name)
        object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        name = getattr(self, "name", "")
        return f"<{type(self).__name__} {name} {self.uuid[:8]}>" if name else f"<{type(self).__name__} {self.uuid[:8]}>"

    @property
    def client(self) -> Client:
        """The client that this object uses."""
        return self._client or current_client()

    @property
    def pk(self) -> str:
        """The UUID; empty for an unsaved object."""
        return self.uuid

    @property
    def is_dirty(self) -> bool:
        """Whether there are unsaved changes."""
        return bool(self._changed)

    def get_all_attributes(self) -> dict[str, Any]:
        """Return all fields that the server sent or that were set locally."""
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    @classmethod
    def fetch(cls, uuid: str, *, client: Client | None = None) -> Self:
        """Return the object with this UUID.

        Raises:
            ObjectNotFound: There is none.
            TutumApiError: Any other failure.
        """
        client = client or current_client()
        return cls._of(client.send("GET", *cls._path(str(uuid))).body, client)

    @classmethod
    def list(cls, *, client: Client | None = None, **filters: FilterValue) -> builtins.list[Self]:
        """Return all objects that match `filters`.

        Args:
            filters: Such as name="web", state="Running", uuid__startswith="61a2".

        Raises:
            TutumApiError: The server does not know a filter, or another failure.
        """
        return builtins.list(cls.iterate(client=client, **filters))

    @classmethod
    def iterate(cls, *, client: Client | None = None, **filters: FilterValue) -> Iterator[Self]:
        """Yield the objects of `list`. Each page is fetched when it is needed."""
        client = client or current_client()
        for fields in client.pages(*cls._path(), params=filters):
            yield cls._of(fields, client)

    def refresh(self, force: bool = False) -> bool:
        """Fetch the fields again.

        Args:
            force: Discard unsaved changes. Without it, an object with unsaved changes is not fetched.

        Returns:
            Whether the fields were fetched.
        """
        if self.is_dirty and not force:
            return False
        self._load(self.client.send("GET", *self._path(self.uuid)).body)
        return True

    @classmethod
    def noun(cls) -> str:
        """Return what people call such an object, such as `notification target`."""
        return re.sub("(?<=.)(?=[A-Z])", " ", cls.__name__).lower()

    @classmethod
    def _path(cls, *segments: str) -> tuple[str, ...]:
        return (*cls.endpoint.split("/"), *segments)

    @classmethod
    def _of(cls, fields: object, client: Client) -> Self:
        instance = cls(client=client)
        instance._load(fields)
        return instance

    def _load(self, fields: object) -> None:
        if not isinstance(fields, Mapping) or not fields.get("uuid"):
            raise TutumApiError(f"the server did not respond with a {self.noun()}; is the base URL right?")
        for name, value in fields.items():
            # A field with the name of a method or property would hide it.
            member = getattr(type(self), name, None)
            if not name.startswith("_") and not callable(member) and not isinstance(member, property):
                object.__setattr__(self, name, value)
        self._changed.clear()


class EditableResource(Resource):
    """An object that clients create and change: set attributes and `save`."""

    @classmethod
    def create(cls, *, client: Client | None = None, **fields: Any) -> Self:
        """Return a new local object; `save` sends it.

        Args:
            fields: Such as name.
        """
        return cls(client=client, **fields)

    def save(self) -> bool:
        """Create the object, or send the attributes that were set since it was fetched.

        Returns:
            True. A failure raises.

        Raises:
            TutumApiError: The server refused.
        """
        if self.uuid and not self.is_dirty:
            return True
        method, segments = ("PATCH", (self.uuid,)) if self.uuid else ("POST", ())
        self._load(self.client.send(method, *self._path(*segments), body=self._changes()).body)
        return True

    def _changes(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in sorted(self._changed)}
