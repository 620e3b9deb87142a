"""Releases with the real Helm against the embedded API server: install, upgrade, roll back, test, uninstall, take over; and `deploy/`.

The server admits and stores what Kubernetes does, and runs nothing: pods are said to have succeeded where that is waited for.
"""

import json
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

import helm_python as helm
from deploy import FOLDER
from rendering import CHART, NAMESPACE, RELEASE, Loader, presets

Object = dict[str, Any]

# Kinds that come with other software; presets are installed without them.
FOREIGN: Object = {"prometheus": {"monitor": {"enabled": False}, "podMonitor": {"enabled": False}, "rules": {"enabled": False}}}

# Where objects are, by kind: group and version, plural, and whether they have a namespace.
PLACES = {
    "ConfigMap": ("api/v1", "configmaps", True),
    "Namespace": ("api/v1", "namespaces", False),
    "Pod": ("api/v1", "pods", True),
    "Service": ("api/v1", "services", True),
    "ServiceAccount": ("api/v1", "serviceaccounts", True),
    "Deployment": ("apis/apps/v1", "deployments", True),
    "HorizontalPodAutoscaler": ("apis/autoscaling/v2", "horizontalpodautoscalers", True),
    "NetworkPolicy": ("apis/networking.k8s.io/v1", "networkpolicies", True),
    "PodDisruptionBudget": ("apis/policy/v1", "poddisruptionbudgets", True),
    "ClusterRole": ("apis/rbac.authorization.k8s.io/v1", "clusterroles", False),
    "ClusterRoleBinding": ("apis/rbac.authorization.k8s.io/v1", "clusterrolebindings", False),
    "Role": ("apis/rbac.authorization.k8s.io/v1", "roles", True),
    "RoleBinding": ("apis/rbac.authorization.k8s.io/v1", "rolebindings", True),
}

# As kubeadm makes it.
KUBE_DNS: Object = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {
        "name": "kube-dns",
        "namespace": NAMESPACE,
        "labels": {"k8s-app": "kube-dns", "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS"},
        "annotations": {"prometheus.io/port": "9153", "prometheus.io/scrape": "true"},
    },
    "spec": {
        "clusterIP": "10.96.0.10",
        "selector": {"k8s-app": "kube-dns"},
        "ports": [
            {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53},
            {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53},
            {"name": "metrics", "port": 9153, "protocol": "TCP", "targetPort": 9153},
        ],
    },
}


