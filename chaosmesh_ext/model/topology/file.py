"""A topology file → `Topology`; anything that the words do not allow is refused with its line."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar, cast

import msgspec
import yaml

from chaosmesh_ext.errors import InvalidInput, NotFound
from chaosmesh_ext.model.topology.graph import (
    APPS,
    Breaker,
    Call,
    OnFailure,
    Protocol,
    Retries,
    Service,
    Topology,
    Trigger,
    Version,
)
from chaosmesh_ext.model.topology.nodes import Reader

__all__ = ["load_topology", "parse_topology"]

Words = TypeVar("Words", bound=msgspec.Struct)

_LABEL = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
_LABEL_WORDS = "a DNS label: up to 63 of a-z, 0-9 and -, a letter first"
_VERSION = re.compile(r"[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?")
_VERSION_WORDS = "up to 32 of a-z, 0-9 and -"
_METHOD = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_PATH = re.compile(r"/[!-~]*")
_PATH_WORDS = "a path that starts with / and has no spaces"
_RPC = re.compile(r"/[A-Za-z_][A-Za-z0-9_.]*/[A-Za-z_][A-Za-z0-9_]*")
_RPC_WORDS = "a gRPC method, e.g. /shop.Prices/Get"
_PROTOCOLS: tuple[Protocol, ...] = ("http", "grpc")
_HEADER = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_WORDS = "a header's name in lower case"
_ENV = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LAB_ENV = ("HOST", "PORT", "HTTP_PROXY", "http_proxy")
_SIDECAR_PORTS = range(15000, 15091)
_MOST_PODS = 253

_BEHAVIOUR = ("workers", "work", "calls", "forwards", "onCallerGone", "status")
_CALL = ("to", "method", "path", "timeout", "retries", "onFailure", "paths", "breaker", "pool")
_FAILURES: tuple[OnFailure, ...] = ("omit", "default", "fail", "raw", "bug")
_TRIGGERS: tuple[Trigger, ...] = ("timeout", "connect", "5xx")


def load_topology(path: str | Path) -> Topology:
    """Read a topology file.

    Raises NotFound when it is not there, InvalidInput ``FILE:LINE: …`` when anything in it cannot be.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFound(f"{path}: no such file; name a topology file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path}: cannot be read: {error}") from error
    return parse_topology(text, str(path))


def parse_topology(text: str, file: str = "topology") -> Topology:
    """The topology in TEXT; FILE names it in errors, which are those of `load_topology`."""
    return _File(Reader(file)).topology(text)


