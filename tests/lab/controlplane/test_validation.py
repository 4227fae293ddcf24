"""What Istio's validation refuses is refused in its words, and what it lets through is let through."""

import pytest

from chaosmesh_ext.lab.controlplane.embedded.refusal import refusals

TO = {"destination": {"host": "reviews"}}


def vs(*http, **spec):
    return {"kind": "VirtualService", "spec": {"hosts": ["reviews"], "http": list(http), **spec}}


def route(**fields):
    return vs({"route": [TO], **fields})


def answer(**fields):
    return vs(fields)


def match(**fields):
    return route(match=[fields])


def fault(**fields):
    return route(fault=fields)


def dr(*, subsets=(), host="reviews", **policy):
    spec = {"host": host, "subsets": list(subsets)}
    return {"kind": "DestinationRule", "spec": {**spec, "trafficPolicy": policy} if policy else spec}


def outlier(**fields):
    return dr(outlierDetection=fields)


def pool(**fields):
    return dr(connectionPool=fields)


def gateway(*hosts, **port):
    server = {"port": {"number": 80, "name": "http", "protocol": "HTTP", **port}, "hosts": list(hosts)}
    return {"kind": "Gateway", "spec": {"servers": [server]}}


def envoy_filter(apply_to="VIRTUAL_HOST", context="SIDECAR_OUTBOUND", **patch):
    entry = {"applyTo": apply_to, "match": {"context": context}, "patch": patch}
    return {"kind": "EnvoyFilter", "spec": {"configPatches": [entry]}}


def headers(**fields):
    return route(headers={"request": fields})


LONG = "a" * 1025

