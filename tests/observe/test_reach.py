"""From a setting to an opened client: credentials, authorities and proxies, over real sockets."""

from __future__ import annotations

import ssl

import pytest

from chaosmesh_ext.errors import InvalidInput, Unreachable
from chaosmesh_ext.lab.identity import Authority
from chaosmesh_ext.mesh.service_url import ServiceUrl
from chaosmesh_ext.observe import reach
from chaosmesh_ext.observe.http import request
from chaosmesh_ext.observe.jaeger import Jaeger
from chaosmesh_ext.observe.prometheus import Prometheus
from chaosmesh_ext.observe.reach import Target, mistakes, target
from chaosmesh_ext.settings import Settings, load

NAMES = ("app", "jaeger", "prometheus")
PROXIES = ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY")


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    """Nor a client that an earlier test opened."""
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
    yield
    reach.close()


class TestServiceUrls:
    @pytest.mark.parametrize(
        ("url", "namespace", "service", "port", "https", "path"),
        [
            ("k8s://istio-system/tracing:80", "istio-system", "tracing", 80, False, ""),
            ("k8s://a/b:1/", "a", "b", 1, False, "/"),
            ("k8s://a/b:65535/jaeger/api?x=1", "a", "b", 65535, False, "/jaeger/api?x=1"),
            ("k8s://a/b:80?x=1", "a", "b", 80, False, "?x=1"),
            ("k8s://a/https:b:443/x", "a", "b", 443, True, "/x"),
            ("k8s://a/http:b:80", "a", "b", 80, False, ""),
        ],
    )
    def test_a_service_is_written_like_this(self, url, namespace, service, port, https, path):
        assert ServiceUrl.read(url) == ServiceUrl(namespace, service, port, https, path)

    @pytest.mark.parametrize(
        ("url", "words"),
        [
            ("k8s://a/b", "it has no port"),
            ("k8s://a/b:", "it has no port"),
            ("k8s://a/b/c:80", "it has no port"),
            ("k8s://a/b:http", "the port 'http' is no number"),
            ("k8s://a/b:0", "the port '0' is no number"),
            ("k8s://a/b:65536", "the port '65536' is no number"),
            ("k8s://a/b:²", "is no number"),
            ("k8s://a/b:80:90", "the port '80:90' is no number"),
            ("k8s://a:80/b", "the port stands behind the service"),
            ("k8s://a", "is no Service's name"),
            ("k8s://a/:80", "is no Service's name"),
            ("k8s://a/B_c:80", "is no Service's name"),
            ("k8s:///b:80", "is no namespace"),
            ("k8s://a.b/c:80", "is no namespace"),
            ("k8s://me:s3cret@a/b:80", "takes no user and password"),
        ],
    )
    def test_what_is_none_is_refused_in_one_line_before_anything_is_asked(self, url, words):
        for ask in (
            lambda: Jaeger(url),
            lambda: Prometheus(url),
            lambda: request(url, None),
            lambda: target(Settings(app_url=url), "app"),
            lambda: target(Settings(), "jaeger", url),
        ):
            with pytest.raises(InvalidInput, match=words) as refused:
                ask()
            assert "\n" not in str(refused.value)
            assert "s3cret" not in str(refused.value)

    def test_without_a_kubeconfig_there_is_no_cluster(self, monkeypatch, tmp_path):
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.delenv("KUBECONFIG", raising=False)
        with pytest.raises(InvalidInput, match="no kubeconfig"):
            Jaeger("k8s://a/b:80").services()


