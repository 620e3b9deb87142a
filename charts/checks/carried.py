"""The dashboard and the rules get into the cluster as they are in files/, but for what values change; the chart's versions agree."""

import json
import tempfile
import tomllib
from typing import Any

import yaml

import helm_python as helm
from rendering import CHART, NAMESPACE, RELEASE, ROOT, Chart, Loader, Rendering, presets


def rules(chart: Chart, values: dict[str, Any], mode: str = "split") -> list[dict[str, Any]]:
    """The groups of the PrometheusRule that these values make."""
    wanted = {"mode": mode, "controller": {"mode": "shadow"}, "prometheus": {"rules": {"enabled": True, **values}}}
    return chart.render("rules", wanted).find("PrometheusRule", "callsign")["spec"]["groups"]


def alerts(groups: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Every alert by name, the last one where there are several."""
    return {rule["alert"]: rule for group in groups for rule in group["rules"] if "alert" in rule}


def judge(chart: Chart, monitoring: Rendering) -> list[str]:
    """What is carried otherwise than it is."""
    problems = []
    text = monitoring.find("ConfigMap", "callsign-dashboard")["data"]["callsign.json"]
    if json.loads(text) != json.loads((CHART / "files" / "dashboard.json").read_text()):
        problems.append("the dashboard is another one than files/dashboard.json")
    file = yaml.load((CHART / "files" / "rules.yaml").read_text(), Loader)["groups"]
    if rules(chart, {}) != file:
        problems.append("the rules are others than those of files/rules.yaml")
    of_dns = [group for group in file if not group["name"].startswith("callsign-endpoints")]
    if rules(chart, {}, "dns") != of_dns or of_dns == file:
        problems.append("without controllers the rules are not those of DNS alone")
    names = sorted(alerts(file))
    if not names:
        return [*problems, "files/rules.yaml has no alert"]
    first = names[0]
    if sorted(alerts(rules(chart, {"disabled": [first]}))) != names[1:] and len(names) > 1:
        problems.append(f"{first} is there, and disabled")
    loud = alerts(rules(chart, {"severities": {first: "page"}, "alertLabels": {"team": "dns"}}))
    for name, rule in loud.items():
        severity = "page" if name == first else alerts(file)[name]["labels"]["severity"]
        if rule["labels"].get("severity") != severity or rule["labels"].get("team") != "dns":
            problems.append(f"{name}: labels {rule['labels']}")
    for name, rule in alerts(file).items():
        url = f"https://github.com/callsign-dns/callsign/blob/main/docs/runbooks.md#{name.lower()}"
        if rule["annotations"].get("runbook_url") != url:
            problems.append(f"{name}: runbook_url is {rule['annotations'].get('runbook_url')}")
    problems += packaged(chart, presets()["monitoring"])
    more = {"name": "more", "rules": [{"record": "a:b", "expr": "1"}]}
    if more not in rules(chart, {"extraGroups": [more]}):
        problems.append("extraGroups are not there")
    return problems


def packaged(chart: Chart, values: dict[str, Any]) -> list[str]:
    """The archive that is published renders the same, and has nothing in it that nobody needs."""
    with tempfile.TemporaryDirectory() as folder:
        archive = helm.package(CHART, destination=folder)
        with helm.Chart.load(archive) as published:
            files = published.render(values, name=RELEASE, namespace=NAMESPACE, is_install=True)
            there = sorted(file["name"] for file in published.files)
    problems = []
    if files != chart.render("packaged", values).files:
        problems.append("the archive renders otherwise than the folder")
    if there != [".helmignore", "README.md", "files/dashboard.json", "files/rules.yaml"]:
        problems.append(f"the archive has {there}")
    return problems


def versions(chart: Chart) -> list[str]:
    """The chart is for the version of the binary that it lies beside."""
    cargo = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    metadata = chart.helm.metadata
    problems = []
    if metadata["appVersion"] != cargo:
        problems.append(f"Chart.yaml: appVersion is {metadata['appVersion']}, Cargo.toml has {cargo}")
    if f"callsign-dns/callsign:{cargo}\n" not in metadata["annotations"]["artifacthub.io/images"]:
        problems.append(f"Chart.yaml: artifacthub.io/images does not name {cargo}")
    return problems
