"""Whether the objects of a rendering fit together: selectors, ports, accounts, volumes, names."""

import re
from typing import Any

from rendering import Rendering
from security import restricted

Object = dict[str, Any]

LABEL = re.compile(r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$")
CLUSTER_KINDS = {"ClusterRole", "ClusterRoleBinding", "FlowSchema"}
# Names of these become labels of others, or DNS labels.
SHORT_KINDS = {"Service", "Deployment", "Pod", "HorizontalPodAutoscaler", "PodDisruptionBudget"}


def templates(objects: list[Object]) -> list[tuple[str, Object]]:
    """Every pod: a name to tell of, and its metadata and spec."""
    pods = []
    for thing in objects:
        if thing["kind"] == "Deployment":
            pods.append((f"Deployment {thing['metadata']['name']}", thing["spec"]["template"]))
        if thing["kind"] == "Pod":
            pods.append((f"Pod {thing['metadata']['name']}", thing))
    return pods


def selects(selector: dict[str, str], labels: dict[str, str]) -> bool:
    """Whether every label of the selector is there."""
    return bool(selector) and all(labels.get(key) == value for key, value in selector.items())


def judge(rendering: Rendering, secure: bool = True) -> list[str]:
    """What does not fit."""
    objects = rendering.objects
    seen: set[tuple[str, str, str]] = set()
    problems = []
    for thing in objects:
        problems += metadata(thing, rendering.namespace, seen)
    for name, pod in templates(objects):
        problems += [f"{name}: {problem}" for problem in of_pod(pod, objects, rendering.namespace)]
        if secure:
            problems += [f"{name}: not restricted: {problem}" for problem in restricted(pod["spec"])]
    problems += selectors(objects)
    problems += bindings(objects)
    return problems


def metadata(thing: Object, namespace: str, seen: set[tuple[str, str, str]]) -> list[str]:
    """Names and labels of an object."""
    meta, kind = thing["metadata"], thing["kind"]
    name = meta["name"]
    problems = []
    key = (kind, meta.get("namespace", ""), name)
    if key in seen:
        problems.append("is there twice")
    seen.add(key)
    if kind in CLUSTER_KINDS and "namespace" in meta:
        problems.append("has a namespace, and is the cluster's")
    if kind not in CLUSTER_KINDS and not meta.get("namespace"):
        problems.append("has no namespace")
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9.:]*[a-z0-9])?", name) or len(name) > (63 if kind in SHORT_KINDS else 253):
        problems.append("has a name that cannot be")
    for label, value in meta.get("labels", {}).items():
        if not isinstance(value, str) or not LABEL.match(value) or len(value) > 63:
            problems.append(f"label {label}={value!r} cannot be")
    for annotation, value in meta.get("annotations", {}).items():
        if not isinstance(value, str):
            problems.append(f"annotation {annotation}={value!r} is no text")
    return [f"{kind} {name}: {problem}" for problem in problems]


def of_pod(pod: Object, objects: list[Object], namespace: str) -> list[str]:
    """Volumes, ports, probes and the account of a pod."""
    spec = pod["spec"]
    problems = []
    volumes = [volume["name"] for volume in spec.get("volumes", [])]
    if len(volumes) != len(set(volumes)):
        problems.append(f"volumes {volumes}: a name is there twice")
    own_maps = {o["metadata"]["name"] for o in objects if o["kind"] == "ConfigMap"}
    for volume in spec.get("volumes", []):
        of = volume.get("configMap", {})
        if of and volume["name"] == "config" and of["name"] not in own_maps and of["name"] not in ("coredns", "existing"):
            problems.append(f"ConfigMap {of['name']} is in no file")
    mounted = set()
    for container in spec["containers"] + spec.get("initContainers", []):
        paths = [mount["mountPath"] for mount in container.get("volumeMounts", [])]
        if len(paths) != len(set(paths)):
            problems.append(f"{container['name']}: mounts {paths}: a path is there twice")
        for mount in container.get("volumeMounts", []):
            mounted.add(mount["name"])
            if mount["name"] not in volumes:
                problems.append(f"{container['name']}: mounts {mount['name']}, which is no volume")
        ports = container.get("ports", [])
        names = [port["name"] for port in ports]
        if len(names) != len(set(names)) or any(len(name) > 15 for name in names):
            problems.append(f"{container['name']}: port names {names}")
        numbers = [(port["containerPort"], port["protocol"]) for port in ports]
        if len(numbers) != len(set(numbers)):
            problems.append(f"{container['name']}: ports {numbers}: one is there twice")
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            wanted = container.get(probe, {}).get("httpGet", {}).get("port")
            if wanted and wanted not in names:
                problems.append(f"{container['name']}: {probe} asks port {wanted}, which there is not")
    if set(volumes) - mounted:
        problems.append(f"volumes {sorted(set(volumes) - mounted)} are mounted by nobody")
    account = spec.get("serviceAccountName")
    if account and account != "default" and spec.get("automountServiceAccountToken"):
        accounts = {o["metadata"]["name"] for o in objects if o["kind"] == "ServiceAccount"}
        bound = {subject["name"] for o in objects if o["kind"].endswith("RoleBinding") for subject in o["subjects"]}
        if (accounts or bound) and account not in accounts | bound:
            problems.append(f"account {account} is made and bound by nobody")
    if not account and spec.get("automountServiceAccountToken") is not False:
        problems.append("has a token of the account default")
    return problems


