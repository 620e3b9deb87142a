"""A Deployment's selector cannot be changed: whatever values change between two versions of a release, it must stay."""

from typing import Any

from rendering import Chart, Rendering

# Beside the toggles of the matrix: what could get into labels.
MORE: dict[str, dict[str, Any]] = {
    "another version": {"image": {"tag": "9.9.9"}},
    "another part of the name, the same name": {"nameOverride": "other", "fullnameOverride": "callsign"},
    "k8s-app": {"k8sAppLabelOverride": "dns"},
    "cluster service": {"isClusterService": True},
    "split": {"mode": "split", "controller": {"mode": "shadow", "podLabels": {"a": "b"}}},
}


class Selectors:
    """The selector of each Deployment, and who had it first."""

    def __init__(self) -> None:
        self.known: dict[str, tuple[dict[str, str], str]] = {}
        self.problems: list[str] = []

    def take(self, rendering: Rendering) -> None:
        """Looks at the Deployments of another rendering of the same release."""
        for thing in rendering.objects:
            if thing["kind"] != "Deployment":
                continue
            name, selector = thing["metadata"]["name"], thing["spec"]["selector"]["matchLabels"]
            first, of = self.known.setdefault(name, (selector, rendering.name))
            if selector != first:
                self.problems.append(f"{name}: {selector} with {rendering.name}, {first} with {of}")


def judge(chart: Chart, selectors: Selectors) -> list[str]:
    """Deployments that some values give another selector than others do."""
    for name, values in MORE.items():
        selectors.take(chart.render(name, values))
    if set(selectors.known) != {"callsign", "callsign-controller", "callsign-autoscaler"}:
        selectors.problems.append(f"Deployments are called {sorted(selectors.known)}")
    return selectors.problems
