"""Require a JWT: requests without a token that is good are refused by the destination's sidecar."""

from __future__ import annotations

import re
from typing import Any, ClassVar, Final

import msgspec

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.faults import arrival
from chaosmesh_ext.faults.propagation import HEADERS as TRACED
from chaosmesh_ext.mesh import Change, Create, Place, View
from chaosmesh_ext.model import Answer, Injected, Span, Trace

__all__ = ["SCHEME", "SUBJECT", "RequireJwt"]

SCHEME = "Chaosmesh "
"""What stands before the token in its header: nobody else's token is looked at, nor refused for being another's."""

SUBJECT = "chaosmesh"
"""The token's `sub`."""

_HEADER = re.compile(r"[A-Za-z0-9-]+")

_TAKEN: Final = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        *TRACED,
    }
)
"""Headers that say how a request is to be read or passed on (RFC 9110, 7.6.1), and those of traces, the marker's among
them: with a token in them no request would be answered, or found, as it should.
"""


_RESERVED: Final = "grpc-"
"""How the names of headers begin that gRPC keeps for itself."""

_GRPC: Final = frozenset({"grpc", "grpc-web"})
"""Protocols in which a refusal is no 401 or 403 but a status of gRPC's in an answer with 200."""


class RequireJwt(msgspec.Struct, frozen=True):
    """A RequestAuthentication with one key, and an AuthorizationPolicy that denies who has no token signed with it.

    issuer: the token's `iss`. jwks: the public key, as JSON. header: that carries the token; applications between must
    forward it. Raises InvalidInput for what is no header.
    """

    issuer: str
    jwks: str
    header: str = "authorization"

    carriers: ClassVar[tuple[str, ...]] = ("policy",)
    kinds: ClassVar[tuple[str, ...]] = ("Pod",)
    rarely: ClassVar[bool] = False
    burst: ClassVar[int] = 1
    percentage: ClassVar[float] = 100.0
    patience: ClassVar[float] = 0.0
    plain: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not _HEADER.fullmatch(self.header):
            raise InvalidInput(f"token_header {self.header!r} is no header's name: give one, e.g. authorization")
        if self.header.lower() in _TAKEN or self.header.lower().startswith(_RESERVED):
            raise InvalidInput(
                f"token_header {self.header!r} is one that HTTP or traces need as it is: give another one that "
                "applications forward, e.g. authorization"
            )

    def changes(self, place: Place, view: View) -> list[Change]:
        """What puts it in PLACE: who authenticates first, so that nobody with a good token is refused meanwhile."""
        chosen, there = arrival.selector(place), place.destination
        if there.protocol in _GRPC:
            raise InvalidInput(
                f"port {there.port} of {there.service} speaks {there.protocol}, whose calls are answered 200 "
                "even without a token: require_jwt is for HTTP; for gRPC take deny_access, or inject_abort with "
                "grpc_status: UNAUTHENTICATED"
            )
        source: dict[str, Any] = {"notRequestPrincipals": [f"{self.issuer}/{SUBJECT}"]}
        if place.source is not None:
            source["principals"] = arrival.principals(place, view)
        rule: dict[str, Any] = {
            "from": [{"source": source}],
            "to": [{"operation": {"ports": arrival.ports(place, view)}}],
        }
        if when := arrival.marked(place.marker):
            rule["when"] = when
        who = {
            "issuer": self.issuer,
            "jwks": self.jwks,
            "fromHeaders": [{"name": self.header, "prefix": SCHEME}],
            "forwardOriginalToken": True,
        }
        return [
            Create(arrival.own("RequestAuthentication", place, {"selector": chosen, "jwtRules": [who]})),
            Create(arrival.own("AuthorizationPolicy", place, {"selector": chosen, "action": "DENY", "rules": [rule]})),
        ]

    def shows_in(self, span: Span, trace: Trace) -> bool:
        """Whether SPAN's call, without a token, met it: 403 from the called sidecar itself."""
        return arrival.denied_call(span, trace)

    def shows_in_answer(self, answer: Answer) -> bool:
        """Whether ANSWER, straight from the destination's sidecar, is this refusal."""
        return arrival.denied_answer(answer)

    def facts(self, destination: str, sources: tuple[str, ...], subset: str, carrier: str) -> Injected:
        """What a rule may know of it."""
        return Injected(
            kind="require_jwt",
            destination=destination,
            sources=sources,
            status=403,
            subset=subset,
            carrier=carrier,
            words=f"JWT required in {self.header}",
        )
