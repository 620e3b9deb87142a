"""`deploy/`: the presets' objects without Helm, as bases for kustomize. `callsign manifest` prints the same files."""

from typing import Any

import yaml

from generated import Generated
from rendering import ROOT, Rendering

MODES = ("dns", "all-in-one", "split")
SERVICES = ("own", "join", "adopt")
FOLDER = ROOT / "deploy"

KUSTOMIZATION = """\
# {title}. Made of the Helm chart by charts/check.
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources:
  - callsign.yaml
"""

TITLES = {
    "dns": "DNS",
    "all-in-one": "DNS and the endpoint controllers in one process",
    "split": "DNS and the endpoint controllers, a Deployment each",
    "own": "with a Service of its own",
    "join": "behind the existing Service kube-system/kube-dns",
    "adopt": "with the Service kube-system/kube-dns itself",
}


class Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Texts of several lines as blocks."""


def _text(dumper: Dumper, text: str) -> yaml.Node:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


Dumper.add_representer(str, _text)


def title(mode: str, service: str) -> str:
    """What a folder holds."""
    return f"{TITLES[mode]}, {TITLES[service]}"


def without_helm(thing: dict[str, Any]) -> dict[str, Any] | None:
    """An object as somebody without Helm has it; `None` for hooks."""
    annotations = dict(thing["metadata"].get("annotations", {}))
    if "helm.sh/hook" in annotations:
        return None
    metadata = {key: value for key, value in thing["metadata"].items() if key != "annotations"}
    helms = ("helm.sh/chart", "app.kubernetes.io/managed-by")
    metadata["labels"] = {key: value for key, value in metadata["labels"].items() if key not in helms}
    annotations = {key: value for key, value in annotations.items() if not key.startswith("helm.sh/")}
    if annotations:
        metadata["annotations"] = annotations
    rest = {key: value for key, value in thing.items() if key not in ("apiVersion", "kind", "metadata")}
    return {"apiVersion": thing["apiVersion"], "kind": thing["kind"], "metadata": metadata, **rest}


def manifest(rendering: Rendering, mode: str, service: str) -> str:
    """All objects of a folder as one stream."""
    objects = [found for found in map(without_helm, rendering.objects) if found]
    head = f"# {title(mode, service)}. Made of the Helm chart by charts/check.\n"
    return head + yaml.dump_all(objects, Dumper=Dumper, sort_keys=False, explicit_start=True, width=140)


def add(made: Generated, renderings: dict[str, Rendering]) -> None:
    """Wants every folder."""
    for mode in MODES:
        for service in SERVICES:
            folder = FOLDER / f"{mode}-{service}"
            made.folder(folder)
            made.file(folder / "kustomization.yaml", KUSTOMIZATION.format(title=title(mode, service)))
            made.file(folder / "callsign.yaml", manifest(renderings[f"{mode}-{service}"], mode, service))