class _File:
    """One file being read; remembers where services and calls stand for the checks that need the whole."""

    def __init__(self, reader: Reader) -> None:
        self._read = reader
        self._targets: list[tuple[str, str, yaml.Node]] = []
        self._called: list[tuple[str, dict[str, yaml.Node]]] = []

    def topology(self, text: str) -> Topology:
        read = self._read
        root = read.document(text)
        top = read.mapping(
            root, "a Topology", ("apiVersion", "kind", "metadata", "spec"), ("apiVersion", "kind", "spec")
        )
        read.choice(top["apiVersion"], "apiVersion", ("chaosmesh-ext/v1alpha1",))
        read.choice(top["kind"], "kind", ("Topology",))
        name = "topology"
        if "metadata" in top:
            metadata = read.mapping(top["metadata"], "metadata", ("name",), ("name",))
            name = read.matching(metadata["name"], "name", _LABEL, _LABEL_WORDS)
        spec = read.mapping(top["spec"], "spec", ("entry", "services"), ("entry", "services"))
        nodes = read.items(spec["services"], "services")
        services = tuple(self._service(node) for node in nodes)
        self._once(((service.name, node) for service, node in zip(services, nodes, strict=True)), "service")
        names = {service.name for service in services}
        entry = read.text(spec["entry"], "entry")
        self._known(names, entry, spec["entry"])
        for _, target, node in self._targets:
            self._known(names, target, node)
        self._acyclic()
        speaking = {service.name for service in services if service.grpc}
        if entry in speaking:
            read.refuse(spec["entry"], f'"{entry}" speaks gRPC; people come by HTTP: put a service that does in front')
        for target, found in self._called:
            if target in speaking:
                self._grpc_call(target, found)
        if sum(version.replicas for service in services for version in service.versions) > _MOST_PODS:
            read.refuse(spec["services"], f"a lab holds {_MOST_PODS} replicas beside its gateway: lower `replicas`")
        return Topology(name=name, entry=entry, services=services)

    def _service(self, node: yaml.Node) -> Service:
        read = self._read
        found = read.mapping(node, "a service", ("name", "port", "protocol", "versions"), ("name",))
        name = read.matching(found["name"], "service", _LABEL, _LABEL_WORDS)
        port = 9080
        if "port" in found:
            port = read.integer(found["port"], "port", 1, 65535)
            if port in _SIDECAR_PORTS:
                read.refuse(found["port"], f"port {port} belongs to the sidecars (15000 to 15090)")
        service = Service(name=name, port=port)
        if "protocol" in found:
            protocol = cast("Protocol", read.choice(found["protocol"], "protocol", _PROTOCOLS))
            service = _with(service, protocol=protocol)
        if "versions" not in found:
            return service
        nodes = read.items(found["versions"], "versions")
        versions = tuple(self._version(service, item) for item in nodes)
        self._once(((version.name, item) for version, item in zip(versions, nodes, strict=True)), "version")
        return _with(service, versions=versions)

    def _version(self, of: Service, node: yaml.Node) -> Version:
        read = self._read
        service = of.name
        found = read.mapping(node, "a version", ("name", "replicas", *_BEHAVIOUR, "app", "run"), ("name",))
        for key in ("app", "status"):
            if of.grpc and key in found:
                read.refuse(found[key], f'"{key}" has no meaning for a service that speaks gRPC: remove one of them')
        name = read.matching(found["name"], "version", _VERSION, _VERSION_WORDS)
        if len(service) + 1 + len(name) > 63:
            read.refuse(found["name"], f'"{service}-{name}" names a workload and must not be longer than 63')
        version = Version(name=name)
        if "replicas" in found:
            version = _with(version, replicas=read.integer(found["replicas"], "replicas", 1, 100))
        if "app" in found or "run" in found:
            return self._foreign(version, found)
        if "workers" in found:
            version = _with(version, workers=read.integer(found["workers"], "workers", 1, 100_000))
        if "work" in found:
            version = _with(version, work=read.duration(found["work"], "work", zero=True))
        if "calls" in found:
            items = read.items(found["calls"], "calls", empty=True)
            version = _with(version, steps=tuple(self._step(service, item) for item in items))
            self._distinct(version, items)
        if "forwards" in found:
            headers = read.items(found["forwards"], "forwards", empty=True)
            names = tuple(read.matching(item, "header", _HEADER, _HEADER_WORDS) for item in headers)
            self._once(zip(names, headers, strict=True), "header")
            version = _with(version, forwards=names)
        if "onCallerGone" in found:
            version = _with(
                version, on_caller_gone=read.choice(found["onCallerGone"], "onCallerGone", ("continue", "cancel"))
            )
        if "status" in found:
            version = _with(version, status=read.integer(found["status"], "status", 200, 599))
        return version

    def _foreign(self, version: Version, found: dict[str, yaml.Node]) -> Version:
        read = self._read
        word = "app" if "app" in found else "run"
        for key in (*_BEHAVIOUR, "run"):
            if key in found and key != word:
                read.refuse(found[key], f'"{key}" has no meaning for a version that has "{word}": remove one of them')
        if word == "app":
            return _with(version, app=read.choice(found["app"], "app", APPS))
        run = read.mapping(found["run"], "run", ("command", "env"), ("command",))
        command = tuple(read.text(item, "a word of the command") for item in read.items(run["command"], "command"))
        if not command[0].strip():
            read.refuse(run["command"], "the command's first word must name a program")
        env: dict[str, str] = {}
        for name, (node, value) in (read.texts(run["env"], "env") if "env" in run else {}).items():
            if not _ENV.fullmatch(name) or name in _LAB_ENV:
                read.refuse(node, f'"{name}" cannot be set: {"the lab sets it" if name in _LAB_ENV else "not a name"}')
            env[name] = value
        return _with(version, command=command, env=env)

    def _step(self, service: str, node: yaml.Node) -> tuple[Call, ...]:
        read = self._read
        keys = [key.value for key, _ in node.value] if isinstance(node, yaml.MappingNode) else []
        if "together" in keys:
            group = read.mapping(node, "a group of calls", ("together",))["together"]
            return tuple(self._call(service, item) for item in read.items(group, "together"))
        return (self._call(service, node),)

    def _call(self, service: str, node: yaml.Node) -> Call:
        read = self._read
        found = read.mapping(node, "a call", _CALL, ("to",))
        call = Call(to=read.text(found["to"], "to"))
        self._targets.append((service, call.to, found["to"]))
        self._called.append((call.to, found))
        if "method" in found:
            call = _with(call, method=read.choice(found["method"], "method", _METHOD))
        if "path" in found:
            call = _with(call, path=read.matching(found["path"], "path", _PATH, _PATH_WORDS))
        if "timeout" in found:
            call = _with(call, timeout=read.duration(found["timeout"], "timeout"))
        if "retries" in found:
            call = _with(call, retries=self._retries(found["retries"]))
        if "onFailure" in found:
            call = _with(call, on_failure=read.choice(found["onFailure"], "onFailure", _FAILURES))
        if "paths" in found:
            nodes = read.items(found["paths"], "paths")
            paths = tuple(read.matching(item, "path", _PATH, _PATH_WORDS) for item in nodes)
            self._once(zip(paths, nodes, strict=True), "path")
            call = _with(call, paths=paths)
        if "breaker" in found:
            words = read.mapping(found["breaker"], "breaker", ("failures", "open"), ("failures", "open"))
            failures = read.integer(words["failures"], "failures", 1, 1000)
            call = _with(call, breaker=Breaker(failures=failures, open=read.duration(words["open"], "open")))
        if "pool" in found:
            call = _with(call, pool=read.integer(found["pool"], "pool", 1, 100_000))
        return call

    def _grpc_call(self, target: str, found: dict[str, yaml.Node]) -> None:
        """Refuse the words of a call to TARGET that gRPC has not."""
        if "method" in found:
            self._read.refuse(found["method"], f'"{target}" speaks gRPC, which always POSTs: remove "method"')
        if "path" in found:
            self._read.matching(found["path"], "path", _RPC, _RPC_WORDS)

    def _retries(self, node: yaml.Node) -> Retries:
        read = self._read
        found = read.mapping(node, "retries", ("attempts", "backoff", "growth", "on"), ("attempts",))
        retries = Retries(attempts=read.integer(found["attempts"], "attempts", 0, 100))
        if "backoff" in found:
            retries = _with(retries, backoff=read.duration(found["backoff"], "backoff", zero=True))
        if "growth" in found:
            retries = _with(retries, growth=read.number(found["growth"], "growth", 1, 10))
        if "on" in found:
            nodes = read.items(found["on"], "on")
            on = tuple(cast("Trigger", read.choice(item, "failure", _TRIGGERS)) for item in nodes)
            self._once(zip(on, nodes, strict=True), "failure")
            retries = _with(retries, on=on)
        return retries

    def _once(self, named: Iterable[tuple[str, yaml.Node]], what: str) -> None:
        seen: dict[str, int] = {}
        for name, node in named:
            if name in seen:
                self._read.refuse(node, f'{what} "{name}" comes twice; the first is on line {seen[name]}')
            seen[name] = node.start_mark.line + 1

    def _distinct(self, version: Version, items: list[yaml.Node]) -> None:
        """No request may make the same call twice: the answer could not tell them apart."""
        placed = [(call, item) for step, item in zip(version.steps, items, strict=True) for call in step]
        for index, (call, item) in enumerate(placed):
            for other, _ in placed[:index]:
                same = (call.to, call.method, call.path) == (other.to, other.method, other.path)
                if same and (call.paths is None or other.paths is None or set(call.paths) & set(other.paths)):
                    self._read.refuse(
                        item, f'the call {call.method} {call.path} to "{call.to}" comes twice for the same request'
                    )

    def _known(self, names: set[str], name: str, node: yaml.Node) -> None:
        if name not in names:
            self._read.refuse(node, f'service "{name}" is not in this file; it has {", ".join(sorted(names))}')

    def _acyclic(self) -> None:
        """Refuse the call that closes a cycle, with the way round."""
        callees: dict[str, list[tuple[str, yaml.Node]]] = {}
        for source, target, node in self._targets:
            callees.setdefault(source, []).append((target, node))
        done: set[str] = set()
        for start, calls in callees.items():
            path = [start]
            waiting = [iter(calls)]
            while path:
                step = next(waiting[-1], None)
                if step is None:
                    done.add(path.pop())
                    waiting.pop()
                    continue
                target, node = step
                if target in path:
                    way = " → ".join([*path[path.index(target) :], target])
                    self._read.refuse(node, f'the call to "{target}" closes a cycle: {way}')
                if target not in done:
                    path.append(target)
                    waiting.append(iter(callees.get(target, [])))


def _with(words: Words, **changes: object) -> Words:
    return msgspec.structs.replace(words, **changes)
