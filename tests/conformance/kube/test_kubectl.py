"""Kubernetes API: kubectl."""

import json
import re

import pytest
from kube_samples import path, sample


@pytest.fixture
def file(tmp_path):
    """Write objects to a file that kubectl can apply."""

    def written(*objects):
        (where := tmp_path / "objects.json").write_text(
            json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        )
        return str(where)

    return written


@pytest.mark.parametrize("kind", ["ConfigMap", "Service", "Deployment", "VirtualService", "EnvoyFilter"])
def test_apply(kubectl, file, seen, kind):
    """kubectl apply of a {kind}: created, unchanged, configured"""
    obj = sample(kind)
    seen(kubectl("apply", "-f", file(obj)))
    seen(kubectl("apply", "-f", file(obj)))
    obj["metadata"]["labels"] = {"a": "b"}
    seen(kubectl("apply", "-f", file(obj)))


def test_apply_merges(kubectl, file, seen, api, ns):
    """kubectl apply keeps what others wrote, and removes what it once wrote itself"""
    obj = sample("ConfigMap")
    obj["data"] = {"a": "1", "b": "2"}
    kubectl("apply", "-f", file(obj))
    api.patch(path("ConfigMap", ns, "one"), {"data": {"c": "3"}})
    obj["data"] = {"a": "1"}
    kubectl("apply", "-f", file(obj))
    seen(str(api.get(path("ConfigMap", ns, "one")).json["data"]))


@pytest.mark.parametrize("mode", ["client", "server"])
@pytest.mark.parametrize("kind", ["ConfigMap", "VirtualService"])
def test_dry_run(kubectl, file, seen, api, ns, kind, mode):
    """kubectl apply --dry-run={mode} of a {kind}"""
    seen(kubectl("apply", f"--dry-run={mode}", "-f", file(sample(kind))))
    assert api.get(path(kind, ns, "one")).code == 404


def test_diff(kubectl, file, seen):
    """kubectl diff of a changed ConfigMap"""
    obj = sample("ConfigMap")
    kubectl("apply", "-f", file(obj))
    obj["data"] = {"a": "2"}
    said = kubectl("diff", "-f", file(obj))
    seen(", ".join(line for line in said.splitlines() if line[:1] in "+-" and "a:" in line))


@pytest.mark.differs("field ownership hangs on managedFields, which only a real API server keeps")
def test_server_side(kubectl, file, seen):
    """kubectl apply --server-side"""
    seen(kubectl("apply", "--server-side", "-f", file(sample("ConfigMap"))))


@pytest.mark.parametrize("kind", ["merge", "json", "strategic"])
@pytest.mark.parametrize("of", ["configmap", "virtualservice"])
def test_patch(kubectl, file, seen, of, kind):
    """kubectl patch --type={kind} of a {of}"""
    kubectl("apply", "-f", file(sample("ConfigMap"), sample("VirtualService")))
    patch = (
        [{"op": "add", "path": "/metadata/labels", "value": {"a": "b"}}]
        if kind == "json"
        else {"metadata": {"labels": {"a": "b"}}}
    )
    seen(kubectl("patch", of, "one", f"--type={kind}", "-p", json.dumps(patch)))
    seen(kubectl("patch", of, "one", f"--type={kind}", "-p", json.dumps(patch)))


@pytest.mark.parametrize("of", ["configmap", "pod", "deployment", "vs"])
def test_get(kubectl, file, seen, of):
    """kubectl get {of}"""
    kubectl("apply", "-f", file(*(sample(kind) for kind in ("ConfigMap", "Pod", "Deployment", "VirtualService"))))
    said = kubectl("get", of, "one").splitlines()
    seen(" / ".join(" ".join(line.split()[:-1] if number else line.split()) for number, line in enumerate(said)))


@pytest.mark.parametrize(
    "words",
    [("get", "vs", "nothing"), ("get", "unicorns"), ("delete", "cm", "nothing"), ("get", "cm", "-l", "a b")],
    ids=" ".join,
)
def test_errors(kubectl, seen, words):
    """kubectl's error"""
    seen(f"{' '.join(words)}: {kubectl(*words)}")


@pytest.mark.parametrize("output", ["name", "jsonpath={.spec.hosts[0]}", "custom-columns=N:.metadata.name"])
def test_output(kubectl, file, seen, output):
    """kubectl get -o {output}"""
    kubectl("apply", "-f", file(sample("VirtualService")))
    seen(kubectl("get", "vs", "one", "-o", output))


