"""The bill of materials against the schema of CycloneDX, and against what Cargo says by itself."""

import json
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def compiled(target: str) -> set[tuple[str, str]]:
    """Names and versions of the packages that are compiled into the binary."""
    command = ["cargo", "tree", "--locked", "-p", "callsign", "--no-default-features", "--target", target]
    command += ["--edges", "normal,no-proc-macro", "--prefix", "none", "--format", "{p}"]
    text = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    words = [line.split() for line in text.splitlines() if line]
    return {(line[0], line[1].removeprefix("v")) for line in words}


def checksums() -> dict[tuple[str, str], str]:
    """What the lock file has for each published package."""
    import tomllib

    packages = tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]
    return {(it["name"], it["version"]): it["checksum"] for it in packages if "checksum" in it}


def check(path: Path, target: str) -> list[str]:
    """What is wrong with a bill."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    text = path.read_text()
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if error is not None:
        return [f"not CycloneDX 1.6: {error}"]
    bill = json.loads(text)
    wrong = []
    locked = checksums()
    root = bill["metadata"]["component"]
    cargo, system = set(), set()
    for component in [root, *bill["components"]]:
        key = (component["name"], component["version"])
        if not component.get("purl", "pkg:cargo/").startswith("pkg:cargo/"):
            system.add(component["name"].rstrip("-0123456789"))
            continue
        cargo.add(key)
        named = [it["content"] for it in component.get("hashes", [])]
        if named != ([locked[key]] if key in locked else []):
            wrong.append(f"{key}: checksum {named}, the lock file has {locked.get(key)}")
        if not component.get("licenses"):
            wrong.append(f"{key}: no licence")
    if cargo != compiled(target):
        wrong.append(f"not what is compiled: {sorted(cargo ^ compiled(target))}")
    if system != {"rust-std", "glibc", "gcc", "ca-certificates"}:
        wrong.append(f"of the system there are {sorted(system)}")
    references = {it["bom-ref"] for it in [root, *bill["components"]]}
    for entry in bill["dependencies"]:
        for reference in {entry["ref"], *entry["dependsOn"]} - references:
            wrong.append(f"{entry['ref']} refers to {reference}, which is not there")
    if "timestamp" in bill["metadata"] or "serialNumber" in bill:
        wrong.append("it differs from build to build: a time or a serial number")
    print(f"  {len(cargo)} packages and {len(system)} parts of the system")
    return wrong
