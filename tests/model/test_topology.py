"""A topology file is read exactly as it is meant, or refused with the line that is wrong."""

from __future__ import annotations

import re
import textwrap

import pytest

from chaosmesh_ext.errors import InvalidInput, NotFound
from chaosmesh_ext.model import load_topology
from chaosmesh_ext.model.topology import Breaker, Call, Retries, Service, Topology, Version, parse_topology

HEAD = "apiVersion: chaosmesh-ext/v1alpha1\nkind: Topology\nmetadata: {name: shop}\nspec:\n"


def spec(text: str) -> Topology:
    return parse_topology(HEAD + textwrap.indent(textwrap.dedent(text).strip("\n"), "  "), "shop.yaml")


def call(words: str) -> Call:
    topology = spec(
        f"entry: a\nservices: [{{name: a, versions: [{{name: v1, calls: [{{to: b, {words}}}]}}]}}, {{name: b}}]"
    )
    ((only,),) = topology.service("a").versions[0].steps
    return only


def test_defaults_are_those_of_the_format():
    topology = spec("entry: a\nservices: [{name: a}]")
    assert topology == Topology(name="shop", entry="a", services=(Service(name="a"),))
    assert topology.service("a").port == 9080
    (version,) = topology.service("a").versions
    assert version == Version(
        name="v1", replicas=1, workers=None, work=0.0, steps=(), on_caller_gone="continue", status=200,
        forwards=("traceparent", "tracestate", "end-user", "cookie", "user-agent"), app="", command=(), env={},
    )  # fmt: skip
    assert call("method: GET") == Call(to="b", path="/", timeout=None, retries=None, on_failure="fail", pool=None)
    assert call("retries: {attempts: 2}").retries == Retries(2, 0.0, 1.0, ("timeout", "connect", "5xx"))


def test_every_word_is_read():
    topology = spec("""
        entry: front
        services:
        - name: front
          port: 8000
          versions:
          - name: v1
            replicas: 2
            workers: 16
            work: 5ms
            calls:
            - to: b
              method: POST
              path: /x?y=1
              timeout: 1.5s
              retries: {attempts: 2, backoff: 100ms, growth: 2, on: [timeout, 5xx]}
              onFailure: omit
              paths: [/home, /]
              breaker: {failures: 5, open: 2m}
              pool: 8
            - together: [{to: c, onFailure: raw}, {to: d, timeout: 800ms}]
            forwards: []
            onCallerGone: cancel
            status: 404
          - {name: v2, app: bookinfo-reviews-v2, replicas: 3}
          - {name: v3, run: {command: [node, app.js], env: {MODE: "1"}}}
        - {name: b}
        - {name: c}
        - {name: d}
    """)
    front = topology.service("front")
    assert front.port == 8000
    v1, v2, v3 = front.versions
    retries = Retries(attempts=2, backoff=0.1, growth=2.0, on=("timeout", "5xx"))
    b = Call("b", "POST", "/x?y=1", 1.5, retries, "omit", ("/home", "/"), Breaker(5, 120.0), 8)
    together = (Call(to="c", on_failure="raw"), Call(to="d", timeout=0.8))
    assert v1 == Version("v1", 2, 16, 0.005, ((b,), together), (), "cancel", 404)
    assert v2 == Version(name="v2", app="bookinfo-reviews-v2", replicas=3)
    assert v3 == Version(name="v3", command=("node", "app.js"), env={"MODE": "1"})
    assert [retries.pause(n) for n in range(3)] == [0.1, 0.2, 0.4]