def test_label_and_annotate(kubectl, file, seen):
    """kubectl label and annotate"""
    kubectl("apply", "-f", file(sample("VirtualService")))
    seen(kubectl("label", "vs", "one", "a=b"))
    seen(kubectl("label", "vs", "one", "a=c"))
    seen(kubectl("annotate", "vs", "one", "note=x"))
    seen(kubectl("label", "vs", "one", "a-"))


def test_scale(kubectl, file, seen):
    """kubectl scale"""
    kubectl("apply", "-f", file(sample("Deployment")))
    seen(kubectl("scale", "deployment", "one", "--replicas=2"))
    seen(kubectl("scale", "deployment", "one", "--current-replicas=5", "--replicas=3"))


def test_delete(kubectl, file, seen):
    """kubectl delete, and wait"""
    kubectl("apply", "-f", file(sample("VirtualService"), sample("Pod"), sample("Deployment")))
    seen(kubectl("delete", "vs", "one"))
    seen(kubectl("delete", "deployment", "one", "--timeout=10s"))
    seen(kubectl("delete", "pod", "one", "--timeout=10s"))
    seen(kubectl("wait", "vs/one", "--for=delete", "--timeout=5s"))


@pytest.mark.parametrize("of", ["configmap", "service", "deployment", "vs", "pod"])
def test_describe(kubectl, file, seen, of):
    """kubectl describe {of}"""
    kinds = ("ConfigMap", "Service", "Deployment", "VirtualService", "Pod")
    kubectl("apply", "-f", file(*(sample(kind) for kind in kinds)))
    said = kubectl("describe", of, "one")
    titles = [line.partition(":")[0] for line in said.splitlines() if line[:1].strip() and ":" in line]
    seen(" ".join(dict.fromkeys(titles)))


def test_describe_shows_events(kubectl, file, seen, server, api, ns):
    """kubectl describe shows an object's Events"""
    kubectl("apply", "-f", file(sample("VirtualService")))
    about = api.get(path("VirtualService", ns, "one")).json
    for _ in range(2):
        server.call(server.kube.record(about, "Refused", "a wrong weight"))
    [line] = [line for line in kubectl("describe", "vs", "one").splitlines() if "a wrong weight" in line]
    words = line.split()
    seen(" ".join([*words[:2], *words[words.index("chaosmesh-lab") :]]))


@pytest.mark.parametrize(
    "words",
    [
        ("create", "configmap", "made", "--from-literal=a=b"),
        ("create", "namespace", "made-by-kubectl"),
        ("create", "serviceaccount", "made"),
        ("create", "service", "clusterip", "made", "--tcp=80"),
        ("create", "deployment", "made", "--image=a"),
        ("create", "secret", "generic", "made", "--from-literal=a=b"),
        ("run", "made", "--image=a"),
        ("auth", "can-i", "create", "pods"),
    ],
    ids=" ".join,
)
def test_create(kubectl, seen, words):
    """kubectl makes and asks"""
    said = kubectl(*words)
    seen(f"{' '.join(words)}: {said}")
    if "namespace" in words:
        kubectl("delete", "namespace", words[-1], "--wait=false")


@pytest.mark.differs("a lab has no WebAssembly plugins, nor Kubernetes' other groups")
def test_api_versions(kubectl, seen):
    """kubectl api-versions, those of Istio"""
    found = [line for line in kubectl("api-versions").splitlines() if "istio" in line]
    assert {"networking.istio.io/v1", "security.istio.io/v1", "telemetry.istio.io/v1"} <= set(found)
    seen(" ".join(found))


@pytest.mark.differs("the embedded API has no schemas to hold fields against, and keeps what it does not know")
def test_unknown_fields(kubectl, file, seen):
    """kubectl apply of an unknown field"""
    said = kubectl("apply", "-f", file({**sample("ConfigMap"), "odd": 1}))
    seen(re.sub(r'"/.*?"', "FILE", said))


def test_rollout(kubectl, file, seen):
    """kubectl rollout restart"""
    kubectl("apply", "-f", file(sample("Deployment")))
    seen(kubectl("rollout", "restart", "deployment/one"))


def test_logs(kubectl, file, seen, server):
    """kubectl logs"""
    server.kube.serve_pod_logs(lambda pod, container: f"{pod['metadata']['name']} {container}\n")
    pod = sample("Pod")
    pod["spec"]["nodeName"] = "lab"
    kubectl("apply", "-f", file(pod))
    seen(kubectl("logs", "one"))
    seen(kubectl("logs", "one", "-c", "odd"))
