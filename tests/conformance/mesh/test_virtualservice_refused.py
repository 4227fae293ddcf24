"""VirtualService: what is refused, and in which words.

The lab's own control plane says it in a condition and an Event, where istiod's webhook answers the writer.
"""

from __future__ import annotations

import pytest
from refused import refused

TO = {"destination": {"host": "reviews"}}
PROTOCOLS = "http, tcp or tls must be provided in virtual service"


def vs(*http, **spec):
    return {"hosts": ["reviews"], "http": list(http), **spec}


def route(**fields):
    return vs({"route": [TO], **fields})


def answer(**fields):
    return vs(fields)


def match(**fields):
    return route(match=[fields])


def headers(**fields):
    return route(headers={"request": fields})


CASES = [
    ("hosts: * in the mesh", vs({"route": [TO]}, hosts=["*"]), "wildcard host * is not allowed for virtual services"),
    (
        "hosts: a name that is none",
        vs({"route": [TO]}, hosts=["a_b"]),
        'domain name "a_b" invalid (label "a_b" invalid)',
    ),
    ("hosts: a number as the last label", vs({"route": [TO]}, hosts=["a.7"]), 'top level domain "7" cannot be all-num'),
    (
        "hosts: one that covers another",
        vs({"route": [TO]}, hosts=["a.com", "*.com"]),
        "duplicate hosts in virtual serv",
    ),
    (
        "gateways: a namespace that is none",
        vs({"route": [TO]}, gateways=["a_b/c"]),
        'invalid value for namespace: "a_b"',
    ),
    (
        "exportTo: * and a namespace",
        vs({"route": [TO]}, exportTo=["*", "a"]),
        "cannot have both public (*) and non-pub",
    ),
    ("exportTo: ~", vs({"route": [TO]}, exportTo=["~"]), "exportTo ~ (none) is not allowed for Istio configuration"),
    ("exportTo: one twice", vs({"route": [TO]}, exportTo=["a", "a"]), "duplicate entries in exportTo for entry a"),
    ("no http at all", vs(), PROTOCOLS),
    ("a route that does nothing", answer(name="x"), "HTTP route, redirect or direct_response is required"),
    ("weights that are all 0", route(route=[{**TO, "weight": 0}] * 2), "total destination weight = 0"),
    ("a weight below 0", route(route=[{**TO, "weight": -1}]), "weight -1 < 0"),
    ("destination.host *", route(route=[{"destination": {"host": "*"}}]), "invalid destination host *"),
    (
        "destination.subset",
        route(route=[{"destination": {"host": "a", "subset": "v_1"}}]),
        "subset name is invalid: v_1",
    ),
    ("timeout 0s", route(timeout="0s"), "must be a valid duration greater than 1ms"),
    ("timeout 1500us", route(timeout="1500us"), "only durations to ms precision are supported"),
    ("route and redirect", route(redirect={"uri": "/"}), "HTTP route cannot contain both route and redirect"),
    (
        "fault and redirect",
        answer(redirect={"uri": "/"}, fault={"abort": {"httpStatus": 500}}),
        "both fault and redirect",
    ),
    ("rewrite and redirect", answer(redirect={"uri": "/"}, rewrite={"uri": "/"}), "both rewrite and redirect"),
    (
        "directResponse and redirect",
        answer(redirect={"uri": "/"}, directResponse={"status": 200}),
        "direct_response and",
    ),
    ("an empty redirect", answer(redirect={}), "redirect must specify URI, authority, scheme, or port"),
    (
        "redirect.redirectCode 200",
        answer(redirect={"uri": "/", "redirectCode": 200}),
        "200 is not a valid redirect code",
    ),
    ("redirect.scheme ftp", answer(redirect={"scheme": "ftp"}), 'invalid redirect scheme, must be "http" or "https"'),
    (
        "redirect.prefixRewrite behind uri.exact",
        answer(redirect={"prefixRewrite": "/"}, match=[{"uri": {"exact": "/a"}}]),
        "redirect prefix_rewrite requires all URI matches to use prefix match type",
    ),
    (
        "route and directResponse",
        route(directResponse={"status": 200}),
        "cannot contain both route and direct_response",
    ),
    (
        "fault and directResponse",
        answer(directResponse={"status": 200}, fault={"abort": {"httpStatus": 500}}),
        "HTTP route cannot contain both fault and direct_response",
    ),
    ("directResponse.status 199", answer(directResponse={"status": 199}), "HTTP status 199 is not in range 200-599"),
    ("an empty rewrite", route(rewrite={}), "rewrite must specify at least one of URI, UriRegexRewrite, or authority"),
    (
        "rewrite.uri and rewrite.uriRegexRewrite",
        route(rewrite={"uri": "/", "uriRegexRewrite": {"match": "a", "rewrite": "b"}}),
        "rewrite may only contain one of URI or UriRegexRewrite",
    ),
    ("half a rewrite.uriRegexRewrite", route(rewrite={"uriRegexRewrite": {"match": "a"}}), "requires both Rewrite and"),
    (
        "mirror and mirrors",
        route(mirror={"host": "a"}, mirrors=[{"destination": {"host": "b"}}]),
        "HTTP route cannot contain both mirror and mirrors",
    ),
    (
        "mirrorPercentage 101",
        route(mirror={"host": "a"}, mirrorPercentage={"value": 101}),
        "max value of 100 (it has 101",
    ),
    ("mirrorPercentage -1", route(mirror={"host": "a"}, mirrorPercentage={"value": -1}), "must have a min value of 0"),
    ("mirrorPercent 101", route(mirror={"host": "a"}, mirrorPercent=101), "must have a max value of 100 (it has 101)"),
    ("retries.attempts -1", route(retries={"attempts": -1}), "attempts cannot be negative"),
    ("retries.retryOn 999", route(retries={"attempts": 1, "retryOn": "999"}), '"999" is not a valid retryOn policy'),
    (
        "retries.retryOn with a space",
        route(retries={"attempts": 1, "retryOn": "5xx, 503"}),
        '" 503" is not a valid retryOn',
    ),
    ("retries without attempts", route(retries={"retryOn": "5xx"}), "configured when attempts are set to 0 (disabled)"),
    ("match.uri.regex empty", match(uri={"regex": ""}), '"uri": regex string match should not be empty'),
    ("match.method.prefix empty", match(method={"prefix": ""}), '"method": prefix string match should not be empty'),
    (
        "match.headers.regex (",
        match(headers={"x": {"regex": "("}}),
        '"headers": error parsing regexp: missing closing )',
    ),
    ("match.headers.regex *", match(headers={"x": {"regex": "*"}}), "missing argument to repetition operator: `*`"),
    (
        "match.headers.regex a(?=b)",
        match(headers={"x": {"regex": "a(?=b)"}}),
        "invalid or unsupported Perl syntax: `(?=`",
    ),
    ("match.headers.regex (a)\\1", match(headers={"x": {"regex": r"(a)\1"}}), r"invalid escape sequence: `\1`"),
    ("match.uri.regex too long", match(uri={"regex": "a" * 1025}), "regex is too large, max length allowed is 1024"),
    ("match.headers, no name", match(headers={"x y": {}}), "header name x y is not a valid header name"),
    ("match.sourceNamespace", match(sourceNamespace="a_b"), "sourceNamespace match a_b is invalid"),
    ("match.sourceLabels", match(sourceLabels={"a": "b/c"}), 'invalid tag value: "b/c"'),
    (
        "headers.request.set of :path",
        headers(set={":path": "/"}),
        'invalid header ":path": header cannot have ":" prefix',
    ),
    ("headers.request.remove of Host", headers(remove=["Host"]), 'invalid header "Host": cannot set Host header'),
    ("headers.request.set, a lone %", headers(set={"x": "a%"}), "invalid header configuration. Un-escaped %"),
    (
        "headers.request.set, half a variable",
        headers(set={"x": "%START"}),
        "Un-terminated variable expression '%START'",
    ),
    (
        "two authorities",
        route(rewrite={"authority": "a"}, headers={"request": {"set": {"Host": "b"}}}),
        'authority header cannot be set multiple times: have "a", attempting to set "b"',
    ),
]


@pytest.mark.parametrize(("case", "spec", "words"), CASES, ids=[one[0] for one in CASES])
def test_it_is_refused(mesh, seen, case, spec, words):
    """{case}"""
    text = refused(mesh, "VirtualService", "refused", spec)
    assert words in text
    seen(f"refused: {text}")


TAKEN = [
    ("two routes without a match", vs({"route": [TO]}, {"route": [TO]})),
    ("a gateway's name in its old form", vs({"route": [TO]}, gateways=["entry.default.svc.cluster.local"])),
    ("the deprecated mirrorPercent", route(mirror={"host": "details"}, mirrorPercent=1)),
    ("retries with attempts 0 alone", route(retries={"attempts": 0})),
    ("match.withoutHeaders.regex *", match(withoutHeaders={"x": {"regex": "*"}})),
    ("match.uri.prefix empty", match(uri={"prefix": ""})),
    ("a destination that is not there", route(route=[{"destination": {"host": "missing"}}])),
]


@pytest.mark.parametrize(("case", "spec"), TAKEN, ids=[one[0] for one in TAKEN])
def test_it_is_taken(mesh, seen, case, spec):
    """{case}"""
    mesh.apply("VirtualService", "taken", spec)
    assert mesh.problems() == []
    seen("taken")