INVALID = [
    # VirtualService
    (vs({"route": [TO]}, hosts=["*"]), "hosts: wildcard host * is not allowed for virtual services bound to the mesh"),
    (vs({"route": [TO]}, hosts=["a_b"]), 'domain name "a_b" invalid (label "a_b" invalid)'),
    (vs({"route": [TO]}, hosts=["a.b_c"]), 'domain name "b_c" invalid (label "b_c" invalid)'),
    (vs({"route": [TO]}, hosts=["a.7"]), 'domain name "7" invalid (top level domain "7" cannot be all-numeric)'),
    (vs({"route": [TO]}, hosts=[""]), "hosts[0]: empty domain name not allowed"),
    (vs({"route": [TO]}, hosts=["a.com", "*.com"]), "duplicate hosts in virtual service: a.com & *.com"),
    (vs({"route": [TO]}, hosts=["a", "a"]), "duplicate hosts in virtual service: a & a"),
    (vs({"route": [TO]}, gateways=["a/"]), "config namespace and gateway name cannot be empty"),
    (vs({"route": [TO]}, gateways=["a/b_c"]), 'invalid value for gateway name: "b_c"'),
    (vs({"route": [TO]}, gateways=["a_b/c"]), 'invalid value for namespace: "a_b"'),
    (vs({"route": [TO]}, exportTo=["*", "a"]), "cannot have both public (*) and non-public exportTo values"),
    (vs({"route": [TO]}, exportTo=["~"]), "exportTo ~ (none) is not allowed for Istio configuration objects"),
    (vs({"route": [TO]}, exportTo=["a", "a"]), "duplicate entries in exportTo for entry a"),
    (vs({"route": [TO]}, exportTo=["a_b"]), "only .,*, or a valid DNS 1123 label is allowed as exportTo entry"),
    (vs(), "http, tcp or tls must be provided in virtual service"),
    (route(route=[]), "http[0]: HTTP route, redirect or direct_response is required"),
    (route(route=[{**TO, "weight": 0}] * 2), "http[0].route: total destination weight = 0"),
    (route(route=[{**TO, "weight": -1}]), "weight -1 < 0"),
    (route(route=[{"destination": {"host": "*"}}]), "invalid destination host *"),
    (route(route=[{"destination": {"host": "reviews", "subset": "v_1"}}]), "subset name is invalid: v_1"),
    (route(route=[{"weight": 1}]), "route[0].destination: must be given"),
    (route(timeout="0s"), "http[0].timeout: must be a valid duration greater than 1ms"),
    (route(timeout="1.5ms"), "only durations to ms precision are supported"),
    (route(timeout="-1s"), "must be a valid duration greater than 1ms"),
    # redirect, directResponse, rewrite, mirror
    (route(redirect={"uri": "/"}), "HTTP route cannot contain both route and redirect"),
    (answer(redirect={"uri": "/"}, fault={"abort": {"httpStatus": 500}}), "cannot contain both fault and redirect"),
    (answer(redirect={"uri": "/"}, rewrite={"uri": "/"}), "HTTP route rule cannot contain both rewrite and redirect"),
    (answer(redirect={"uri": "/"}, directResponse={"status": 200}), "contain both direct_response and redirect"),
    (answer(redirect={}), "redirect must specify URI, authority, scheme, or port"),
    (answer(redirect={"uri": "/", "prefixRewrite": "/"}), "redirect may only specify one of uri or prefix_rewrite"),
    (answer(redirect={"uri": "/", "redirectCode": 200}), "200 is not a valid redirect code, must be 3xx"),
    (answer(redirect={"scheme": "ftp"}), 'invalid redirect scheme, must be "http" or "https"'),
    (answer(redirect={"port": 1, "derivePort": "FROM_REQUEST_PORT"}), "only one of derivePort, port may be given"),
    (
        answer(redirect={"prefixRewrite": "/"}, match=[{"uri": {"exact": "/a"}}]),
        "redirect prefix_rewrite requires all URI matches to use prefix match type",
    ),
    (route(directResponse={"status": 200}), "HTTP route cannot contain both route and direct_response"),
    (answer(directResponse={"status": 200}, fault={"delay": {}}), "cannot contain both fault and direct_response"),
    (answer(directResponse={"status": 200}, rewrite={"uri": "/"}), "contain both rewrite and direct_response"),
    (answer(directResponse={"status": 199}), "HTTP status 199 is not in range 200-599"),
    (answer(directResponse={}), "directResponse.status: must be given"),
    (answer(directResponse={"status": 200, "body": {"string": "x" * 1024**2 + "x"}}), "must be less than 1MB"),
    (answer(directResponse={"status": 200, "body": {"string": "x", "bytes": "eA=="}}), "only one of bytes, string"),
    (answer(directResponse={"status": 200, "body": {"bytes": "x"}}), "base64 is wanted"),
    (route(rewrite={}), "rewrite must specify at least one of URI, UriRegexRewrite, or authority"),
    (route(rewrite={"uri": "/", "uriRegexRewrite": {"match": "a", "rewrite": "b"}}), "may only contain one of URI or"),
    (route(rewrite={"uriRegexRewrite": {"match": "a"}}), "requires both Rewrite and Match fields to be specified"),
    (route(rewrite={"uriRegexRewrite": {"match": "(", "rewrite": "b"}}), "error parsing regexp: missing closing )"),
    (route(mirror={"host": "a"}, mirrors=[{"destination": {"host": "b"}}]), "cannot contain both mirror and mirrors"),
    (route(mirror={}), "mirror.host: must be given"),
    (route(mirrors=[{}]), "mirrors[0].destination: must be given"),
    (
        route(mirror={"host": "a"}, mirrorPercentage={"value": 101}),
        "mirror_percentage must have a max value of 100 (it has 101.000000)",
    ),
    (route(mirror={"host": "a"}, mirrorPercentage={"value": -1}), "mirror_percentage must have a min value of 0"),
    (route(mirror={"host": "a"}, mirrorPercent=101), "mirror_percent must have a max value of 100 (it has 101)"),
    (
        route(mirrors=[{"destination": {"host": "a"}, "percentage": {"value": 101}}]),
        "mirror percentage must have a max value of 100 (it has 101.000000)",
    ),
    # fault
    (fault(), "HTTP fault injection must have an abort and/or a delay"),
    (fault(abort={"httpStatus": 507, "percentage": {"value": 120}}), "percentage 120 is neither 0.0, nor in range"),
    (fault(abort={"httpStatus": 99}), "HTTP status 99 is not in range 200-599"),
    (fault(abort={"httpStatus": 500, "grpcStatus": "OK"}), "only one of grpcStatus, httpStatus may be given"),
    (fault(abort={"grpcStatus": "FINE"}), 'gRPC status "FINE" is not supported'),
    (fault(abort={"http2Error": "x"}), "HTTP/2 abort fault injection not supported yet"),
    (fault(delay={"fixedDelay": "7"}), "is not a duration"),
    (fault(delay={"fixedDelay": "0s"}), "must be a valid duration greater than 1ms"),
    (fault(delay={"exponentialDelay": "1s"}), "exponentialDelay not supported yet"),
    # retries
    (route(retries={"attempts": -1}), "attempts cannot be negative"),
    (route(retries={"attempts": 1, "retryOn": "5xx,gateway-eror"}), '"gateway-eror" is not a valid retryOn policy'),
    (route(retries={"attempts": 1, "retryOn": "999"}), '"999" is not a valid retryOn policy'),
    (route(retries={"attempts": 1, "retryOn": "5xx, 503"}), '" 503" is not a valid retryOn policy'),
    (route(retries={"attempts": 0, "perTryTimeout": "1s"}), "configured when attempts are set to 0 (disabled)"),
    (route(retries={"retryOn": "5xx"}), "http retry policy configured when attempts are set to 0 (disabled)"),
    (route(retries={"retryRemoteLocalities": False}), "configured when attempts are set to 0 (disabled)"),
    # match
    (match(uri={"exact": "/", "prefix": "/"}), "only one of exact, prefix may be given"),
    (match(uri={"regex": ""}), '"uri": regex string match should not be empty'),
    (match(method={"prefix": ""}), '"method": prefix string match should not be empty'),
    (match(headers={"x": {"regex": "("}}), '"headers": error parsing regexp: missing closing ): `(`; Istio uses RE2'),
    (match(headers={"x": {"regex": "*"}}), "missing argument to repetition operator"),
    (match(headers={"x": {"regex": "a(?=b)"}}), "invalid or unsupported Perl syntax: `(?=`"),
    (match(headers={"x": {"regex": r"(a)\1"}}), r"invalid escape sequence: `\1`"),
    (match(uri={"regex": LONG}), '"uri": regex is too large, max length allowed is 1024'),
    (match(headers={"": {}}), "header name cannot be empty"),
    (match(headers={"x y": {}}), "header name x y is not a valid header name"),
    (match(sourceNamespace="a_b"), "sourceNamespace match a_b is invalid"),
    (match(sourceLabels={"a": "b/c"}), 'invalid tag value: "b/c"'),
    (match(sourceLabels={"a b": "c"}), 'invalid tag key: "a b"'),
    # headers
    (headers(set={"": "x"}), "header name cannot be empty"),
    (headers(set={":path": "/"}), 'invalid header ":path": header cannot have ":" prefix'),
    (headers(remove=["Host"]), 'invalid header "Host": cannot set Host header'),
    (route(headers={"response": {"set": {"host": "x"}}}), 'invalid header "host": cannot set Host header'),
    (headers(set={"x": "a%"}), "header value configuration: invalid header configuration. Un-escaped %"),
    (headers(set={"x": "%START"}), "Un-terminated variable expression '%START'"),
    (headers(set={"x": "a\nb"}), "header value configuration a\nb is invalid"),
    (headers(set={"host": "a"}, add={":authority": "b"}), 'set multiple times: have "a", attempting to set "b"'),
    (
        route(rewrite={"authority": "a"}, headers={"request": {"set": {"Host": "b"}}}),
        'authority header cannot be set multiple times: have "a", attempting to set "b"',
    ),
    # DestinationRule
    ({"kind": "DestinationRule", "spec": {}}, "spec.host: must be given"),
    (dr(host="a_b"), 'domain name "a_b" invalid'),
    (dr(subsets=[{"name": "v1"}, {"name": "v1"}]), "subsets[1].name: duplicate subset names: v1"),
    (dr(subsets=[{"name": "v_1"}]), "subset name is invalid: v_1"),
    (dr(subsets=[{"name": "v1", "labels": {"a": "!"}}]), 'invalid tag value: "!"'),
    (dr(subsets=[{"name": "v1", "trafficPolicy": {}}]), "traffic policy must have at least one field"),
    (pool(), "connection pool must have at least one field"),
    (pool(tcp={"maxConnections": -1}), "max connections must be non-negative"),
    (pool(http={"http1MaxPendingRequests": -1}), "http1 max pending requests must be non-negative"),
    (pool(http={"idleTimeout": "0s"}), "must be a valid duration greater than 1ms"),
    (outlier(consecutiveLocalOriginFailures=3), "split external local origin errors is set to false"),
    (outlier(maxEjectionPercent=101), "percentage 101 is not in range 0..100"),
    (outlier(interval="0s"), "must be a valid duration greater than 1ms"),
    (dr(loadBalancer={"simple": "FASTEST"}), "'FASTEST' is none of"),
    (dr(portLevelSettings=[{"port": {"number": 1}}]), "port traffic policy must have at least one field"),
    # Gateway
    ({"kind": "Gateway", "spec": {}}, "gateway must have at least one server"),
    (gateway(), "server config must contain at least one host"),
    (gateway("reviews"), "short names (non FQDN) are not allowed"),
    (gateway("/a.com"), "config namespace and dnsName in host entry cannot be empty"),
    (gateway("a_b/a.com"), 'invalid namespace value "a_b" in gateway'),
    (gateway("*", protocol="HTTP9"), 'invalid protocol "HTTP9", supported protocols are HTTP, HTTP2, GRPC'),
    (gateway("*", name=""), "port name must be set"),
    (
        {"kind": "Gateway", "spec": {"servers": gateway("*")["spec"]["servers"] * 2}},
        "port names in servers must be unique: duplicate name http",
    ),
    # EnvoyFilter
    ({"kind": "EnvoyFilter", "spec": {"configPatches": [{}]}}, "Envoy filter: missing applyTo"),
    ({"kind": "EnvoyFilter", "spec": {"configPatches": [{"applyTo": "HTTP_ROUTE"}]}}, "Envoy filter: missing patch"),
    (envoy_filter(), "Envoy filter: missing patch operation"),
    (envoy_filter(operation="MERGE"), "Envoy filter: missing patch value for non-remove operation"),
    (envoy_filter(operation="MERGE", value={"rutes": []}), "Unknown field 'rutes' in message VirtualHost"),
    (
        envoy_filter(
            operation="MERGE",
            value={"typed_per_filter_config": {"a": {"@type": "type.googleapis.com/envoy.Nonsense"}}},
        ),
        "type.googleapis.com/envoy.Nonsense",
    ),
]


