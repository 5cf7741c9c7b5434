"""Values of the domain, one noun a file: frozen dataclasses that the packages pass to each other."""

from tutumd.model.accounts import ApiKey, User
from tutumd.model.actions import Action, ActionState, Claim, LogLine, Outcome, Plan, Progress, RunLimits, Verb
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
    "Action",
    "ActionState",
    "ActionTotal",
    "ApiKey",
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
    "NotQueued",
    "Operation",
    "Origin",
    "Outcome",
    "Page",
    "Plan",
    "Port",
    "Progress",
    "Query",
    "Rotation",
    "RunLimits",
    "Service",
    "ServiceSnapshot",
    "ServiceState",
    "User",
    "Verb",
]
