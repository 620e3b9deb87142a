"""Runs every check of the chart and says what is wrong."""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import deploy  # noqa: E402
from generated import Generated  # noqa: E402
from rendering import ROOT, Chart, presets  # noqa: E402


def goldens(chart: Chart, update: bool) -> list[str]:
    """What is committed is what Helm renders."""
    made = Generated(update)
    folder = ROOT / "charts" / "golden"
    made.folder(folder)
    renderings = {name: chart.render(name, values) for name, values in presets().items()}
    for name, rendering in renderings.items():
        made.file(folder / f"{name}.yaml", rendering.text())
    deploy.add(made, renderings)
    return made.settle()


def main() -> int:
    """Exit code 0 where nothing is wrong."""
    arguments = sys.argv[1:]
    if arguments not in ([], ["--update"]):
        print("usage: bash charts/check [--update]", file=sys.stderr)
        return 2
    update = bool(arguments)
    chart = Chart()
    checks = [("goldens", lambda: goldens(chart, update))]
    wrong = 0
    for name, check in checks:
        start = time.monotonic()
        problems = check()
        wrong += len(problems)
        print(f"{name}: {f'{len(problems)} wrong' if problems else 'good'} ({time.monotonic() - start:.1f} s)")
        for problem in problems:
            print(f"  {problem}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
