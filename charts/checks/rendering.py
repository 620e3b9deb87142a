"""The chart as the real Helm renders it: presets, and any other values."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import helm_python as helm
import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "callsign"
PRESETS = CHART / "ci"
RELEASE = "callsign"
# Lines after which a file of files/ follows.
CARRIED = ("\n  callsign.json: |\n", "\n  groups:\n")
NAMESPACE = "kube-system"


@dataclass
class Rendering:
    """What Helm made of some values."""

    name: str
    files: dict[str, str]
    namespace: str

    @cached_property
    def objects(self) -> list[dict[str, Any]]:
        """Every object, hooks included, in the order of the files."""
        found = []
        for file, text in sorted(self.files.items()):
            if not file.endswith("NOTES.txt"):
                found += [document for document in yaml.load_all(text, Loader) if document]
        return found

    @property
    def notes(self) -> str:
        """What `helm install` says at its end."""
        return "".join(text for file, text in self.files.items() if file.endswith("NOTES.txt"))

    def text(self) -> str:
        """All objects as one stream, as `helm template` prints it.

        What is only carried (dashboard, rules) is left out: it is in files/, and `carried` looks at it.
        """
        parts = []
        for file, text in sorted(self.files.items()):
            if file.endswith("NOTES.txt"):
                continue
            for document in text.split("\n---\n"):
                document = document.removeprefix("---\n").strip("\n")
                for start in CARRIED:
                    head, found, _ = document.partition(start)
                    document = f"{head}{found}    # of files/" if found else document
                if document.strip():
                    parts.append(f"---\n# Source: {file}\n{document}\n")
        return "".join(parts)

    def find(self, kind: str, name: str) -> dict[str, Any]:
        """The object of this kind and name; fails where there is none, or more than one."""
        found = [o for o in self.objects if o["kind"] == kind and o["metadata"]["name"] == name]
        assert len(found) == 1, f"{self.name}: {len(found)} objects {kind}/{name}"
        return found[0]


class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Refuses a key that is there twice: API servers drop one of them in silence."""


def _mapping(loader: Loader, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
    seen = set()
    for key, _ in node.value:
        value = loader.construct_object(key, deep=True)
        if value in seen:
            raise yaml.constructor.ConstructorError(None, None, f"key {value} twice", key.start_mark)
        seen.add(value)
    return yaml.SafeLoader.construct_mapping(loader, node, deep=True)


Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


class Chart:
    """The chart, loaded once."""

    def __init__(self) -> None:
        self.helm = helm.Chart.load(CHART)

    def render(self, name: str, values: dict[str, Any], namespace: str = NAMESPACE, schema: bool = True) -> Rendering:
        """Renders for an installation. Raises helm.HelmError where Helm refuses."""
        if schema:
            self.helm.validate_schema(values)
        files = self.helm.render(values, name=RELEASE, namespace=namespace, is_install=True)
        return Rendering(name, files, namespace)


def presets() -> dict[str, dict[str, Any]]:
    """The values of every preset, by name."""
    files = sorted(PRESETS.glob("*-values.yaml"))
    return {file.name.removesuffix("-values.yaml"): yaml.load(file.read_text(), Loader) or {} for file in files}