REFUSED = {
    "unknown key in the spec": ("entry: a\nserviecs: []", 6, 'unknown key "serviecs" in spec; known are entry, services'),
    "unknown key in a service": ("entry: a\nservices:\n- name: a\n  prot: 1", 8, 'unknown key "prot" in a service'),
    "missing key": ("services:\n- name: a", 5, 'spec needs "entry"'),
    "no services": ("entry: a\nservices: []", 6, "services must not be empty"),
    "not a list": ("entry: a\nservices: {name: a}", 6, "services must be a list"),
    "unknown entry": ("entry: x\nservices: [{name: a}]", 5, 'service "x" is not in this file; it has a'),
    "service twice": ("entry: a\nservices:\n- name: a\n- name: b\n- name: a", 9, 'service "a" comes twice; the first is on line 7'),
    "key twice": ("entry: a\nentry: a\nservices: [{name: a}]", 6, '"entry" comes twice in spec'),
    "bad name": ("entry: a\nservices: [{name: A_b}]", 6, 'service "A_b" must be a DNS label'),
    "name that YAML reads as a truth value": ("entry: a\nservices: [{name: on}]", 6, 'service must be text; write it in quotes: "on"'),
    "port": ("entry: a\nservices: [{name: a, port: 65536}]", 6, "port must be a whole number from 1 to 65535, not '65536'"),
    "port in quotes": ("entry: a\nservices: [{name: a, port: '80'}]", 6, "port must be a whole number"),
    "a sidecar's port": ("entry: a\nservices: [{name: a, port: 15001}]", 6, "port 15001 belongs to the sidecars"),
    "too many replicas": ("entry: a\nservices:\n" + "".join(f"- {{name: {n}, versions: [{{name: v1, replicas: 100}}]}}\n" for n in "abc"), 7, "a lab holds 253 replicas"),
}  # fmt: skip

VERSIONS = {
    "version twice": ("- name: v1\n- name: v1", 10, 'version "v1" comes twice'),
    "replicas": ("- {name: v1, replicas: 0}", 9, "replicas must be a whole number from 1 to 100"),
    "workers": ("- {name: v1, workers: -1}", 9, "workers must be a whole number from 1"),
    "work": ("- {name: v1, work: 5}", 9, "work must be a number with ms, s or m, e.g. 250ms, not '5'"),
    "status": ("- {name: v1, status: 99}", 9, "status must be a whole number from 200 to 599"),
    "onCallerGone": ("- {name: v1, onCallerGone: stop}", 9, 'unknown onCallerGone "stop"; known are continue, cancel'),
    "forwards": ("- {name: v1, forwards: [Cookie]}", 9, 'header "Cookie" must be a header\'s name in lower case'),
    "forwards twice": ("- {name: v1, forwards: [a, a]}", 9, 'header "a" comes twice'),
    "unknown app": ("- {name: v1, app: bookinfo}", 9, 'unknown app "bookinfo"; known are bookinfo-productpage'),
    "app with behaviour": ("- name: v1\n  app: bookinfo-details\n  work: 1s", 11, '"work" has no meaning for a version that has "app"'),
    "app and run": ("- name: v1\n  app: bookinfo-details\n  run: {command: [a]}", 11, '"run" has no meaning'),
    "run without command": ("- {name: v1, run: {env: {}}}", 9, 'run needs "command"'),
    "run's empty command": ("- {name: v1, run: {command: []}}", 9, "command must not be empty"),
    "run's own PORT": ("- {name: v1, run: {command: [a], env: {PORT: '1'}}}", 9, '"PORT" cannot be set: the lab sets it'),
    "run's number in env": ("- {name: v1, run: {command: [a], env: {A: 1}}}", 9, 'env "A" must be text; write it in quotes: "1"'),
    "long workload": ("- name: " + "v" * 33, 9, "must be up to 32 of a-z"),
}  # fmt: skip

