"""The Dockerfile's last stage by a real builder (buildah, which needs no daemon), with a root that `image/build` made in the place of
the stage that would make it: what a registry would be given."""

import json
import os
import re
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path

from container import Image
from root import PERMITTED, removed

ROOT = Path(__file__).resolve().parents[2]
ARGUMENTS = {"VERSION": "1.2.3", "REVISION": "0123abcd", "CREATED": "2026-01-02T03:04:05Z"}
PORTS = {"53/udp", "53/tcp", "8080/tcp", "8181/tcp", "9153/tcp"}


@dataclass
class Tools:
    """Where the tools lie."""

    buildah: Path
    crun: Path
    # containers-common's files: the signature policy and the seccomp profile.
    policy: Path
    seccomp: Path


def build(tools: Tools, root: Path, folder: Path) -> Path:
    """Builds the image; a folder in the OCI layout.

    Raises CalledProcessError where the builder refuses, with what it says."""
    context, layout = folder / "context", removed(folder / "layout")
    removed(context).mkdir(parents=True)
    subprocess.run(["cp", "-a", root, context / "image"], check=True)
    empty = folder / "empty"
    empty.mkdir(exist_ok=True)
    storage = ["--root", folder / "storage", "--runroot", folder / "run", "--storage-driver", "vfs"]
    policy = ["--signature-policy", tools.policy]
    arguments = [word for name, value in ARGUMENTS.items() for word in ("--build-arg", f"{name}={value}")]
    target = ["--build-arg", "TARGETARCH=amd64", "--build-context", f"build={context}", "--isolation", "chroot"]
    buildah = [tools.buildah, *storage]
    run([*buildah, "build", *policy, *arguments, *target, "--format", "oci", "-f", ROOT / "Dockerfile", "-t", "callsign", empty])
    run([*buildah, "push", *policy, "callsign", f"oci:{layout}:latest"])
    return layout


def run(command: list[str | Path]) -> None:
    """Runs a command that only talks when it fails."""
    # No registry is asked: nothing is pulled.
    environment = {**os.environ, "CONTAINERS_REGISTRIES_CONF": "/dev/null"}
    result = subprocess.run([str(word) for word in command], capture_output=True, text=True, env=environment)
    assert result.returncode == 0, f"{command}: {result.stdout}{result.stderr}"


def unpack(layout: Path, tools: Tools, seccomp: dict, folder: Path) -> tuple[Image, dict]:
    """The image as a runtime has it, and its manifest."""
    def blob(digest: str) -> Path:
        return layout / "blobs" / digest.replace(":", "/")

    index = json.loads((layout / "index.json").read_text())
    manifest = json.loads(blob(index["manifests"][0]["digest"]).read_text())
    config = json.loads(blob(manifest["config"]["digest"]).read_text())
    root = removed(folder / "root")
    root.mkdir(parents=True)
    for layer in manifest["layers"]:
        # Layers carry the file's capability as an extended attribute.
        run(["tar", "--extract", "--gzip", "--xattrs", "--xattrs-include=*", "--file", blob(layer["digest"]), "--directory", root])
    return Image(root, config["config"], tools.crun, seccomp), manifest


def check(image: Image, manifest: dict) -> list[str]:
    """What is wrong with the image's configuration and its one layer."""
    wrong = []
    config = image.config
    for key, value in (("User", "65532:65532"), ("Entrypoint", ["/callsign"]), ("Cmd", None)):
        if config.get(key) != value:
            wrong.append(f"{key}: {config.get(key)!r}, wanted {value!r}")
    if set(config.get("ExposedPorts", {})) != PORTS:
        wrong.append(f"ports {sorted(config.get('ExposedPorts', {}))}, wanted {sorted(PORTS)}")
    labels = config.get("Labels") or {}
    wanted = {"version": "1.2.3", "revision": "0123abcd", "created": "2026-01-02T03:04:05Z", "licenses": "Apache-2.0"}
    for name in ("title", "description", "url", "documentation", "source", "vendor", *wanted):
        value = labels.get(f"org.opencontainers.image.{name}")
        if not value or value != wanted.get(name, value):
            wrong.append(f"label {name}: {value!r}, wanted {wanted.get(name, 'any')!r}")
    if len(manifest["layers"]) != 1:
        wrong.append(f"{len(manifest['layers'])} layers, wanted one")
    capability = os.getxattr(image.root / "callsign", "security.capability")
    if capability != PERMITTED:
        wrong.append(f"the layer lost the capability: {capability!r}")
    print(f"  the layer has {sum(layer['size'] for layer in manifest['layers']):,} bytes")
    return wrong


def versions() -> list[str]:
    """Where the Dockerfile names another Rust than the rest of the project."""
    channel = tomllib.loads((ROOT / "rust-toolchain.toml").read_text())["toolchain"]["channel"]
    text = (ROOT / "Dockerfile").read_text()
    named = re.findall(r"\brust:(\d+\.\d+\.\d+)-", text) + re.findall(r"RUSTUP_TOOLCHAIN=(\S+)", text)
    return [f"the Dockerfile has Rust {it}, rust-toolchain.toml {channel}" for it in named if it != channel] or (
        [] if len(named) == 2 else ["the Dockerfile does not name its Rust twice"]
    )
