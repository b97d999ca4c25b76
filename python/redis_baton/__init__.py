"""Replace a live Redis or Valkey by another one without losing an acknowledged write.

Every step is a function with keyword arguments. ``source`` and ``target`` name the two processes,
as an `Endpoint` or a URL, by the addresses they had when the upgrade began, in every step and for
good. Each step can be run again at any time: it does what is left to do. `upgrade` runs them all.
`persistence` is for one ``server``, whatever it is to become.
"""

from __future__ import annotations

from . import _core, errors
from ._checked import checked
from ._core import (
    REASONS,
    ActiveClient,
    ClientGroup,
    Clients,
    Config,
    Database,
    Dropped,
    Endpoint,
    Estimates,
    Finding,
    Launch,
    Persistence,
    Phase,
    Preflight,
    Probed,
    Promote,
    Relay,
    RelayConnection,
    Replicate,
    Report,
    RestartRequired,
    Retire,
    Status,
    StepReport,
    Straggler,
    Switchover,
    Upgrade,
    Verify,
    WaitQuiescent,
    WaitReady,
    WaitSynced,
    __version__,
)
from .errors import BatonError, ConnectionFailed, Failed, InvalidInput, Refused, TimedOut

preflight = checked(_core.preflight)
launch = checked(_core.launch)
replicate = checked(_core.replicate)
wait_synced = checked(_core.wait_synced)
verify = checked(_core.verify)
switchover = checked(_core.switchover)
clients = checked(_core.clients)
config = checked(_core.config)
wait_quiescent = checked(_core.wait_quiescent)
promote = checked(_core.promote)
persistence = checked(_core.persistence)
relay = checked(_core.relay)
report = checked(_core.report)
retire = checked(_core.retire)
rollback = checked(_core.rollback)
status = checked(_core.status)
upgrade = checked(_core.upgrade)
wait_ready = checked(_core.wait_ready)

__all__ = [
    "REASONS",
    "ActiveClient",
    "BatonError",
    "ClientGroup",
    "Clients",
    "Config",
    "ConnectionFailed",
    "Database",
    "Dropped",
    "Endpoint",
    "Estimates",
    "Failed",
    "Finding",
    "InvalidInput",
    "Launch",
    "Persistence",
    "Phase",
    "Preflight",
    "Probed",
    "Promote",
    "Refused",
    "Relay",
    "RelayConnection",
    "Replicate",
    "Report",
    "RestartRequired",
    "Retire",
    "Status",
    "StepReport",
    "Straggler",
    "Switchover",
    "TimedOut",
    "Upgrade",
    "Verify",
    "WaitQuiescent",
    "WaitReady",
    "WaitSynced",
    "__version__",
    "clients",
    "config",
    "errors",
    "launch",
    "persistence",
    "preflight",
    "promote",
    "relay",
    "replicate",
    "report",
    "retire",
    "rollback",
    "status",
    "switchover",
    "upgrade",
    "verify",
    "wait_quiescent",
    "wait_ready",
    "wait_synced",
]
