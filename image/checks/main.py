"""Runs every check of the image and says what is wrong: main.py ROOT FOLDER APISERVER LIMIT, as root, in a network of its own."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import bill  # noqa: E402
import registry  # noqa: E402
import root  # noqa: E402
from container import CAPABILITY, seccomp  # noqa: E402
from runs import Runs  # noqa: E402

Check = Callable[[], list[str]]


def timed(name: str, check: Check) -> int:
    """Runs a check; how many things are wrong."""
    start = time.monotonic()
    try:
        problems = check()
    except AssertionError as error:
        problems = [str(error)]
    print(f"{name}: {f'{len(problems)} wrong' if problems else 'good'} ({time.monotonic() - start:.1f} s)", flush=True)
    for problem in problems:
        print(f"  {problem}")
    return len(problems)


def only(run: Callable[[], None]) -> Check:
    """A run that has nothing to say but that it failed."""
    return lambda: run() or []


def main() -> int:
    """Exit code 0 where nothing is wrong."""
    rootfs, folder, apiserver, limit = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
    tools = registry.Tools(*(Path(it) for it in sys.argv[5:9]))
    target = sys.argv[9]
    wrong = timed("files", lambda: root.check(rootfs, limit))
    wrong += timed("bill of materials", lambda: bill.check(rootfs / "usr/share/sbom/callsign.cdx.json", target))
    wrong += timed("versions", registry.versions)
    if wrong:
        return 1
    layout = registry.build(tools, rootfs, folder)
    image, manifest = registry.unpack(layout, tools, seccomp(tools.seccomp, [CAPABILITY]), folder)
    wrong += timed("image", lambda: registry.check(image, manifest))
    runs = Runs(image, folder, apiserver)
    try:
        runs.start()
        for name, run in runs.all().items():
            wrong += timed(name, only(run))
    finally:
        runs.stop()
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
