"""Values of the domain, one noun a file: frozen dataclasses that the packages pass to each other."""

from tutumd.model.accounts import Access, ApiKey, AuditEntry, NewKey, Scope, Session, User, Via
from tutumd.model.actions import Action, ActionState, Claim, LogLine, Outcome, Phase, Plan, Progress, RunLimits, Verb
from tutumd.model.calls import (
    MAX_AMOUNT,
    Accepted,
    Call,
    Delivery,
    DeliveryOutcome,
    Evaluation,
    EvaluationNeeded,
    NotQueued,
    Origin,
)
from tutumd.model.engines import EngineInfo, EngineRequest
from tutumd.model.figures import DURATION_BOUNDS_S, ActionTotal, EngineFigures, Figures
from tutumd.model.findings import Finding, Level
from tutumd.model.handlers import Handler, NewHandler, Operation, Rotation
from tutumd.model.pages import Page, Query
from tutumd.model.services import (
    Autorestart,
    Container,
    ContainerSnapshot,
    ContainerState,
    Definition,
    Port,
    Service,
    ServiceSnapshot,
    ServiceState,
)

__all__ = [
    "DURATION_BOUNDS_S",
    "MAX_AMOUNT",
    "Accepted",
    "Access",
    "Action",
    "ActionState",
    "ActionTotal",
    "ApiKey",
    "AuditEntry",
    "Autorestart",
    "Call",
    "Claim",
    "Container",
    "ContainerSnapshot",
    "ContainerState",
    "Definition",
    "Delivery",
    "DeliveryOutcome",
    "EngineFigures",
    "EngineInfo",
    "EngineRequest",
    "Evaluation",
    "EvaluationNeeded",
    "Figures",
    "Finding",
    "Handler",
    "Level",
    "LogLine",
    "NewHandler",
    "NewKey",
    "NotQueued",
    "Operation",
    "Origin",
    "Outcome",
    "Page",
    "Phase",
    "Plan",
    "Port",
    "Progress",
    "Query",
    "Rotation",
    "RunLimits",
    "Scope",
    "Service",
    "ServiceSnapshot",
    "ServiceState",
    "Session",
    "User",
    "Verb",
    "Via",
]
