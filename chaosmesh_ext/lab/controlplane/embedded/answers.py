"""Routes that answer by themselves: redirects and direct responses, as istiod writes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["REDIRECT_CODES", "direct_response", "redirect"]

REDIRECT_CODES: Mapping[int, str] = {
    301: "MOVED_PERMANENTLY",
    302: "FOUND",
    303: "SEE_OTHER",
    307: "TEMPORARY_REDIRECT",
    308: "PERMANENT_REDIRECT",
}
"""The codes that Envoy redirects with, by number."""

_DEFAULT_PORTS = {"http": 80, "https": 443}


def redirect(spec: Mapping[str, Any], port: int) -> dict[str, Any]:
    """Envoy's RedirectAction of Istio's `redirect` on PORT, where clients speak plain HTTP."""
    out: dict[str, Any] = {"response_code": REDIRECT_CODES[spec.get("redirectCode") or 301]}
    if spec.get("authority"):
        out["host_redirect"] = spec["authority"]
    if spec.get("prefixRewrite"):
        out["prefix_rewrite"] = spec["prefixRewrite"]
    else:
        out["path_redirect"] = spec.get("uri", "")
    if spec.get("scheme"):
        out["scheme_redirect"] = spec["scheme"]
    # FROM_PROTOCOL_DEFAULT is what Envoy does when it is told no port
    wanted = port if spec.get("derivePort") == "FROM_REQUEST_PORT" else spec.get("port", 0)
    if wanted and wanted != _DEFAULT_PORTS[spec.get("scheme") or "http"]:
        out["port_redirect"] = wanted
    return out


def direct_response(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Envoy's DirectResponseAction of Istio's `directResponse`."""
    out: dict[str, Any] = {"status": spec["status"]}
    body = spec.get("body") or {}
    if "string" in body:
        out["body"] = {"inline_string": body["string"]}
    elif "bytes" in body:
        out["body"] = {"inline_bytes": body["bytes"]}
    return out
