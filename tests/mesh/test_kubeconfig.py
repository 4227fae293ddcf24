"""Kubeconfigs mean here what they mean to kubectl."""

from __future__ import annotations

import json
import os
import subprocess

import pytest
from kubeconfig_files import coded, one, write

from chaosmesh_ext import errors
from chaosmesh_ext.lab import tools
from chaosmesh_ext.mesh.connect import load, origin
from chaosmesh_ext.mesh.transport import Kubeconfig

CONTEXT = {"cluster": "c", "user": "u"}


class TestSeveralFiles:
    def test_the_first_file_that_names_a_thing_counts(self, tmp_path):
        """Entries are taken whole; the `kubernetes` package takes the last current-context, kubectl the first."""
        first = write(tmp_path / "a", users={"u": {"token": "first"}}, current="x")
        second = write(
            tmp_path / "b",
            clusters={"c": {"server": "http://second"}, "d": {"server": "http://other"}},
            users={"u": {"token": "second", "as": "nobody"}},
            contexts={"x": CONTEXT, "y": {"cluster": "d", "user": "u"}},
            current="y",
        )
        access = load(Kubeconfig((first, second)))
        assert (access.host, access.authorization, access.headers) == ("http://second", "Bearer first", ())
        assert load(Kubeconfig((first, second), "y")).host == "http://other"

    def test_a_relative_path_starts_at_the_folder_of_its_own_file(self, tmp_path):
        first = write(
            tmp_path / "one" / "config",
            clusters={"c": {"server": "https://a", "certificate-authority": "ca.pem"}},
            contexts={"x": CONTEXT},
            current="x",
        )
        second = write(tmp_path / "two" / "config", users={"u": {"client-certificate": "c.pem", "client-key": "k.pem"}})
        (tmp_path / "one" / "ca.pem").write_text("authority")
        (tmp_path / "two" / "c.pem").write_text("certificate")
        (tmp_path / "two" / "k.pem").write_text("key")
        access = load(Kubeconfig((first, second)))
        assert (access.ca, access.cert, access.key) == (b"authority", b"certificate", b"key")

    @pytest.mark.skipif(tools.find("kubectl") is None, reason="kubectl is not built: chaos mesh lab tools")
    @pytest.mark.parametrize("order", ["abc", "acb", "bac", "bca", "cab", "cba"])
    def test_kubectl_merges_them_so(self, tmp_path, order):
        write(tmp_path / "a", users={"u": {"token": "a"}}, contexts={"x": CONTEXT}, current="x")
        write(tmp_path / "b", clusters={"c": {"server": "http://b"}}, users={"u": {"token": "b"}}, current="west")
        write(
            tmp_path / "c",
            clusters={"c": {"server": "http://c"}, "d": {"server": "http://d"}},
            users={"v": {"username": "v", "password": "w"}},
            contexts={"x": {"cluster": "d", "user": "v"}, "west": {"cluster": "d", "user": "u"}},
            current="",
        )
        files = tuple(str(tmp_path / name) for name in order)
        view = subprocess.run(
            [str(tools.need("kubectl")), "config", "view", "--raw", "--minify", "-o", "json"],
            env={**os.environ, "KUBECONFIG": os.pathsep.join(files)},
            check=True,
            capture_output=True,
        )
        told = json.loads(view.stdout)
        user = told["users"][0]["user"]
        expected = f"Bearer {user['token']}" if "token" in user else f"Basic {coded('v:w')}"
        access = load(Kubeconfig(files))
        assert (access.host, access.authorization) == (told["clusters"][0]["cluster"]["server"], expected)

    def test_files_of_the_environment_that_are_not_there_are_passed_over(self, tmp_path, monkeypatch):
        there = write(
            tmp_path / "a", clusters={"c": {"server": "http://a"}}, contexts={"x": {"cluster": "c"}}, current="x"
        )
        monkeypatch.setenv("KUBECONFIG", os.pathsep.join([str(tmp_path / "none"), there, ""]))
        assert origin() == Kubeconfig((there,))
        assert load(origin()).host == "http://a"

    def test_what_another_process_reads_does_not_hang_on_its_folder(self, tmp_path, monkeypatch):
        write(tmp_path / "a", clusters={"c": {"server": "http://a"}}, contexts={"x": {"cluster": "c"}}, current="x")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("KUBECONFIG", "a")
        found = origin()
        monkeypatch.chdir("/")
        assert load(found).host == "http://a"


