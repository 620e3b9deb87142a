"""Every mode with every Service, every source of a Corefile and every toggle: what is rendered fits together and is what Kubernetes takes."""

import copy
import json
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import helm_python as helm

import links
import schemas
from rendering import NAMESPACE, Chart, Rendering
from stability import Selectors

Values = dict[str, Any]

MODES: dict[str, Values] = {
    "dns": {"mode": "dns"},
    "all-in-one": {"mode": "all-in-one", "controller": {"acknowledgeKcmDisabled": True}},
    "split": {"mode": "split", "controller": {"acknowledgeKcmDisabled": True}},
    "all-in-one in shadow": {"mode": "all-in-one", "controller": {"mode": "shadow"}},
    "split in shadow": {"mode": "split", "controller": {"mode": "shadow"}},
}
SERVICES: dict[str, Values] = {
    "own": {"service": {"strategy": "own"}},
    "join": {"service": {"strategy": "join"}},
    "adopt": {"service": {"strategy": "adopt", "clusterIP": "10.96.0.10"}},
}
INLINE = """\
.:53 {
    errors
    health
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods verified
    }
    prometheus :9153
    forward . /etc/resolv.conf
}
"""
COREFILES: dict[str, Values] = {
    "servers": {},
    "inline": {"corefile": {"inline": INLINE}},
    "existing": {"corefile": {"existingConfigMap": "coredns"}},
}
TOGGLES: dict[str, Values] = {
    "nothing else": {},
    "HPA": {"hpa": {"enabled": True}},
    "proportional": {"autoscaler": {"enabled": True}},
    "network policy": {"networkPolicy": {"enabled": True}},
    "service monitor": {"prometheus": {"monitor": {"enabled": True}, "rules": {"enabled": True}}},
    "pod monitor": {"prometheus": {"podMonitor": {"enabled": True}}},
    "metrics service": {"prometheus": {"service": {"enabled": True}}},
    "dashboard": {"grafana": {"dashboard": {"enabled": True, "namespace": "monitoring"}}},
    "one replica": {"replicaCount": 1, "controller": {"replicaCount": 1}},
    "no budget": {"podDisruptionBudget": {"enabled": False}},
    "no test": {"tests": {"enabled": False}},
    "no roles": {"rbac": {"create": False}},
    "accounts of others": {
        "serviceAccount": {"create": False, "name": "ours"},
        "controller": {"serviceAccount": {"create": False, "name": "theirs"}},
    },
    "no deployment": {"deployment": {"enabled": False}, "podDisruptionBudget": {"enabled": False}},
    "sysctl": {"podSecurityContext": {"sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}]}},
    "port 53": {"ports": {"dns": 53}},
    "probes off": {"startupProbe": {"enabled": False}, "livenessProbe": {"enabled": False}, "readinessProbe": {"enabled": False}},
    "labels": {"customLabels": {"team": "dns"}, "customAnnotations": {"owner": "dns"}, "podLabels": {"a": "b"}},
    "names": {"fullnameOverride": "cluster-dns"},
    "long names": {
        "fullnameOverride": "a" * 44,
        "autoscaler": {"enabled": True},
        "networkPolicy": {"enabled": True},
        "prometheus": {"monitor": {"enabled": True}},
        "grafana": {"dashboard": {"enabled": True}},
    },
    "large numbers": {"autoscaler": {"enabled": True, "coresPerReplica": 1000000}, "flowSchema": {"matchingPrecedence": 9999}},
    "no spread": {"topologySpreadConstraints": None},
    "lists and guards": {"controller": {"endpoints": "none", "guard": False, "leaseName": "dns"}},
}
# Toggles that make Deployments of other names.
RENAMING = (", names", ", long names")
# Toggles that shadow could change: it is another flag, and fewer rights.
WITH_SHADOW = {"nothing else", "no roles", "lists and guards", "accounts of others"}
# With its own Service a release may be anywhere.
ELSEWHERE: dict[str, Values] = {
    "elsewhere": {},
    "elsewhere with a FlowSchema": {"flowSchema": {"enabled": True}},
    "elsewhere with everything": {
        "networkPolicy": {"enabled": True},
        "autoscaler": {"enabled": True},
        "prometheus": {"monitor": {"enabled": True, "namespace": "monitoring"}},
    },
}


def merge(*parts: Values) -> Values:
    """Values of several files, the later ones first."""
    merged: Values = {}
    for part in parts:
        for key, value in part.items():
            both = isinstance(value, dict) and isinstance(merged.get(key), dict)
            merged[key] = merge(merged[key], value) if both else copy.deepcopy(value)
    return merged


def combinations() -> list[tuple[str, Values, str]]:
    """Name, values and namespace of each."""
    found = []
    for mode, of_mode in MODES.items():
        for service, of_service in SERVICES.items():
            for corefile, of_corefile in COREFILES.items():
                for toggle, of_toggle in TOGGLES.items():
                    if "shadow" in mode and toggle not in WITH_SHADOW:
                        continue
                    name = f"{mode}, {service}, {corefile}, {toggle}"
                    found.append((name, merge(of_mode, of_service, of_corefile, of_toggle), NAMESPACE))
                if service != "own":
                    continue
                for toggle, of_toggle in ELSEWHERE.items():
                    name = f"{mode}, {service}, {corefile}, {toggle}"
                    found.append((name, merge(of_mode, of_service, of_corefile, of_toggle), "dns-system"))
    return found


class Judge:
    """Judges renderings by these versions' schemas; an object that was seen before is not judged again."""

    def __init__(self, versions: tuple[str, ...]) -> None:
        self.versions = versions
        self.known: dict[str, list[str]] = {}
        self.renderings = 0

    def judge(self, rendering: Rendering, secure: bool = True) -> list[str]:
        """What is wrong with it."""
        self.renderings += 1
        problems = links.judge(rendering, secure)
        for thing in rendering.objects:
            text = json.dumps(thing, sort_keys=True)
            if text not in self.known:
                self.known[text] = schemas.judge(thing, self.versions)
            problems += [f"{thing['kind']} {thing['metadata']['name']}: {problem}" for problem in self.known[text]]
        return [f"{rendering.name}: {problem}" for problem in problems]


def mode_rules(name: str, values: Values, rendering: Rendering) -> list[str]:
    """What must hold of each combination, told from its values alone."""
    problems = []
    objects = rendering.objects
    kinds = [thing["kind"] for thing in objects]
    mode, strategy = values["mode"], values["service"]["strategy"]
    writes = mode != "dns" and values["controller"].get("mode") != "shadow"
    verbs = {
        (resource, verb)
        for thing in objects
        if thing["kind"] in ("ClusterRole", "Role") and "autoscaler" not in thing["metadata"]["name"]
        for rule in thing["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    may_write = {resource for resource, verb in verbs if verb not in ("get", "list", "watch")}
    if not writes and may_write:
        problems.append(f"writes nothing, and may write {sorted(may_write)}")
    if any(resource in ("secrets", "configmaps", "*") or verb == "*" for resource, verb in verbs):
        problems.append(f"may read what it does not need: {sorted(verbs)}")
    if mode == "dns" and any(verb == "get" for _, verb in verbs):
        problems.append("DNS needs no get")
    with_pods = "inline" in values.get("corefile", {})
    if mode == "dns" and (("pods", "watch") in verbs) != (with_pods and "Role" in " ".join(kinds)):
        problems.append("pods are watched for `pods verified` and for nothing else")
    dns = [o for o in objects if o["kind"] == "Service" and "metrics" not in o["metadata"]["name"]]
    if len(dns) != (strategy != "join"):
        problems.append(f"{len(dns)} Services for {strategy}")
    if strategy == "adopt":
        meta, spec = dns[0]["metadata"], dns[0]["spec"]
        if (meta["name"], spec["clusterIP"], spec["selector"]) != ("kube-dns", "10.96.0.10", {"k8s-app": "kube-dns"}):
            problems.append("adopts another Service than the one that is there")
        if meta["annotations"].get("helm.sh/resource-policy") != "keep":
            problems.append("helm uninstall would take the cluster's DNS address with it")
    for pod_name, pod in links.templates(objects):
        label = pod["metadata"]["labels"].get("k8s-app")
        answers = pod["metadata"]["labels"]["app.kubernetes.io/component"] == "dns"
        if label != ("kube-dns" if answers and strategy != "own" else None):
            problems.append(f"{pod_name} has k8s-app={label}")
        if not answers:
            continue
        container = pod["spec"]["containers"][0]
        low = any(port["containerPort"] < 1024 for port in container["ports"])
        added = container["securityContext"]["capabilities"].get("add")
        sysctl = pod["spec"]["securityContext"].get("sysctls")
        if added != (["NET_BIND_SERVICE"] if low and not sysctl else None):
            problems.append(f"{pod_name} adds {added}")
        if container["args"][0] != ("serve" if mode == "all-in-one" else "dns"):
            problems.append(f"{pod_name} runs {container['args']}")
        inside = rendering.namespace == "kube-system"
        if pod["spec"].get("priorityClassName") != ("system-cluster-critical" if inside else None):
            problems.append(f"{pod_name} has another priority")
    for thing in objects:
        if thing["kind"] == "Deployment" and thing["metadata"]["labels"].get("k8s-app"):
            problems.append("kubeadm would take the Deployment for CoreDNS's")
    return [f"{name}: {problem}" for problem in problems]


def judge_all(chart: Chart, judge: Judge, selectors: Selectors) -> list[str]:
    """What is wrong with any of them."""

    def render(combination: tuple[str, Values, str]) -> Rendering | str:
        name, values, namespace = combination
        try:
            # The schema takes as long as the rendering, and looks at each toggle by itself.
            return chart.render(name, values, namespace, schema=", servers," in name)
        except helm.HelmError as error:
            return str(error)

    problems = []
    every = combinations()
    # Helm renders outside of Python's lock.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for (name, values, namespace), rendering in zip(every, pool.map(render, every)):
            if isinstance(rendering, str):
                problems.append(f"{name}: {rendering}")
                continue
            problems += judge.judge(rendering) + mode_rules(name, values, rendering)
            if namespace == NAMESPACE and not name.endswith(RENAMING):
                selectors.take(rendering)
    return problems
