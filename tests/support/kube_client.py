"""A plain HTTP client for a Kubernetes API: any verb and body, with the credentials of a kubeconfig."""

from __future__ import annotations

import base64
import json
import re
import ssl
from pathlib import Path
from typing import Any, NamedTuple, Self

import httpx

__all__ = ["JSON", "JSON_PATCH", "MERGE", "STRATEGIC", "TABLE", "Answer", "KubeClient"]

JSON = "application/json"
JSON_PATCH = "application/json-patch+json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


class Answer(NamedTuple):
    """What was answered: `json` is None where it is no JSON."""

    code: int
    json: Any
    raw: bytes
    headers: httpx.Headers
    steady: Any

    @property
    def meta(self) -> dict:
        return self.json["metadata"]

    @property
    def version(self) -> str:
        return self.json["metadata"]["resourceVersion"]

    @property
    def names(self) -> list[str]:
        """The names of a list's items."""
        return [item["metadata"]["name"] for item in self.json["items"]]

    def __str__(self) -> str:
        """A refusal in all its words, else the code and the kind that was answered; nothing that varies."""
        if not isinstance(self.json, dict):
            return self.steady(f"{self.code} {self.raw.decode(errors='replace').strip()[:200]}")
        if self.json.get("kind") != "Status" or self.json.get("status") == "Success":
            return f"{self.code} {self.json.get('kind')}"
        details = self.json.get("details", {})
        about = " ".join(
            f"{key}={details[key]}" for key in ("group", "kind", "name", "retryAfterSeconds") if key in details
        )
        causes = " ".join(f"<{c.get('reason', '')} {c.get('field', '')}>" for c in details.get("causes", []))
        words = [str(self.code), self.json.get("reason", "-"), json.dumps(self.json.get("message", "")), about, causes]
        return self.steady(" ".join(word for word in words if word))


class KubeClient:
    """hidden: texts that vary, and what is written in their place where a test tells what it saw."""

    def __init__(self, kubeconfig: dict, directory: Path) -> None:
        self.kubeconfig = kubeconfig
        self.hidden: dict[str, str] = {}
        cluster, user = kubeconfig["clusters"][0]["cluster"], kubeconfig["users"][0]["user"]
        verify: ssl.SSLContext | bool = True
        if root := cluster.get("certificate-authority-data"):
            verify = ssl.create_default_context(cadata=base64.b64decode(root).decode())
        headers = {"Authorization": f"Bearer {user['token']}"} if "token" in user else {}
        self._http = httpx.Client(
            base_url=cluster["server"], verify=verify, headers=headers, timeout=20, trust_env=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = JSON,
        accept: str = JSON,
        more: dict[str, str] | None = None,
        **query: str,
    ) -> Answer:
        """Send it, with MORE headers; a body that is no bytes goes as JSON, content_type "" is none."""
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Accept": accept} | ({"Content-Type": content_type} if content is not None and content_type else {})
        headers |= more or {}
        answer = self._http.request(method, path, content=content, headers=headers, params=query or None)
        try:
            document = answer.json()
        except ValueError:
            document = None
        return Answer(answer.status_code, document, answer.content, answer.headers, self.steady)

    def get(self, path: str, **named: Any) -> Answer:
        return self.ask("GET", path, **named)

    def post(self, path: str, body: Any, **named: Any) -> Answer:
        return self.ask("POST", path, body, **named)

    def put(self, path: str, body: Any, **named: Any) -> Answer:
        return self.ask("PUT", path, body, **named)

    def patch(self, path: str, body: Any, content_type: str = MERGE, **named: Any) -> Answer:
        return self.ask("PATCH", path, body, content_type=content_type, **named)

    def delete(self, path: str, body: Any = None, **named: Any) -> Answer:
        return self.ask("DELETE", path, body, **named)

    def watch(self, path: str, count: int, *, accept: str = JSON, **query: str) -> list[dict]:
        """The first COUNT events of a watch, fewer when it ends before (after 10 seconds, unless timeoutSeconds)."""
        params = {"watch": "true", "timeoutSeconds": "10", **query}
        events: list[dict] = []
        with self._http.stream("GET", path, params=params, headers={"Accept": accept}) as answer:
            if answer.status_code != 200:
                return [{"type": f"HTTP {answer.status_code}", "object": json.loads(answer.read())}]
            for line in answer.iter_lines():
                events.append(json.loads(line))
                if len(events) == count:
                    break
        return events

    def steady(self, text: str) -> str:
        """TEXT without what varies from run to run: uids, times, versions, and what `hidden` names."""
        for varying, instead in self.hidden.items():
            text = text.replace(varying, instead)
        text = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UID", text)
        return re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME", text)
