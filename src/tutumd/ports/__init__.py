"""Contracts between the packages: Store, Intake, Queue, Run and Engine."""

from tutumd.ports.accounts import Accounts
from tutumd.ports.engine import LOST_JOURNAL, Engine, PartialDiscoveryError, Run
from tutumd.ports.intake import CallResult, Intake, OnStored, Stored
from tutumd.ports.notifications import NotificationQueue, Sender, Targets
from tutumd.ports.queue import GIVE_UP_AFTER, HEARTBEAT_TIMEOUT, Clock, Queue, Renewal
from tutumd.ports.store import Store

__all__ = [
    "GIVE_UP_AFTER",
    "HEARTBEAT_TIMEOUT",
    "LOST_JOURNAL",
    "Accounts",
    "CallResult",
    "Clock",
    "Engine",
    "Intake",
    "NotificationQueue",
    "OnStored",
    "PartialDiscoveryError",
    "Queue",
    "Renewal",
    "Run",
    "Sender",
    "Store",
    "Stored",
    "Targets",
]