@pytest.mark.parametrize(("obj", "words"), INVALID)
def test_what_istio_refuses_is_refused_with_its_reason(obj, words):
    """The API server may refuse it first, as Istio's webhook does; the control plane does not rely on that."""
    found = refusals(obj)
    assert any(words in str(one) for one in found), found
    assert {one.reason for one in found} == {"Invalid"}


VALID = [
    vs({"route": [TO]}, hosts=["*.com", "10.0.0.1", "a-b.default"], exportTo=["."], gateways=["mesh", "a/b", "c"]),
    vs({"route": [TO]}, hosts=["*"], gateways=["a/b"]),
    vs({"route": [TO]}, {"route": [TO]}),
    answer(redirect={"derivePort": "FROM_PROTOCOL_DEFAULT"}),
    answer(redirect={"prefixRewrite": "/b"}, match=[{"uri": {"prefix": "/a"}}, {"port": 1}]),
    answer(directResponse={"status": 600, "body": {}}),
    route(mirror={"host": "a", "port": {"number": 80}}, mirrorPercent=1),
    fault(delay={}),
    fault(abort={}),
    fault(delay={"fixedDelay": "1ms", "percent": 50}, abort={"grpcStatus": "UNKNOWN"}),
    route(retries={"attempts": 0, "retryOn": ""}),
    route(retries={}),
    route(retries={"attempts": 3, "retryOn": "503,gateway-error", "retryRemoteLocalities": True, "backoff": "1ms"}),
    match(uri={"prefix": ""}),
    match(uri={}),
    match(headers={":path": {"regex": r"[(?=]\\1.*"}}, withoutHeaders={"x": {"regex": "*"}}),
    match(headers={"x": {"regex": r"^*\pL(?i)a"}}),
    headers(set={"Host": "a", "x": "100%% of %DOWNSTREAM_REMOTE_ADDRESS% %REQ(x)%"}, add={"y": "z"}, remove=["z"]),
    dr(subsets=[{"name": "v1", "labels": {"example.com/a": ""}}]),
    pool(tcp={"idleTimeout": "0s"}, http={}),
    outlier(consecutive5xxErrors=0, maxEjectionPercent=0),
    gateway("./a.com", "*/*", "b/c.com", "10.0.0.1", protocol="http"),
    envoy_filter("HTTP_ROUTE", operation="REMOVE"),
]


@pytest.mark.parametrize("obj", VALID)
def test_what_istio_lets_through_is_let_through(obj):
    """With or without a warning."""
    assert refusals(obj) == []
