"""The mesh: the only part that speaks to Kubernetes. Carriers and the ledger are pure functions."""

from chaosmesh_ext.mesh import destinationrule, envoyfilter, httproute, inbound, overlay, policy
from chaosmesh_ext.mesh.change import Change, Create, Edit
from chaosmesh_ext.mesh.client import Client
from chaosmesh_ext.mesh.connect import connect
from chaosmesh_ext.mesh.discovery import place, view
from chaosmesh_ext.mesh.events import announce
from chaosmesh_ext.mesh.fault import Divided, Fault, Filtered, Narrowing, Policy, RouteChange, RuleChange, TrafficPolicy
from chaosmesh_ext.mesh.halt import Halt, halt, halted, resume, whoami
from chaosmesh_ext.mesh.janitor import JANITOR, Leadership, janitor_alive
from chaosmesh_ext.mesh.lease import LeaseLost, RunLease, renew, time_text
from chaosmesh_ext.mesh.ledger import LABEL, Disturbed, disturbed, entries
from chaosmesh_ext.mesh.locks import Holder, Locked, beside, lock
from chaosmesh_ext.mesh.merging import Merged, merge
from chaosmesh_ext.mesh.place import Destination, Place, Source
from chaosmesh_ext.mesh.snapshot import Snapshot
from chaosmesh_ext.mesh.subsets import Copying, check_copies, versions_of
from chaosmesh_ext.mesh.survey import Found, Survey, survey
from chaosmesh_ext.mesh.undoing import Ended, end, let_go
from chaosmesh_ext.mesh.view import View
from chaosmesh_ext.mesh.watchdog import Watchdog
from chaosmesh_ext.mesh.witness import NOBODY, Witness
from chaosmesh_ext.mesh.writes import CARRIED_BY, ROUTED_BY, Holding, holdings, put, take_out

__all__ = [
    "CARRIED_BY",
    "CARRIERS",
    "HTTPROUTE",
    "INBOUND",
    "JANITOR",
    "LABEL",
    "NOBODY",
    "ROUTED_BY",
    "Change",
    "Client",
    "Copying",
    "Create",
    "Destination",
    "Disturbed",
    "Divided",
    "Edit",
    "Ended",
    "Fault",
    "Filtered",
    "Found",
    "Halt",
    "Holder",
    "Holding",
    "Leadership",
    "LeaseLost",
    "Locked",
    "Merged",
    "Narrowing",
    "Place",
    "Policy",
    "RouteChange",
    "RuleChange",
    "RunLease",
    "Snapshot",
    "Source",
    "Survey",
    "TrafficPolicy",
    "View",
    "Watchdog",
    "Witness",
    "announce",
    "beside",
    "check_copies",
    "connect",
    "disturbed",
    "end",
    "entries",
    "halt",
    "halted",
    "holdings",
    "janitor_alive",
    "let_go",
    "lock",
    "merge",
    "place",
    "put",
    "renew",
    "resume",
    "survey",
    "take_out",
    "time_text",
    "versions_of",
    "view",
    "whoami",
]

INBOUND = inbound.NAME
"""The carrier that works where calls arrive."""

HTTPROUTE = httproute.NAME
"""The carrier that changes the rules of Gateway API's HTTPRoute."""

CARRIERS = {one.NAME: one.plan for one in (envoyfilter, overlay, httproute, inbound, destinationrule, policy)}
"""What can carry a fault, by name (D9); which ones can carry a certain fault, and which goes first, that fault says."""
