"""Runs every check of the chart and says what is wrong."""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import helm_python as helm  # noqa: E402

import carried  # noqa: E402
import coredns_values  # noqa: E402
import deploy  # noqa: E402
import live  # noqa: E402
import matrix  # noqa: E402
import readme  # noqa: E402
import refusals  # noqa: E402
import schemas  # noqa: E402
import security  # noqa: E402
import stability  # noqa: E402
from generated import Generated  # noqa: E402
from rendering import CHART, NAMESPACE, ROOT, Chart, Rendering, presets  # noqa: E402

# Presets that show what Pod Security `restricted` does not allow: host ports.
NOT_RESTRICTED = {"coredns"}


def lint() -> list[str]:
    """What `helm lint --strict` says of the chart with the values of each preset."""
    problems = []
    for name, values in presets().items():
        report = helm.lint(CHART, values, strict=True, namespace=NAMESPACE)
        said = [message["error"] for message in report["messages"] if message["severity"] > 1] + report["errors"]
        problems += [f"{name}: {message}" for message in said]
    return problems


def made(chart: Chart, renderings: dict[str, Rendering], update: bool) -> list[str]:
    """What is committed is what Helm renders, and what the values' comments say."""
    files = Generated(update)
    folder = ROOT / "charts" / "golden"
    files.folder(folder)
    for name, rendering in renderings.items():
        files.file(folder / f"{name}.yaml", rendering.text())
        files.file(folder / f"{name}.notes.txt", rendering.notes.strip("\n") + "\n")
    deploy.add(files, renderings)
    problems = readme.add(files, chart)
    return files.settle() + problems


def main() -> int:
    """Exit code 0 where nothing is wrong."""
    server, arguments = Path(sys.argv[1]), sys.argv[2:]
    if arguments not in ([], ["--update"]):
        print("usage: bash charts/check [--update]", file=sys.stderr)
        return 2
    chart = Chart()
    renderings = {name: chart.render(name, values) for name, values in presets().items()}
    # Every version for what people install; for all that could be, the ends.
    judge, ends = matrix.Judge(schemas.VERSIONS), matrix.Judge(schemas.OLDEST_AND_NEWEST)
    selectors = stability.Selectors()
    checks = [
        ("goldens, deploy and README are current", lambda: made(chart, renderings, bool(arguments))),
        ("strict lint of every preset", lint),
        ("the judge of pod security", security.self_test),
        (
            "presets fit together and are what Kubernetes takes",
            lambda: [
                problem
                for name, rendering in renderings.items()
                for problem in judge.judge(rendering, secure=name not in NOT_RESTRICTED)
            ],
        ),
        ("so does every combination", lambda: matrix.judge_all(chart, ends, selectors)),
        ("contradictions are refused, and told", lambda: refusals.judge(chart)),
        ("values of coredns/helm do the same", lambda: coredns_values.judge(renderings["coredns"])),
        ("dashboard, rules and versions are the repository's", lambda: carried.judge(chart, renderings["monitoring"]) + carried.versions(chart)),
        ("upgrades keep their Deployments", lambda: stability.judge(chart, selectors)),
        ("releases live, change and end in an API server", lambda: live.judge(server)),
    ]
    wrong = 0
    for name, check in checks:
        start = time.monotonic()
        problems = check()
        wrong += len(problems)
        print(f"{name}: {f'{len(problems)} wrong' if problems else 'good'} ({time.monotonic() - start:.1f} s)", flush=True)
        for problem in problems[:50]:
            print(f"  {problem}")
    print(f"{judge.renderings + ends.renderings} renderings, {len(judge.known | ends.known)} different objects")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
