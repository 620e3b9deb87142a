"""Containers as a kubelet's runtime starts them, with crun: from an image's configuration, read-only, under the runtime's seccomp
profile, with no more rights than are given. All share one network, which is that of this process."""

import json
import os
import platform
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

CAPABILITY = "CAP_NET_BIND_SERVICE"


@dataclass
class Image:
    """An unpacked image: its root, and what it says is to be started."""

    root: Path
    config: dict
    crun: Path
    seccomp: dict


@dataclass
class Pod:
    """What a pod's manifest says of a container."""

    args: list[str]
    # `command`, in the place of the image's entry point.
    command: list[str] = field(default_factory=list)
    # Whether NET_BIND_SERVICE is added to no capabilities at all.
    may_bind: bool = False
    # Files and folders by where they are mounted, read-only.
    mounts: dict[str, Path] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)


def seccomp(profile: Path, capabilities: list[str]) -> dict:
    """A runtime's default profile for this machine (the form of containers-common) as the runtime's own."""
    known = json.loads(profile.read_text())
    machine = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}[platform.machine()]
    name = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
    rules = []
    for rule in known["syscalls"]:
        wanted, unwanted = rule.get("includes") or {}, rule.get("excludes") or {}
        if not set(wanted.get("caps") or []) <= set(capabilities) or name not in (wanted.get("arches") or [name]):
            continue
        if set(unwanted.get("caps") or []) & set(capabilities) or name in (unwanted.get("arches") or []):
            continue
        rules.append({key: rule[key] for key in ("names", "action", "args", "errnoRet") if rule.get(key)})
    return {
        "defaultAction": known["defaultAction"],
        "defaultErrnoRet": known.get("defaultErrnoRet", 1),
        "architectures": [machine],
        "syscalls": rules,
    }


def specification(image: Image, pod: Pod) -> dict:
    """The OCI runtime specification that containerd and CRI-O make of such a pod: a user that is not root has its capabilities
    permitted and in effect, none is inherited or ambient, and `allowPrivilegeEscalation: false` is noNewPrivileges."""
    capabilities = [CAPABILITY] if pod.may_bind else []
    user, group = (int(it) for it in image.config["User"].split(":"))
    held = {name: capabilities for name in ("bounding", "effective", "permitted")}
    mounts = [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=64k"]},
    ]
    for place, source in pod.mounts.items():
        mounts.append({"destination": place, "type": "bind", "source": str(source), "options": ["rbind", "ro"]})
    return {
        "ociVersion": "1.0.0",
        "process": {
            "user": {"uid": user, "gid": group},
            "args": (pod.command or image.config["Entrypoint"]) + pod.args,
            "env": image.config.get("Env", []) + [f"{name}={value}" for name, value in pod.variables.items()],
            "cwd": image.config.get("WorkingDir") or "/",
            "capabilities": {**held, "inheritable": [], "ambient": []},
            "noNewPrivileges": True,
        },
        "root": {"path": str(image.root), "readonly": True},
        "mounts": mounts,
        "linux": {
            "namespaces": [{"type": it} for it in ("pid", "mount", "ipc", "uts")],
            "seccomp": image.seccomp,
            "maskedPaths": ["/proc/kcore", "/proc/keys"],
            "readonlyPaths": ["/proc/sys", "/proc/sysrq-trigger"],
        },
    }


class Container:
    """A running container; what it says goes to a file."""

    count = 0

    def __init__(self, image: Image, pod: Pod, folder: Path):
        Container.count += 1
        self.name = f"callsign-check-{os.getpid()}-{Container.count}"
        bundle = folder / self.name
        bundle.mkdir(parents=True)
        (bundle / "config.json").write_text(json.dumps(specification(image, pod)))
        self.log = bundle / "log"
        command = [str(image.crun), "--root", str(folder / "crun"), "--cgroup-manager", "disabled", "run", "-b", str(bundle), self.name]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def said(self) -> str:
        """Everything so far."""
        return self.log.read_text(errors="replace")

    def ended(self, seconds: float = 20) -> int:
        """Its exit code.

        Raises AssertionError where it still runs."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it still runs after {seconds} s:\n{self.said()}") from None

    def terminate(self) -> int:
        """SIGTERM, as the kubelet sends it; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.ended()

    def __enter__(self) -> "Container":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def eventually(what: str, attempt, explain=lambda: "", seconds: float = 20):
    """What `attempt` gives, once it gives something true.

    Raises AssertionError where that takes longer."""
    end = time.monotonic() + seconds
    while not (result := attempt()):
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {seconds} s\n{explain()}")
        time.sleep(0.05)
    return result
