"""Objects against the schemas of the Kubernetes versions that the chart is for: every field known, every value of its type."""

import copy
import json
from functools import cache
from importlib.resources import files
from typing import Any

import jsonschema
from referencing import Registry, Resource

VERSIONS: tuple[str, ...] = ("1.28", "1.29", "1.30", "1.31", "1.32", "1.33", "1.34", "1.35", "1.36", "1.37")
# Fields come and go between these.
OLDEST_AND_NEWEST = (VERSIONS[0], VERSIONS[-1])

# What older versions do not know, and is only there for newer ones, or because a value asks for it: since when.
NEW_FIELDS = {("Service", ("spec", "trafficDistribution")): "1.30"}
NEW_KINDS = {("flowcontrol.apiserver.k8s.io/v1", "FlowSchema"): "1.29"}

Object = dict[str, Any]


def number(version: str) -> tuple[int, ...]:
    """A version to compare."""
    return tuple(int(part) for part in version.split("."))


@cache
def registry(version: str) -> tuple[Any, Registry]:
    """The schemas' folder of a version, and what they refer to."""
    folder = files("kubernetes_validate").joinpath(f"kubernetes-json-schema/v{version}.0-local-strict")
    definitions = json.loads(folder.joinpath("_definitions.json").read_text())
    return folder, Resource.from_contents(definitions) @ Registry()


@cache
def validator(version: str, api_version: str, kind: str) -> jsonschema.Draft202012Validator | None:
    """What judges objects of a kind; `None` where the version has none."""
    group, _, name = api_version.rpartition("/")
    prefix = f"{group.split('.')[0]}-{name}" if group else name
    folder, known = registry(version)
    file = folder.joinpath(f"{kind.lower()}-{prefix}.json")
    if not file.is_file():
        return None
    schema = json.loads(file.read_text())
    return jsonschema.Draft202012Validator(schema, registry=Resource.from_contents(schema) @ known)


def judge(thing: Object, versions: tuple[str, ...] = VERSIONS) -> list[str]:
    """What is wrong with an object, in any of these versions."""
    api_version, kind = thing["apiVersion"], thing["kind"]
    if api_version.startswith("monitoring.coreos.com/"):
        return operator_kind(thing)
    problems = []
    for version in versions:
        if number(version) < number(NEW_KINDS.get((api_version, kind), "0")):
            continue
        judged = thing
        for (of, path), since in NEW_FIELDS.items():
            if of == kind and number(version) < number(since):
                judged = without(judged, path)
        judge_it = validator(version, api_version, kind)
        if judge_it is None:
            problems.append(f"Kubernetes {version} has no {api_version} {kind}")
            continue
        for error in judge_it.iter_errors(judged):
            at = ".".join(str(part) for part in error.absolute_path)
            problems.append(f"Kubernetes {version}: {at}: {error.message[:300]}")
    return problems


def without(thing: Object, path: tuple[str, ...]) -> Object:
    """The object without a field."""
    thing = copy.deepcopy(thing)
    inner = thing
    for part in path[:-1]:
        inner = inner.get(part, {})
    inner.pop(path[-1], None)
    return thing


TEXT = {"type": "string", "minLength": 1}
DURATION = {"type": "string", "pattern": "^([0-9]+(ms|s|m|h|d))+$"}
TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}


def shape(properties: Object, required: tuple[str, ...]) -> Object:
    """An object with these fields and no others."""
    return {"type": "object", "additionalProperties": False, "properties": properties, "required": list(required)}


SELECTOR = shape({"matchLabels": TEXTS, "matchExpressions": {"type": "array"}}, ())
RELABELING = {
    "type": "array",
    "items": shape(
        {
            "sourceLabels": {"type": "array", "items": TEXT},
            **dict.fromkeys(("targetLabel", "regex", "replacement", "action", "separator"), TEXT),
        },
        (),
    ),
}
SCRAPE = {
    "port": TEXT,
    "path": TEXT,
    "interval": DURATION,
    "scrapeTimeout": DURATION,
    "scheme": {"enum": ["http", "https"]},
    "honorLabels": {"type": "boolean"},
    "tlsConfig": {"type": "object"},
    "relabelings": RELABELING,
    "metricRelabelings": RELABELING,
}
RULE = {
    "oneOf": [
        shape(
            {"alert": TEXT, "expr": TEXT, "for": DURATION, "keep_firing_for": DURATION, "labels": TEXTS, "annotations": TEXTS},
            ("alert", "expr", "labels", "annotations"),
        ),
        shape({"record": TEXT, "expr": TEXT, "labels": TEXTS}, ("record", "expr")),
    ]
}
GROUP = shape({"name": TEXT, "interval": DURATION, "rules": {"type": "array", "minItems": 1, "items": RULE}}, ("name", "rules"))
NAMESPACES = shape({"matchNames": {"type": "array", "items": TEXT, "minItems": 1}}, ("matchNames",))

# The kinds of the Prometheus operator, as far as the chart uses them (its API reference).
OPERATOR_KINDS = {
    "ServiceMonitor": shape(
        {
            "namespaceSelector": NAMESPACES,
            "selector": SELECTOR,
            "endpoints": {"type": "array", "minItems": 1, "items": shape(SCRAPE, ("port",))},
        },
        ("selector", "endpoints"),
    ),
    "PodMonitor": shape(
        {
            "namespaceSelector": NAMESPACES,
            "selector": SELECTOR,
            "podMetricsEndpoints": {"type": "array", "minItems": 1, "items": shape(SCRAPE, ("port",))},
        },
        ("selector", "podMetricsEndpoints"),
    ),
    "PrometheusRule": shape({"groups": {"type": "array", "minItems": 1, "items": GROUP}}, ("groups",)),
}


def operator_kind(thing: Object) -> list[str]:
    """What is wrong with an object of the Prometheus operator."""
    if thing["apiVersion"] != "monitoring.coreos.com/v1" or thing["kind"] not in OPERATOR_KINDS:
        return [f"no shape for {thing['apiVersion']} {thing['kind']}"]
    judge_it = jsonschema.Draft202012Validator(OPERATOR_KINDS[thing["kind"]])
    errors = judge_it.iter_errors(thing["spec"])
    return [f"{'.'.join(map(str, error.absolute_path))}: {error.message[:300]}" for error in errors]
