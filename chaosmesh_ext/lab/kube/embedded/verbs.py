"""What a request to an object or a collection does: HTTP methods as Kubernetes' verbs. No sockets here."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from chaosmesh_ext.lab.kube.api import Obj, PodLog
from chaosmesh_ext.lab.kube.embedded.bodies import (
    as_kind,
    as_object,
    delete_options,
    dry_run,
    flag,
    number,
    patcher,
)
from chaosmesh_ext.lab.kube.embedded.eviction import EVICTED, eviction
from chaosmesh_ext.lab.kube.embedded.list_options import check_list, check_watch
from chaosmesh_ext.lab.kube.embedded.objects import Objects
from chaosmesh_ext.lab.kube.embedded.paths import Target
from chaosmesh_ext.lab.kube.embedded.refusals import (
    NoSuchPage,
    Refused,
    bad_request,
    expired,
    method_not_allowed,
    no_such_path,
    not_found,
    not_implemented,
    success,
    too_large_version,
)
from chaosmesh_ext.lab.kube.embedded.scale import rescaled, scale, scaled
from chaosmesh_ext.lab.kube.embedded.selectors import Selector, selector
from chaosmesh_ext.lab.kube.embedded.views import View, view
from chaosmesh_ext.lab.kube.embedded.watching import Watch, WatchOptions, parsed_version

__all__ = ["Answer", "Request", "Text", "Verbs"]

_WATCH_TIMEOUT = 1800.0
"""Seconds a watch lasts when the client does not say; a real server takes 30 to 60 minutes."""
_OF_PODS = ("exec", "attach", "portforward", "proxy", "binding", "ephemeralcontainers", "resize")


class Request(msgspec.Struct, frozen=True):
    """A request, as far as the API looks at it."""

    method: str
    target: Target
    query: Mapping[str, str]
    accept: str = ""
    content_type: str = ""
    body: bytes = b""


class Answer(msgspec.Struct, frozen=True):
    """A status code and a JSON document."""

    code: int
    document: Obj


class Text(msgspec.Struct, frozen=True):
    """Plain text."""

    text: str


class Verbs:
    """Carries requests out on OBJECTS; every method may raise Refused.

    pod_log: where logs come from; None when the lab keeps none.
    """

    def __init__(self, objects: Objects, pod_log: PodLog | None = None) -> None:
        self.objects = objects
        self.pod_log = pod_log

    def do(self, request: Request) -> Answer | Text | Watch:
        """Carry out REQUEST; a Watch is for the caller to run."""
        place = request.target
        writes = request.method not in ("GET", "HEAD")
        if writes and not place.kind.writable:
            raise not_implemented(f"writing {place.kind.plural}: it serves a fixed set of kinds")
        if place.subresource:
            return self._subresource(request)
        match request.method, bool(place.name):
            case (("GET" | "HEAD"), True):
                return self._get(request)
            case (("GET" | "HEAD"), False):
                return self._watch(request) if flag(request.query, "watch") else self._list(request)
            case "POST", named if place.kind.custom or not named:
                return self._create(request)
            case "PUT", True:
                return self._update(request)
            case "PATCH", True:
                return self._patch(request)
            case "DELETE", True:
                return self._delete(request)
            case "DELETE", False if place.kind.name != "Namespace":
                return self._delete_collection(request)
            case (("PUT" | "PATCH"), False) if place.kind.custom:
                raise bad_request("name must be provided")
        raise method_not_allowed(place.kind if place.kind.custom else None)

    def _view(self, request: Request) -> View:
        return view(request.target.kind, request.target.version, request.accept, request.query.get("includeObject", ""))

    def _one(self, request: Request, obj: Obj, code: int = 200) -> Answer:
        return Answer(code, self._view(request).one(obj))

    def _get(self, request: Request) -> Answer:
        place = request.target
        return self._one(request, self.objects.get(place.kind, place.namespace, place.name))

    def _list(self, request: Request) -> Answer:
        """All that match, whatever the limit: a server may do that, and then gives out no `continue`."""
        check_list(request.query)
        self._check_version(request.query)
        number(request.query, "limit")
        if request.query.get("continue"):
            raise bad_request("continue key is not valid: this server answers whole lists and gives out none")
        store = self.objects.store
        found = list(filter(_selector(request), store.list(request.target.kind, request.target.namespace)))
        return Answer(200, self._view(request).many(found, store.version))

    def _check_version(self, query: Mapping[str, str]) -> None:
        """The list is always the newest; refuse a version that is still to come, or exactly an old one."""
        text = query.get("resourceVersion", "")
        if not text:
            return
        try:
            asked, current = parsed_version(text), self.objects.store.version
        except Refused as refusal:
            raise bad_request(f"invalid resource version: {refusal}") from None
        if asked > current:
            raise too_large_version(asked, current)
        if query.get("resourceVersionMatch") == "Exact" and asked != current:
            raise expired(asked, current)

    def _watch(self, request: Request) -> Watch:
        query = request.query
        check_watch(query)
        options = WatchOptions(
            since=parsed_version(query.get("resourceVersion") or "0"),
            timeout=float(number(query, "timeoutSeconds") or _WATCH_TIMEOUT),
            bookmarks=flag(query, "allowWatchBookmarks"),
            initial=flag(query, "sendInitialEvents"),
        )
        return Watch(self.objects.store, request.target, _selector(request), self._view(request), options)

    def _body(self, request: Request) -> Obj:
        return as_kind(request.target.kind, request.target.version, request.body, request.content_type)

    def _create(self, request: Request) -> Answer:
        place = request.target
        if place.kind.namespaced and not place.namespace:
            raise method_not_allowed()
        tried = dry_run(request.query, "CreateOptions")
        obj = self.objects.create(place.kind, place.namespace, self._body(request), dry_run=tried)
        return self._one(request, obj, 201)

    def _update(self, request: Request, subresource: str = "") -> Answer:
        place = request.target
        obj, created = self.objects.update(
            place.kind,
            place.namespace,
            place.name,
            self._body(request),
            subresource=subresource,
            dry_run=dry_run(request.query, "UpdateOptions"),
        )
        return self._one(request, obj, 201 if created else 200)

    def _patch(self, request: Request, subresource: str = "") -> Answer:
        place = request.target
        patched = patcher(place.kind, request.body, request.content_type)
        obj = self.objects.patch(
            place.kind,
            place.namespace,
            place.name,
            patched,
            subresource=subresource,
            dry_run=dry_run(request.query, "PatchOptions"),
        )
        return self._one(request, obj)

    def _delete(self, request: Request) -> Answer:
        place = request.target
        options = delete_options(request.query, request.body, request.content_type)
        deleted = self.objects.delete(place.kind, place.namespace, place.name, options)
        if deleted.gone and not place.kind.returned and place.kind.name != "Namespace":
            return Answer(200, success(place.kind, place.name, deleted.obj["metadata"]["uid"]))
        return self._one(request, deleted.obj)

    def _delete_collection(self, request: Request) -> Answer:
        place = request.target
        if place.kind.namespaced and not place.namespace:
            raise NoSuchPage if place.kind.custom else method_not_allowed()
        options = delete_options(request.query, request.body, request.content_type)
        store = self.objects.store
        deleted = [
            self.objects.delete(place.kind, place.namespace, obj["metadata"]["name"], options).obj
            for obj in list(filter(_selector(request), store.list(place.kind, place.namespace)))
        ]
        return Answer(200, self._view(request).many(deleted, store.version))

    def _subresource(self, request: Request) -> Answer | Text:
        kind, sub = request.target.kind, request.target.subresource
        if sub == "status" and kind.status:
            return self._status(request)
        if sub == "scale" and kind.scale:
            return self._scale(request)
        if kind.name == "Pod" and sub == "log" and request.method == "GET":
            return self._log(request)
        if kind.name == "Pod" and sub == "eviction":
            return self._evict(request)
        if (kind.name == "Pod" and sub in _OF_PODS) or (kind.name, sub) in _KNOWN:
            raise not_implemented(f"{kind.plural}/{sub}")
        raise not_found(kind, request.target.name) if kind.custom else no_such_path()

    def _status(self, request: Request) -> Answer:
        match request.method:
            case "GET":
                return self._get(request)
            case "PUT":
                return self._update(request, "status")
            case "PATCH":
                return self._patch(request, "status")
        raise method_not_allowed()

    def _scale(self, request: Request) -> Answer:
        place = request.target
        old = self.objects.get(place.kind, place.namespace, place.name)
        match request.method:
            case "GET":
                return Answer(200, scale(old))
            case "PUT":
                new = scaled(old, as_object(request.body, request.content_type))
            case "PATCH":
                new = rescaled(old, patcher(place.kind, request.body, request.content_type))
            case _:
                raise method_not_allowed()
        options = "PatchOptions" if request.method == "PATCH" else "UpdateOptions"
        tried = dry_run(request.query, options)
        obj, _ = self.objects.update(place.kind, place.namespace, place.name, new, dry_run=tried)
        return Answer(200, scale(obj))

    def _log(self, request: Request) -> Text:
        place = request.target
        pod = self.objects.get(place.kind, place.namespace, place.name)
        if self.pod_log is None:
            raise not_implemented("pods/log: this lab keeps no logs of its Pods")
        if flag(request.query, "previous"):
            raise bad_request(f'previous terminated container in pod "{place.name}" not found')
        container = request.query.get("container", "")
        names = [one.get("name") for one in pod["spec"].get("containers") or []]
        if container and container not in names:
            raise bad_request(f"container {container} is not valid for pod {place.name}")
        if not container and len(names) > 1:
            choices = f"choose one of: [{' '.join(names)}]"
            raise bad_request(f"a container name must be specified for pod {place.name}, {choices}")
        tail = number(request.query, "tailLines")
        lines = self.pod_log(pod, container or names[0]).splitlines(keepends=True)
        return Text("".join(lines if tail is None else lines[len(lines) - min(tail, len(lines)) :]))

    def _evict(self, request: Request) -> Answer:
        if request.method != "POST":
            raise method_not_allowed()
        place = request.target
        wanted = eviction(place.name, request.body, request.content_type)
        self.objects.delete(place.kind, place.namespace, place.name, wanted)
        return Answer(201, EVICTED)


_KNOWN = (("ServiceAccount", "token"), ("Namespace", "finalize"), ("Node", "proxy"), ("Service", "proxy"))


def _selector(request: Request) -> Selector:
    kind, name = request.target.kind, request.target.name
    chosen = selector(kind, request.query.get("labelSelector", ""), request.query.get("fieldSelector", ""))
    if not name:
        return chosen
    return lambda obj: obj["metadata"]["name"] == name and chosen(obj)
