"""Files of the repository that are made of the chart: compared, or written anew."""

import difflib
from pathlib import Path

from rendering import ROOT

# How many differences are shown, not only told.
SHOWN = 3


class Generated:
    """What every file should be. Files of its folders that nothing makes are wrong, too."""

    def __init__(self, update: bool) -> None:
        self.update = update
        self.wanted: dict[Path, str] = {}
        self.folders: set[Path] = set()

    def file(self, path: Path, text: str) -> None:
        """Wants this text in this file."""
        self.wanted[path] = text

    def folder(self, path: Path) -> None:
        """Wants nothing in this folder but what is made."""
        self.folders.add(path)

    def settle(self) -> list[str]:
        """Writes what differs, or says what does."""
        problems: list[str] = []
        for path, text in self.wanted.items():
            found = path.read_text() if path.exists() else ""
            if found == text and path.exists():
                continue
            if self.update:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
                continue
            name = path.relative_to(ROOT)
            difference = difflib.unified_diff(found.splitlines(), text.splitlines(), str(name), "rendered", lineterm="", n=2)
            # The first ones tell; a change of a helper changes every file.
            shown = "".join(f"\n    {line}" for line in list(difference)[:40]) if len(problems) < SHOWN else ""
            problems.append(f"{name} is not what the chart makes (bash charts/check --update){shown}")
        for folder in self.folders:
            for path in sorted(folder.rglob("*")):
                if path.is_file() and path not in self.wanted:
                    if self.update:
                        path.unlink()
                    else:
                        problems.append(f"{path.relative_to(ROOT)} is made by nothing")
        return problems