class TestCredentials:
    @pytest.mark.parametrize("name", NAMES)
    def test_token_and_headers_of_its_settings_arrive(self, told, name):
        told.says(200, {"status": "success", "data": {"resultType": "vector", "result": []}})
        text = "X-Scope-OrgID=team-a, X-Other=b%2Cc"
        environ = {
            f"{name.upper()}_{end}": value for end, value in (("URL", told.url), ("TOKEN", "t\n"), ("HEADERS", text))
        }
        aim = target(load(environ), name)
        Prometheus(aim).query("up") if name == "prometheus" else request(aim, None)
        sent = told.asked[0][2]
        assert (sent["authorization"], sent["x-scope-orgid"], sent["x-other"]) == ("Bearer t", "team-a", "b,c")

    def test_a_requests_own_header_goes_before_the_settings(self, told):
        told.says(200, "")
        settings = Settings(
            app_url=told.url, app_token="t", app_headers='{"X-Env": "prod", "Cookie": "tea=oolong; cup=large"}'
        )
        request(target(settings, "app"), None, headers={"Authorization": "Basic mine", "x-env": "test"})
        sent = told.asked[0][2]
        assert (sent["authorization"], sent["x-env"], sent["cookie"]) == ("Basic mine", "test", "tea=oolong; cup=large")

    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize(
        "url",
        [
            "http://127.0.0.2:{port}/x",
            "http://127.0.0.1:1/x",
            "https://127.0.0.1:{port}",
            "k8s://a/b:{port}",
            "nonsense",
        ],
    )
    def test_they_go_nowhere_else(self, name, url):
        """An experiment that names another host does not get the token of this one."""
        own = {f"{name}_url": "http://127.0.0.1:8080/base", f"{name}_token": "s3cret", f"{name}_headers": "a=b"}
        assert target(Settings(**own), name, url.format(port=8080)).headers == {}
        assert target(Settings(**own), name, "http://127.0.0.1:8080/other").headers != {}

    def test_a_url_that_no_setting_names_gets_a_stores_token_and_not_the_applications(self):
        settings = Settings(app_token="a", jaeger_token="b")
        assert target(settings, "app", "http://127.0.0.1:1").headers == {}
        assert target(settings, "jaeger", "http://127.0.0.1:1").headers == {"authorization": "Bearer b"}

    @pytest.mark.parametrize(
        ("end", "value"),
        [
            ("token", "s3cret and more"),
            ("headers", "s3cret"),
            ("headers", "=s3cret"),
            ("headers", '{"a": s3cret}'),
            ("headers", '{"a": 1, "b": "s3cret\\n"}'),
            ("headers", "a=s3cret%0A"),
        ],
    )
    def test_what_cannot_be_sent_is_refused_and_not_shown(self, end, value):
        settings = Settings(jaeger_url="http://127.0.0.1:1", **{f"jaeger_{end}": value})
        [line] = mistakes(settings)
        assert line.startswith(f"JAEGER_{end.upper()}")
        assert "s3cret" not in line
        assert "\n" not in line

    def test_nothing_of_a_secret_is_in_what_is_printed(self):
        more = {"jaeger_token": "s3cret", "app_headers": "a=s3cret", "prometheus_client_key": "s3cret"}
        settings = Settings(jaeger_url="http://user:s3cret@127.0.0.1:1", **more)
        aim = target(settings, "jaeger")
        assert "s3cret" not in f"{aim!r} {aim} {Jaeger(aim).url} {reach.Tls(key='s3cret')!r}"
        assert "s3cret" not in repr(Settings(**more))