CALLS = {
    "unknown service": ("- to: x", 11, 'service "x" is not in this file; it has a, b'),
    "itself": ("- to: a", 11, 'the call to "a" closes a cycle: a → a'),
    "unknown key": ("- to: b\n  tiemout: 1s", 12, 'unknown key "tiemout" in a call'),
    "unknown key beside together": ("- together: [{to: b}]\n  timeout: 1s", 12, 'unknown key "timeout" in a group of calls'),
    "nested together": ("- together:\n  - together: [{to: b}]", 12, 'unknown key "together" in a call'),
    "method": ("- {to: b, method: FETCH}", 11, 'unknown method "FETCH"'),
    "path": ("- {to: b, path: x}", 11, 'path "x" must be a path that starts with /'),
    "timeout zero": ("- {to: b, timeout: 0s}", 11, "timeout must be above 0 and at most 60m, not '0s'"),
    "timeout without a unit": ("- {to: b, timeout: 3}", 11, "timeout must be a number with ms, s or m"),
    "timeout too long": ("- {to: b, timeout: 61m}", 11, "timeout must be above 0 and at most 60m"),
    "negative timeout": ("- {to: b, timeout: -1s}", 11, "timeout must be a number with ms, s or m"),
    "hours": ("- {to: b, timeout: 1h}", 11, "timeout must be a number with ms, s or m"),
    "growth": ("- {to: b, retries: {attempts: 1, growth: 0.5}}", 11, "growth must be a number from 1 to 10"),
    "attempts": ("- {to: b, retries: {attempts: 1.5}}", 11, "attempts must be a whole number from 0 to 100"),
    "attempts missing": ("- {to: b, retries: {backoff: 1s}}", 11, 'retries needs "attempts"'),
    "on": ("- {to: b, retries: {attempts: 1, on: [4xx]}}", 11, 'unknown failure "4xx"; known are timeout, connect, 5xx'),
    "on nothing": ("- {to: b, retries: {attempts: 1, on: []}}", 11, "on must not be empty"),
    "onFailure": ("- {to: b, onFailure: ignore}", 11, 'unknown onFailure "ignore"'),
    "breaker": ("- {to: b, breaker: {failures: 3}}", 11, 'breaker needs "open"'),
    "pool": ("- {to: b, pool: 0}", 11, "pool must be a whole number from 1"),
    "paths": ("- {to: b, paths: []}", 11, "paths must not be empty"),
    "the same call twice": ("- to: b\n- {to: b, paths: [/x]}", 12, 'the call GET / to "b" comes twice for the same request'),
}  # fmt: skip


def refused(text: str, line: int, words: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(f"shop.yaml:{line}: ") + ".*" + re.escape(words)) as error:
        spec(text)
    assert error.value.exit_code == 2
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_graph_cannot_be_is_refused_with_its_line(case):
    refused(*REFUSED[case])


@pytest.mark.parametrize("case", VERSIONS)
def test_what_a_version_cannot_be_is_refused_with_its_line(case):
    text, line, words = VERSIONS[case]
    refused(f"entry: a\nservices:\n- name: a\n  versions:\n{textwrap.indent(text, '  ')}", line, words)


@pytest.mark.parametrize("case", CALLS)
def test_what_a_call_cannot_be_is_refused_with_its_line(case):
    text, line, words = CALLS[case]
    body = f"entry: a\nservices:\n- name: a\n  versions:\n  - name: v1\n    calls:\n{textwrap.indent(text, '    ')}\n- name: b"
    refused(body, line, words)


def test_a_cycle_is_refused_where_it_closes_with_the_way_round():
    services = "\n".join(
        f"- {{name: {source}, versions: [{{name: v1, calls: [{{to: {target}}}]}}]}}"
        for source, target in [("a", "b"), ("b", "c"), ("c", "d"), ("d", "b")]
    )
    refused(f"entry: a\nservices:\n{services}", 10, 'the call to "b" closes a cycle: b → c → d → b')


def test_two_ways_to_the_same_service_are_no_cycle():
    services = "\n".join(
        f"- {{name: {source}, versions: [{{name: v1, calls: [{calls}]}}]}}"
        for source, calls in [("a", "{to: b}, {to: c}"), ("b", "{to: d}"), ("c", "{to: d}"), ("d", "")]
    )
    assert len(spec(f"entry: a\nservices:\n{services}").services) == 4