class Cluster:
    """An API server, and Helm's connection to it."""

    def __init__(self, url: str) -> None:
        self.url = url
        kubeconfig = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "embedded", "cluster": {"server": url}}],
            "contexts": [{"name": "embedded", "context": {"cluster": "embedded"}}],
            "current-context": "embedded",
        }
        self.helm = helm.Config(kubeconfig_content=json.dumps(kubeconfig), namespace=NAMESPACE)

    def request(self, method: str, path: str, body: Object | None = None, kind: str = "application/json") -> Object:
        """One request. Raises what the server says where it refuses."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/{path}", data, {"Content-Type": kind}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise Refused(f"{method} {path}: {error.code} {json.load(error).get('message')}") from error

    def folder(self, kind: str, namespace: str = NAMESPACE) -> str:
        """Where objects of a kind are."""
        group, plural, namespaced = PLACES[kind]
        return f"{group}/namespaces/{namespace}/{plural}" if namespaced else f"{group}/{plural}"

    def create(self, thing: Object) -> None:
        """Creates an object; unknown fields are errors."""
        namespace = thing["metadata"].get("namespace", "")
        self.request("POST", f"{self.folder(thing['kind'], namespace)}?fieldValidation=Strict", thing)

    def get(self, kind: str, name: str) -> Object | None:
        """An object, or nothing."""
        found = [thing for thing in self.all(kind) if thing["metadata"]["name"] == name]
        return found[0] if found else None

    def all(self, kind: str) -> list[Object]:
        """Every object of a kind, of all namespaces."""
        group, plural, _ = PLACES[kind]
        return self.request("GET", f"{group}/{plural}")["items"]

    def left(self) -> list[str]:
        """What of a release is there."""
        labels = lambda thing: thing["metadata"].get("labels", {})  # noqa: E731
        return [
            f"{kind}/{thing['metadata']['name']}"
            for kind in PLACES
            for thing in self.all(kind)
            if labels(thing).get("app.kubernetes.io/instance") == RELEASE
        ]


class Refused(Exception):
    """The server does not do it."""


@contextmanager
def cluster(server: Path) -> Iterator[Cluster]:
    """A cluster with nothing in it but what every cluster has."""
    process = subprocess.Popen([server, "127.0.0.1:0", "bare"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        yield Cluster(process.stdout.readline().strip())
    finally:
        process.terminate()
        process.wait(20)


def installed(server: Path) -> Iterator[str]:
    """Every preset is installed and leaves nothing behind."""
    with cluster(server) as here:
        for name, values in presets().items():
            values = {**values, **FOREIGN}
            if values.get("service", {}).get("ipFamilies"):
                # The embedded cluster has one family.
                values["service"] = {}
            if "namespace" in values.get("grafana", {}).get("dashboard", {}) and not here.get("Namespace", "monitoring"):
                here.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "monitoring"}})
            release = here.helm.install(CHART, RELEASE, values)
            if release["status"] != "deployed":
                yield f"{name}: {release['status']}"
            here.helm.uninstall(RELEASE)
            left = here.left()
            kept = ["Service/kube-dns"] if values.get("service", {}).get("strategy") == "adopt" else []
            if left != kept:
                yield f"{name}: uninstalled, and there is {left}"
            for service in kept:
                here.request("DELETE", f"{here.folder('Service')}/{service.partition('/')[2]}")


def life(server: Path) -> Iterator[str]:
    """Own, a canary's port, behind kube-dns, the controllers beside, and back to the first."""
    steps: list[tuple[str, Object, set[str]]] = [
        ("own", {}, {"Service/callsign"}),
        ("port 53", {"ports": {"dns": 53}}, {"Service/callsign"}),
        ("join", {"service": {"strategy": "join"}}, set()),
        (
            "split in shadow",
            {"service": {"strategy": "join"}, "mode": "split", "controller": {"mode": "shadow"}},
            {"Deployment/callsign-controller"},
        ),
        (
            "split",
            {"service": {"strategy": "join"}, "mode": "split", "controller": {"acknowledgeKcmDisabled": True}},
            {"Deployment/callsign-controller", "Role/callsign-controller", "Role/callsign-controller-kcm-lease"},
        ),
        ("one process", {"mode": "all-in-one", "controller": {"acknowledgeKcmDisabled": True}}, {"Service/callsign", "Role/callsign"}),
    ]
    watched = {what for _, _, there in steps for what in there}
    with cluster(server) as here:
        here.create(KUBE_DNS)
        for step, (name, values, there) in enumerate(steps):
            act = here.helm.upgrade if step else here.helm.install
            act(CHART, RELEASE, values)
            found = watched & set(here.left())
            if found != there:
                yield f"{name}: there is {sorted(found)}, and not {sorted(there)}"
        here.helm.rollback(RELEASE, version=1)
        if watched & set(here.left()) != {"Service/callsign"}:
            yield f"rolled back to the first: {here.left()}"
        deployment = here.get("Deployment", "callsign") or {}
        pod = deployment["spec"]["template"]
        if "k8s-app" in pod["metadata"]["labels"] or pod["spec"]["containers"][0]["args"][0] != "dns":
            yield f"rolled back to the first: {pod['metadata']['labels']} {pod['spec']['containers'][0]['args']}"
        if [entry["status"] for entry in here.helm.history(RELEASE)][-1] != "deployed":
            yield f"history: {here.helm.history(RELEASE)}"


def tested(server: Path) -> Iterator[str]:
    """`helm test` makes the pod, waits for it, and takes it away."""
    with cluster(server) as here:
        here.helm.install(CHART, RELEASE)
        seen: list[Object] = []

        def kubelet() -> None:
            for _ in range(200):
                pod = here.get("Pod", "callsign-test-answers")
                if pod:
                    seen.append(pod)
                    path = f"{here.folder('Pod')}/callsign-test-answers/status"
                    here.request("PATCH", path, {"status": {"phase": "Succeeded"}}, "application/merge-patch+json")
                    return
                time.sleep(0.05)

        other = threading.Thread(target=kubelet)
        other.start()
        here.helm.test(RELEASE, timeout=20)
        other.join()
        if not seen or "--server=$(CALLSIGN_SERVICE_HOST)" not in seen[0]["spec"]["containers"][0]["args"]:
            yield f"the test's pod: {seen}"
        if here.get("Pod", "callsign-test-answers"):
            yield "the test's pod is still there"