class TestUsers:
    @pytest.mark.parametrize(
        ("user", "authorization"),
        [
            ({"token": "t"}, "Bearer t"),
            ({"tokenFile": "file"}, "Bearer from-file"),
            ({"tokenFile": "file", "token": "t"}, "Bearer from-file"),
            ({"tokenFile": "none", "token": "t"}, "Bearer t"),
            ({"username": "me", "password": "pä"}, "Basic " + coded("me:pä")),
            ({"token": "t", "exec": {"command": "/none", "apiVersion": "v1"}}, "Bearer t"),
            ({}, ""),
        ],
    )
    def test_what_comes_first_counts(self, tmp_path, user, authorization):
        (tmp_path / "file").write_text("from-file\n")
        assert one(tmp_path, user).authorization == authorization

    def test_data_comes_before_files(self, tmp_path):
        user = {"client-certificate-data": coded("c"), "client-certificate": "none", "client-key-data": coded("k")}
        access = one(tmp_path, user, **{"certificate-authority-data": coded("a"), "certificate-authority": "none"})
        assert (access.ca, access.cert, access.key) == (b"a", b"c", b"k")

    def test_who_to_act_as_is_told(self, tmp_path):
        user = {"as": "jane", "as-uid": "7", "as-groups": ["a", "b"], "as-user-extra": {"why": ["x", "y"]}}
        assert one(tmp_path, user).headers == (
            ("Impersonate-User", "jane"),
            ("Impersonate-Uid", "7"),
            ("Impersonate-Group", "a"),
            ("Impersonate-Group", "b"),
            ("Impersonate-Extra-why", "x"),
            ("Impersonate-Extra-why", "y"),
        )

    def test_the_clusters_words_arrive(self, tmp_path):
        words = {"tls-server-name": "api", "insecure-skip-tls-verify": True, "proxy-url": "http://proxy:1"}
        access = one(tmp_path, **words)
        assert (access.host, access.verify, access.server_name, access.proxy) == (
            "https://10.0.0.1:6443",
            False,
            "api",
            "http://proxy:1",
        )

    def test_a_legacy_auth_provider_is_left_to_the_kubernetes_package(self, tmp_path):
        provider = {"name": "gcp", "config": {"access-token": "t", "expiry": "2999-01-01T00:00:00Z"}}
        authority = coded("a")
        access = one(tmp_path, {"auth-provider": provider}, **{"certificate-authority-data": authority})
        assert (access.authorization, access.ca) == ("Bearer t", b"a")


class TestMistakes:
    @pytest.mark.parametrize(
        ("cluster", "user", "words"),
        [
            ({"server": ""}, {}, "cluster c is no URL"),
            ({"server": "10.0.0.1:6443"}, {}, "cluster c is no URL"),
            ({"certificate-authority": "none"}, {}, "certificate-authority: .*none"),
            ({"certificate-authority-data": "%"}, {}, "certificate-authority-data is not base64"),
            ({"proxy-url": "socks5://a"}, {}, "SOCKS"),
            ({}, {"tokenFile": "none"}, "tokenFile: .*none"),
            ({}, {"exec": {}}, None),
            ({}, {"exec": {"command": "a"}}, "no command or no apiVersion"),
            ({}, {"auth-provider": {"name": "oidc", "config": {}}}, "id-token"),
        ],
    )
    def test_a_mistake_is_named_with_its_file(self, tmp_path, cluster, user, words):
        if words is None:
            assert one(tmp_path, user, **cluster).authorization == ""
            return
        with pytest.raises(errors.InvalidInput, match=f"{tmp_path}/config cannot be used: .*{words}.*lab up") as raised:
            one(tmp_path, user, **cluster)
        assert "\n" not in str(raised.value)

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            ({"current": "y"}, "no context named 'y'; there: x"),
            ({}, "names no current-context"),
            ({"current": "x", "clusters": {}}, "no cluster named 'c'; there: none"),
            ({"current": "x", "users": {}}, "no user named 'u'"),
        ],
    )
    def test_a_name_that_leads_nowhere_is_said_with_those_that_are_there(self, tmp_path, content, words):
        there = {"clusters": {"c": {"server": "http://a"}}, "users": {"u": {}}, "contexts": {"x": CONTEXT}, **content}
        with pytest.raises(errors.InvalidInput, match=words):
            load(Kubeconfig((write(tmp_path / "k", **there),)))

    @pytest.mark.parametrize("content", ["clusters: [1]", "clusters: [{name: a, cluster: 1}]", "users: [{user: {}}]"])
    def test_entries_that_are_none_are_said(self, tmp_path, content):
        (tmp_path / "k").write_text(content)
        with pytest.raises(
            errors.InvalidInput, match=r"an entry of (clusters|users) in .*k is no (cluster|user) with a name"
        ):
            load(Kubeconfig((str(tmp_path / "k"),)))

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            ("clusters: 5", "clusters in .*k is int, no list"),
            ("users: {a: b}", "users in .*k is dict, no list"),
            ("contexts: text", "contexts in .*k is str, no list"),
            ("clusters: " + "[" * 5000, "cannot be read"),
            ("a: " + "9" * 5000, "cannot be read"),
            ("a: 2020-99-99", "cannot be read"),
        ],
    )
    def test_a_file_of_another_shape_is_said(self, tmp_path, content, words):
        (tmp_path / "k").write_text(content)
        with pytest.raises(errors.InvalidInput, match=words) as raised:
            load(Kubeconfig((str(tmp_path / "k"),)))
        assert "\n" not in str(raised.value)

    @pytest.mark.parametrize(
        "user",
        [
            {"as-groups": 5},
            {"as-user-extra": [1]},
            {"as-user-extra": {"a": 5}},
            {"exec": {"command": "sh", "apiVersion": "client.authentication.k8s.io/v1", "env": [{"value": "S3CR3T"}]}},
            {"exec": {"command": "sh", "apiVersion": "client.authentication.k8s.io/v1", "env": ["S3CR3T"]}},
            {"exec": {"command": "sh", "apiVersion": "client.authentication.k8s.io/v1", "args": 5}},
            {"client-certificate-data": 5},
        ],
    )
    def test_a_user_of_another_shape_is_said_without_what_it_holds(self, tmp_path, user):
        with pytest.raises(
            errors.InvalidInput, match=r"config cannot be used: an entry in it has not the shape"
        ) as raised:
            one(tmp_path, user)
        assert "S3CR3T" not in str(raised.value)