class TestTls:
    @pytest.fixture
    def people(self) -> Authority:
        return Authority()

    @pytest.fixture
    def secured(self, told, tmp_path, people):
        """Our server, to whom only people with a certificate speak; and who vouches for it."""
        authority = Authority()
        pair = authority.server("127.0.0.1")
        (tmp_path / "pair.pem").write_bytes(pair.chain + pair.key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "pair.pem")
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=people.root.decode())
        told.server.socket = context.wrap_socket(told.server.socket, server_side=True)
        told.url = told.url.replace("http:", "https:")

        def answer(handler) -> None:
            names = handler.path == "/api/services"
            body = b'{"data": []}' if names else b'{"status":"success","data":{"resultType":"vector","result":[]}}'
            handler.send_response(200)
            handler.send_header("content-length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body)

        told.answer = answer
        return authority

    def ask(self, settings: Settings, name: str) -> None:
        aim = target(settings, name)
        if name == "jaeger":
            Jaeger(aim).services()
        elif name == "prometheus":
            Prometheus(aim).query("up")
        elif (answer := request(aim, None)[0]).error:
            raise Unreachable(answer.error)

    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize("files", [True, False])
    def test_authority_and_client_certificate_are_files_or_pem(self, told, secured, people, tmp_path, name, files):
        pair = people.server("me")
        given = {"ca": secured.root.decode(), "client_cert": pair.chain.decode(), "client_key": pair.key.decode()}
        if files:
            for end, text in given.items():
                (tmp_path / end).write_text(text)
            given = {end: str(tmp_path / end) for end in given}
        environ = {f"{name}_{end}".upper(): value for end, value in {"url": told.url, **given}.items()}
        self.ask(load(environ), name)
        assert len(told.asked) == 1

    @pytest.mark.parametrize("name", NAMES)
    def test_who_vouches_for_it_is_checked_unless_a_setting_says_otherwise(self, told, secured, people, name):
        pair = people.server("me")
        mine = {f"{name}_client_cert": pair.chain.decode(), f"{name}_client_key": pair.key.decode()}
        settings = Settings(**{f"{name}_url": told.url, **mine})
        with pytest.raises(Unreachable, match="certificate verify failed"):
            self.ask(settings, name)
        wrong = {f"{name}_ca": Authority().root.decode()}
        with pytest.raises(Unreachable, match="certificate verify failed"):
            self.ask(Settings(**{f"{name}_url": told.url, **mine, **wrong}), name)
        assert told.asked == []
        self.ask(Settings(**{f"{name}_url": told.url, **mine, f"{name}_insecure": True}), name)
        assert len(told.asked) == 1

    def test_another_targets_certificate_is_not_shown(self, told, secured, people):
        pair = people.server("me")
        both = {"app_url": told.url, "jaeger_url": told.url, "app_ca": secured.root.decode()}
        settings = Settings(
            **both,
            jaeger_ca=secured.root.decode(),
            jaeger_client_cert=pair.chain.decode(),
            jaeger_client_key=pair.key.decode(),
        )
        self.ask(settings, "jaeger")
        with pytest.raises(Unreachable):
            self.ask(settings, "app")
        assert len(told.asked) == 1

    @pytest.mark.parametrize(
        ("end", "value", "words"),
        [
            ("ca", "/nowhere/ca.pem", r"JAEGER_CA=/nowhere/ca\.pem cannot be read"),
            ("ca", "-----BEGIN s3cret", "authority is no PEM"),
            ("client_cert", "-----BEGIN s3cret", "needs its key"),
            ("client_key", "-----BEGIN s3cret", "needs its key"),
        ],
    )
    def test_material_that_is_none_is_said_in_one_line(self, end, value, words):
        settings = Settings(jaeger_url="https://127.0.0.1:1", **{f"jaeger_{end}": value})
        with pytest.raises(InvalidInput, match=words) as refused:
            target(settings, "jaeger")
        assert "s3cret" not in str(refused.value)


class TestProxies:
    @pytest.mark.parametrize("name", [name for name in PROXIES if not name.lower().startswith("no")])
    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
    def test_loopback_is_never_behind_one(self, told, monkeypatch, name, host):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
        told.says(200, "")
        aim = Target.of(told.url.replace("127.0.0.1", host))
        assert request(aim, None)[0].status == 200
        assert aim.how() == "directly"

    @pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
    def test_others_are(self, told, monkeypatch, name):
        monkeypatch.setenv(name, told.url.replace("://", "://me:s3cret@"))
        told.says(200, "")
        aim = Target.of("http://shop.example/a")
        assert request(aim, None)[0].status == 200
        assert told.asked[0][1] == "http://shop.example/a"
        assert told.asked[0][2]["proxy-authorization"].startswith("Basic ")
        assert aim.how() == f"through the proxy {told.url}"

    @pytest.mark.parametrize("excepted", ["*", "10.0.0.0/8", "10.9.8.7", "10.9.8.7:1", "a, 10.9.8.7"])
    def test_unless_no_proxy_names_them(self, monkeypatch, excepted):
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
        monkeypatch.setenv("NO_PROXY", excepted)
        assert Target.of("http://10.9.8.7:1").how() == "directly"

    def test_one_that_cannot_be_used_is_said_without_its_password(self, monkeypatch):
        monkeypatch.setenv("ALL_PROXY", "ftp://me:s3cret@127.0.0.1:9")
        with pytest.raises(InvalidInput, match=r"the proxy ftp://127\.0\.0\.1:9 cannot be used") as refused:
            request("http://shop.example/", None)
        assert "s3cret" not in str(refused.value)