def selectors(objects: list[Object]) -> list[str]:
    """Who selects pods must find some, and ports by name must be theirs."""
    pods = templates(objects)
    problems = []
    for thing in objects:
        kind, name, spec = thing["kind"], thing["metadata"]["name"], thing.get("spec", {})
        if kind == "Deployment":
            selector = spec["selector"]["matchLabels"]
            if not selects(selector, spec["template"]["metadata"]["labels"]):
                problems.append(f"Deployment {name}: its selector does not match its pods")
            others = [other for other, pod in pods if other != f"Deployment {name}" and selects(selector, pod["metadata"]["labels"])]
            problems += [f"Deployment {name}: selects pods of {other}, too" for other in others]
            for constraint in spec["template"]["spec"].get("topologySpreadConstraints", []):
                if not selects(constraint["labelSelector"]["matchLabels"], spec["template"]["metadata"]["labels"]):
                    problems.append(f"Deployment {name}: spreads other pods")
        selector = {
            "Service": lambda s: s.get("selector"),
            "PodDisruptionBudget": lambda s: s["selector"]["matchLabels"],
            "NetworkPolicy": lambda s: s["podSelector"]["matchLabels"],
        }.get(kind, lambda s: None)(spec)
        if selector is None:
            continue
        found = [pod for other, pod in pods if other.startswith("Deployment") and selects(selector, pod["metadata"]["labels"])]
        answers = any(pod["metadata"]["labels"]["app.kubernetes.io/component"] == "dns" for _, pod in pods)
        if not found and not answers and kind == "Service":
            continue  # deployment.enabled=false: somebody else brings the pods
        if len(found) != 1:
            problems.append(f"{kind} {name}: selects the pods of {len(found)} Deployments")
            continue
        containers = found[0]["spec"]["containers"]
        ports = [port for container in containers for port in container.get("ports", [])]
        wanted = [(port["targetPort"], port["protocol"]) for port in spec.get("ports", [])] if kind == "Service" else []
        if kind == "NetworkPolicy":
            wanted = [(port["port"], port["protocol"]) for rule in spec["ingress"] for port in rule["ports"]]
        for target, protocol in wanted:
            if not any(target in (port["name"], port["containerPort"]) and protocol == port["protocol"] for port in ports):
                problems.append(f"{kind} {name}: port {target}/{protocol} is no port of the pods")
    return problems


def bindings(objects: list[Object]) -> list[str]:
    """Bindings bind roles that are there to accounts that are there."""
    problems = []
    for thing in objects:
        if thing["kind"] not in ("RoleBinding", "ClusterRoleBinding"):
            continue
        role, meta = thing["roleRef"], thing["metadata"]
        there = [
            o
            for o in objects
            if o["kind"] == role["kind"]
            and o["metadata"]["name"] == role["name"]
            and o["metadata"].get("namespace") == meta.get("namespace")
        ]
        if len(there) != 1:
            problems.append(f"{thing['kind']} {meta['name']}: no {role['kind']} {role['name']}")
    targets = {o["metadata"]["name"] for o in objects if o["kind"] == "Deployment"}
    for thing in objects:
        if thing["kind"] == "HorizontalPodAutoscaler" and thing["spec"]["scaleTargetRef"]["name"] not in targets:
            problems.append(f"{thing['metadata']['name']}: scales nothing")
    return problems
