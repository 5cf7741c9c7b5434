"""What all objects of the API share: they are fetched, listed, refreshed, and know what was changed."""

from __future__ import annotations

import builtins
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Self

from tutum.client import Client, FilterValue, current_client
from tutum.errors import TutumApiError


class Resource:
    """An object of the API, with the fields that the server sent as attributes.

    Fields that the class does not name are attributes too; `get_all_attributes` has them all.
    """

    endpoint: ClassVar[str]

    uuid: str = ""
    resource_uri: str = ""

    def __init__(self, *, client: Client | None = None, **fields: Any) -> None:
        """Make a local object; nothing is sent before it is saved.

        Args:
            client: Client to use; default: the one of `tutum.default_client` or of the settings.
        """
        self._client = client
        self._changed: set[str] = set()
        for name, value in fields.items():
            setattr(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        # A value that equals the class's default is a change all the same: the server may have another default.
        if not name.startswith("_") and (name not in vars(self) or value != vars(self)[name]):
            self._changed.add(name)
        super().__setattr__(name, value)

    def __repr__(self) -> str:
        name = getattr(self, "name", "")
        return f"<{type(self).__name__} {name} {self.uuid[:8]}>" if name else f"<{type(self).__name__} {self.uuid[:8]}>"

    @property
    def client(self) -> Client:
        """The client that this object talks through."""
        return self._client or current_client()

    @property
    def pk(self) -> str:
        """The UUID; empty for an object that was not saved."""
        return self.uuid

    @property
    def is_dirty(self) -> bool:
        """Whether something was changed that is not saved."""
        return bool(self._changed)

    def get_all_attributes(self) -> dict[str, Any]:
        """Return all fields that the server sent or that were set."""
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    @classmethod
    def fetch(cls, uuid: str, *, client: Client | None = None) -> Self:
        """Fetch the object with this UUID.

        Raises:
            ObjectNotFound: There is none.
            TutumApiError: Any other failure.
        """
        client = client or current_client()
        return cls._of(client.send("GET", cls.endpoint, str(uuid)).body, client)

    @classmethod
    def list(cls, *, client: Client | None = None, **filters: FilterValue) -> builtins.list[Self]:
        """List all objects that match `filters`, from all pages.

        Args:
            filters: Such as name="web", state="Running", uuid__startswith="61a2".

        Raises:
            TutumApiError: The server does not know a filter, or another failure.
        """
        return builtins.list(cls.iterate(client=client, **filters))

    @classmethod
    def iterate(cls, *, client: Client | None = None, **filters: FilterValue) -> Iterator[Self]:
        """Yield what `list` lists, asking for each page when it is needed."""
        client = client or current_client()
        for fields in client.pages(cls.endpoint, params=filters):
            yield cls._of(fields, client)

    def refresh(self, force: bool = False) -> bool:
        """Fetch the fields again.

        Args:
            force: Drop unsaved changes; otherwise an object that has some is left alone.

        Returns:
            Whether the fields were fetched.
        """
        if self.is_dirty and not force:
            return False
        self._load(self.client.send("GET", self.endpoint, self.uuid).body)
        return True

    @classmethod
    def _of(cls, fields: object, client: Client) -> Self:
        instance = cls(client=client)
        instance._load(fields)
        return instance

    def _load(self, fields: object) -> None:
        if not isinstance(fields, Mapping) or not fields.get("uuid"):
            raise TutumApiError(
                f"the server did not answer with a {type(self).__name__.lower()}; is the base URL right?"
            )
        for name, value in fields.items():
            # A field named like a method or property would hide it.
            known = getattr(type(self), name, None)
            if not name.startswith("_") and not callable(known) and not isinstance(known, property):
                super().__setattr__(name, value)
        self._changed.clear()
