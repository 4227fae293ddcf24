"""Rewrites change what the callee sees, mirrors copy it, as under istiod."""

import pytest

HOST = "reviews:9080"


def arrived(mesh, app="reviews"):
    """The headers of the last request that reached APP."""
    return next(one.seen[-1] for name, one in mesh.apps.items() if name.startswith(f"{app}-") and one.seen)


@pytest.mark.parametrize(
    ("match", "rewrite", "path", "arrives"),
    [
        ({"prefix": "/api"}, {"uri": "/v1"}, "/api/reviews?q=1", "/v1/reviews?q=1"),
        ({"exact": "/api"}, {"uri": "/v1"}, "/api", "/v1"),
        ({"regex": "/a.*"}, {"uri": "/v1"}, "/api/reviews", "/v1"),
        (
            {"prefix": "/"},
            {"uriRegexRewrite": {"match": "^/service/([^/]+)(/.*)$", "rewrite": "\\2/instance/\\1"}},
            "/service/foo/v1/api",
            "/v1/api/instance/foo",
        ),
    ],
)
def test_the_path_is_rewritten(mesh, match, rewrite, path, arrives):
    mesh.route("reviews", {"match": [{"uri": match}], "rewrite": rewrite})
    assert mesh.call("sleep-v1", HOST, path).json["path"] == arrives


def test_the_authority_is_rewritten_for_the_callee_and_does_not_route(mesh):
    mesh.route("reviews", {"rewrite": {"authority": "elsewhere.com"}})
    assert mesh.call("sleep-v1", HOST).json["name"].startswith("reviews")
    assert arrived(mesh)["host"] == "elsewhere.com"


@pytest.mark.parametrize("name", ["host", ":authority", "Host"])
def test_an_authority_among_the_headers_is_rewritten_too(mesh, name):
    mesh.route("reviews", {"headers": {"request": {"set": {name: "elsewhere.com"}}}})
    mesh.call("sleep-v1", HOST)
    assert arrived(mesh)["host"] == "elsewhere.com"


def test_the_routes_authority_comes_before_the_destinations(mesh):
    named = {"request": {"set": {"host": "destination.com"}}}
    mesh.route("reviews", {"route": [{"destination": {"host": "reviews"}, "headers": named}]})
    mesh.call("sleep-v1", HOST)
    assert arrived(mesh)["host"] == "destination.com"
    mesh.route(
        "reviews",
        {"rewrite": {"authority": "route.com"}, "route": [{"destination": {"host": "reviews"}, "headers": named}]},
    )
    for app in mesh.apps.values():
        app.reset()
    mesh.call("sleep-v1", HOST)
    assert arrived(mesh)["host"] == "route.com"


def mirrored(mesh, count=20):
    """How many of COUNT requests reached copies as well, once the last of them is answered there."""
    for number in range(count):
        assert mesh.call("sleep-v1", HOST, f"/{number}").json["name"].startswith("reviews")
    return mesh.hits("copies")


@pytest.fixture(scope="module")
def copies(mesh_of_four):
    """A service whose application is asked for copies only."""
    mesh_of_four.service("copies")
    mesh_of_four.pod("copies")
    yield
    mesh_of_four.delete("Service", "copies")


@pytest.fixture
def shadow(mesh, copies):
    """The mesh with it."""
    return mesh


@pytest.mark.parametrize(
    "mirror",
    [
        {"mirror": {"host": "copies"}},
        {"mirror": {"host": "copies", "port": {"number": 9080}}, "mirrorPercentage": {"value": 100}},
        {"mirror": {"host": "copies"}, "mirrorPercent": 100},
        {"mirrors": [{"destination": {"host": "copies"}}]},
    ],
)
def test_a_mirror_gets_a_copy_of_every_request(shadow, helpers, mirror):
    shadow.route("reviews", mirror)
    mirrored(shadow)
    helpers.until(lambda: shadow.hits("copies") == 20, "20 copies")
    assert shadow.hits("reviews") == 20
    assert arrived(shadow, "copies")["host"] == HOST


@pytest.mark.parametrize("share", [{"mirrorPercentage": {"value": 0}}, {"mirrorPercentage": {}}, {"mirrorPercent": 0}])
def test_nothing_is_mirrored_at_0_percent(shadow, share):
    """An absent percentage means all, one of 0 none, where a fault's absent percentage means none."""
    shadow.route("reviews", {"mirror": {"host": "copies"}, **share})
    assert mirrored(shadow) == 0


def test_a_mirrors_failure_and_delay_are_nobodys_trouble(shadow, helpers):
    shadow.apps["copies-v1"].answer, shadow.apps["copies-v1"].delay = 500, 5.0
    shadow.route("reviews", {"mirror": {"host": "copies"}})
    reply = shadow.call("sleep-v1", HOST)
    assert reply.status == 200
    assert reply.took < 4.0
    helpers.until(lambda: shadow.hits("copies") == 1, "a copy")


def test_several_mirrors_get_a_copy_each(shadow, helpers):
    shadow.route(
        "reviews",
        {
            "mirrors": [
                {"destination": {"host": "copies"}},
                {"destination": {"host": "missing"}},
                {"destination": {"host": "copies"}},
            ]
        },
    )
    assert shadow.call("sleep-v1", HOST).status == 200
    helpers.until(lambda: shadow.hits("copies") == 2, "two copies")
