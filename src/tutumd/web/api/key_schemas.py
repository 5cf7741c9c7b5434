"""JSON bodies of API keys and of the audit log."""

from pydantic import BaseModel, Field

from tutumd.web.api.schemas import Moment, RequestBody


class ApiKeyIn(RequestBody):
    """An API key to make."""

    scope: str = Field(description="`read`, `call`, `operate` or `admin`; each includes those before it.")
    service: str | None = Field(None, description="The only service that it is for: UUID or name.")
    stack: str | None = Field(None, description="The only stack that it is for.")
    expires_datetime: str | None = Field(None, description="A date, or days such as `90d`; null: it does not expire.")


class ApiKeyOut(BaseModel):
    """An API key, without the key itself."""

    id: str
    resource_uri: str
    user: str
    hint: str = Field(description="Its first characters.")
    scope: str
    service: str | None = Field(description="URI of the only service that it is for; null: all.")
    stack: str | None = Field(description="The only stack that it is for; null: all.")
    created_datetime: Moment
    expires_datetime: Moment | None
    last_used_datetime: Moment | None = Field(description="Up to 5 minutes late.")


class NewApiKeyOut(ApiKeyOut):
    """An API key that was made."""

    key: str = Field(description="The key. It is shown only now.")


class AuditEntryOut(BaseModel):
    """Something that a user did."""

    id: int
    datetime: Moment
    user: str
    via: str = Field(description="`api`, `page` or `command`.")
    credential: str = Field(description="First characters of the API key, `login link`, `proxy`, or a command.")
    address: str
    user_agent: str
    what: str = Field(description="Object and event, such as `handler created`.")
    service: str | None = Field(description="URI of the service, which may be gone.")
    service_name: str = Field(description="As it was then.")
    handler_number: int | None = Field(description="Its URL would be a credential.")
    action: str | None = Field(description="URI of the action, which may be deleted.")
    details: str
    count: int = Field(description="How often it happened; entries of an hour that are equal are combined.")
    last_datetime: str | None = Field(description="When it happened last, if more than once.")


class AuditMetaOut(BaseModel):
    """The place of a page in the audit log. `next` is a path, null at the end."""

    limit: int
    next: str | None


class AuditOut(BaseModel):
    """A page of the audit log."""

    meta: AuditMetaOut
    objects: list[AuditEntryOut]