def adopted(server: Path) -> Iterator[str]:
    """The existing Service is found, keeps its address, and stays when the release goes."""
    values = {"service": {"strategy": "adopt"}}
    with cluster(server) as here:
        here.create(KUBE_DNS)
        try:
            here.helm.install(CHART, RELEASE, values)
            yield "took a Service that is not the release's, unasked"
        except helm.HelmError as error:
            if "ownership" not in str(error):
                yield f"refused for another reason: {error}"
        here.helm.uninstall(RELEASE, ignore_not_found=True)
        # What --take-ownership does, by hand.
        owner = {
            "labels": {"app.kubernetes.io/managed-by": "Helm"},
            "annotations": {"meta.helm.sh/release-name": RELEASE, "meta.helm.sh/release-namespace": NAMESPACE},
        }
        path = f"{here.folder('Service')}/kube-dns"
        here.request("PATCH", path, {"metadata": owner}, "application/merge-patch+json")
        before = here.get("Service", "kube-dns") or {}
        here.helm.install(CHART, RELEASE, values)
        after = here.get("Service", "kube-dns") or {}
        for field in ("clusterIP", "selector", "ports"):
            if before["spec"][field] != after["spec"][field]:
                yield f"{field} was {before['spec'][field]} and is {after['spec'][field]}"
        if after["metadata"]["uid"] != before["metadata"]["uid"]:
            yield "the Service was made anew"
        here.helm.uninstall(RELEASE)
        if not here.get("Service", "kube-dns"):
            yield "the cluster's DNS address went with the release"


def contradicted(server: Path) -> Iterator[str]:
    """What the existing Service says against the values is told before anything is changed."""
    cases: list[tuple[Object, Object, str]] = [
        ({"selector": {"k8s-app": "dns"}}, {"strategy": "join"}, "set k8sAppLabelOverride=dns"),
        ({"selector": {"k8s-app": "kube-dns", "a": "b"}}, {"strategy": "join"}, "set podLabels.a=b"),
        ({"ports": [{"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 5353}]}, {"strategy": "join"}, "targetPort is 53: set it to 5353"),
        ({}, {"strategy": "adopt", "clusterIP": "10.96.0.11"}, "has 10.96.0.10, which cannot be changed"),
    ]
    for existing, service, said in cases:
        with cluster(server) as here:
            here.create({**KUBE_DNS, "spec": {**KUBE_DNS["spec"], **existing}})
            try:
                here.helm.install(CHART, RELEASE, {"service": service})
                yield f"{existing} {service}: not refused"
            except helm.HelmError as error:
                if said not in str(error):
                    yield f"{existing} {service}: {error}, and not: {said}"
            if here.left():
                yield f"{existing} {service}: left {here.left()}"


def looked_up(server: Path) -> Iterator[str]:
    """The existing Corefile decides whether pods may be watched."""
    values = {"corefile": {"existingConfigMap": "coredns"}}
    for pods, wanted in (("insecure", False), ("verified", True)):
        corefile = f".:53 {{\n    health\n    ready\n    kubernetes cluster.local {{\n        pods {pods}\n    }}\n}}\n"
        with cluster(server) as here:
            meta = {"name": "coredns", "namespace": NAMESPACE}
            here.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"Corefile": corefile}})
            here.helm.install(CHART, RELEASE, values)
            role = here.get("ClusterRole", "callsign") or {}
            if any("pods" in rule["resources"] for rule in role["rules"]) != wanted:
                yield f"pods {pods}: {role['rules']}"


def without_helm(server: Path) -> Iterator[str]:
    """Every folder of deploy/ is taken by an API server, field by field, and its kustomization names its files."""
    for folder in sorted(path for path in FOLDER.iterdir() if path.is_dir()):
        kustomization = yaml.load((folder / "kustomization.yaml").read_text(), Loader)
        files = sorted(path.name for path in folder.iterdir() if path.name != "kustomization.yaml")
        if kustomization["kind"] != "Kustomization" or kustomization["resources"] != files:
            yield f"{folder.name}: {kustomization} for {files}"
        with cluster(server) as here:
            for thing in yaml.load_all((folder / "callsign.yaml").read_text(), Loader):
                text = json.dumps(thing)
                if "helm" in text.lower():
                    yield f"{folder.name}: {thing['kind']} {thing['metadata']['name']} speaks of Helm"
                here.create(thing)
            if len(here.left()) < 6:
                yield f"{folder.name}: {here.left()}"


def judge(server: Path) -> list[str]:
    """What is wrong with any of it."""
    problems = []
    for check in (installed, life, tested, adopted, contradicted, looked_up, without_helm):
        try:
            problems += [f"{check.__name__}: {problem}" for problem in check(server)]
        except (helm.HelmError, Refused) as error:
            problems.append(f"{check.__name__}: {error}")
    return problems
