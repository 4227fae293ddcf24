"""What a setting says of who we are and whom to trust: headers, certificates, authorities. Nothing of it is shown."""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.redaction import remember

__all__ = ["Tls", "bearer", "headers", "lower", "pem"]


class Tls(msgspec.Struct, frozen=True):
    """Whom to trust and who we are: PEM, or empty for what the system trusts, and for nobody. insecure: trust anybody.

    Nothing of it is shown by `repr`.
    """

    ca: str = ""
    cert: str = ""
    key: str = ""
    insecure: bool = False

    def __repr__(self) -> str:
        return "Tls()" if self == Tls() else "Tls(…)"

    def context(self) -> ssl.SSLContext:
        """As Python's TLS takes it. Raises InvalidInput where it is no PEM, or a certificate comes without its key."""
        import httpx

        from chaosmesh_ext.mesh.transport import with_client_cert

        try:
            context = (
                ssl.create_default_context(cadata=self.ca) if self.ca else httpx.create_ssl_context(trust_env=True)
            )
        except (ssl.SSLError, ValueError) as error:
            raise InvalidInput(
                f"the certificate authority is no PEM ({error}): check the setting that ends in _CA"
            ) from None
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if bool(self.cert) != bool(self.key) and "PRIVATE KEY" not in self.cert:
            raise InvalidInput(
                "a client certificate needs its key, and a key its certificate: set both _CLIENT_CERT and _KEY"
            )
        if self.cert:
            with_client_cert(
                context, self.cert.encode(), self.key.encode(), "the settings ending in _CLIENT_CERT and _KEY"
            )
        return context


def bearer(variable: str, token: str) -> dict[str, str]:
    """The header that bears TOKEN, if there is one; VARIABLE is where it was said."""
    if any(sign.isspace() or not sign.isprintable() for sign in token):
        raise InvalidInput(f"{variable} is no bearer token: it holds a blank or a line break")
    remember(token)
    return {"authorization": f"Bearer {token}"} if token else {}


def headers(variable: str, text: str) -> dict[str, str]:
    """``a=1,b=2`` as OpenTelemetry writes headers in variables (values percent-encoded), or a JSON object."""
    found: Any = None
    if text.startswith("{"):
        try:
            found = json.loads(text)
        except ValueError:
            raise InvalidInput(f"{variable} is no JSON object: write e.g. X-Scope-OrgID=team-a") from None
    else:
        pairs = [part.partition("=") for part in text.split(",") if part.strip()]
        if any(not sign or not name.strip() for name, sign, _ in pairs):
            raise InvalidInput(f"{variable} is no list of headers: write e.g. X-Scope-OrgID=team-a,X-Other=b")
        found = {name.strip(): unquote(value.strip()) for name, _, value in pairs}
    for name, value in found.items():
        if not isinstance(value, str) or not value.isprintable() or not name.isprintable() or " " in name:
            raise InvalidInput(f"{variable}: the header {name!r} cannot be sent: names and values are one line of text")
    return lower(found)


def lower(given: Mapping[str, str]) -> dict[str, str]:
    """GIVEN with names in lower case, in which they are one and the same."""
    return {name.lower(): value for name, value in given.items()}


def pem(variable: str, given: str) -> str:
    """GIVEN, where it is PEM, or what the file of that name holds."""
    if not given or "-----BEGIN " in given:
        return given
    try:
        return Path(os.path.expandvars(given)).expanduser().read_text()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise InvalidInput(f"{variable}={given} cannot be read ({why}): name a file of PEM") from None