def test_the_same_service_may_be_called_in_ways_that_a_request_tells_apart():
    body = "entry: a\nservices:\n- name: a\n  versions:\n  - name: v1\n    calls:\n"
    body += "    - {to: b, paths: [/x]}\n    - {to: b, paths: [/y]}\n    - {to: b, path: /z}\n- name: b"
    version = spec(body).service("a").versions[0]
    assert len(list(version.calls())) == 3
    assert version.section(next(version.calls())) == "b GET /"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", 1, "the file is empty"),
        ("- a", 1, "a Topology must be a mapping"),
        ("a: [1,\nb: 2", 2, "not YAML"),
        ("a: 'x", 1, "not YAML"),
        ("a: 1\n---\nb: 2", 2, "not YAML: but found another document"),
        ("a: \x00", 1, "not YAML"),
        ("kind: Topology", 1, 'a Topology needs "apiVersion"'),
        ("apiVersion: chaosmesh-ext/v2\nkind: Topology\nspec: {}", 1, 'unknown apiVersion "chaosmesh-ext/v2"'),
        (
            "apiVersion: chaosmesh-ext/v1alpha1\nkind: Service\nspec: {}",
            2,
            'unknown kind "Service"; known are Topology',
        ),
        ("apiVersion: chaosmesh-ext/v1alpha1\nkind: Topology\nmetadata: {}\nspec: {}", 3, 'metadata needs "name"'),
        ("? [a]\n: b", 1, "a key in a Topology must be a plain word"),
        ("&a [*a]", 1, "a Topology must be a mapping"),
    ],
)
def test_what_is_no_topology_at_all_is_refused_with_its_line(text, line, words):
    with pytest.raises(InvalidInput, match=re.escape(f"shop.yaml:{line}: ") + ".*" + re.escape(words)) as error:
        parse_topology(text, "shop.yaml")
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_or_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(NotFound, match=r"nowhere\.yaml: no such file"):
        load_topology(tmp_path / "nowhere.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"name: caf\xe9")
    with pytest.raises(InvalidInput, match="cannot be read"):
        load_topology(tmp_path / "latin.yaml")
    with pytest.raises(InvalidInput, match="cannot be read"):
        load_topology(tmp_path)


# --- gRPC -------------------------------------------------------------------------------------------------------------


def test_a_service_may_speak_grpc_and_its_callers_need_not_say_so():
    topology = spec("""
        entry: shop
        services:
        - name: shop
          versions:
          - name: v1
            calls: [{to: prices, timeout: 1s}, {to: prices, path: /shop.Prices/Get}]
        - {name: prices, protocol: grpc}
    """)
    assert [topology.service(name).grpc for name in ("shop", "prices")] == [False, True]
    assert [one.rpc for one in topology.service("shop").versions[0].calls()] == [
        "/chaosmesh.Echo/Call",
        "/shop.Prices/Get",
    ]
    assert topology.methods("prices") == ("/chaosmesh.Echo/Call", "/shop.Prices/Get")
    assert topology.methods("shop") == ("/chaosmesh.Echo/Call",)


@pytest.mark.parametrize(
    ("words", "call_words", "entry", "why"),
    [
        ("protocol: http3", "", "a", 'shop.yaml:8: unknown protocol "http3"; known are http, grpc'),
        ("protocol: grpc", ", method: GET", "a", 'shop.yaml:7: "b" speaks gRPC, which always POSTs: remove "method"'),
        ("protocol: grpc", ", path: /prices", "a", 'shop.yaml:7: path "/prices" must be a gRPC method, e.g. /shop.'),
        ("protocol: grpc", "", "b", 'shop.yaml:5: "b" speaks gRPC; people come by HTTP: put a service that does in'),
        ("protocol: grpc, versions: [{name: v1, status: 200}]", "", "a", '"status" has no meaning for a service that'),
        ("protocol: grpc, versions: [{name: v1, app: bookinfo-details}]", "", "a", '"app" has no meaning for a ser'),
    ],
)
def test_what_grpc_has_not_is_refused(words, call_words, entry, why):
    with pytest.raises(InvalidInput, match=re.escape(why)):
        spec(f"""
            entry: {entry}
            services:
            - {{name: a, versions: [{{name: v1, calls: [{{to: b{call_words}}}]}}]}}
            - {{name: b, {words}}}
        """)
