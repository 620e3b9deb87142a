"""The image's root as files: what is in it, that it is static, and how large it is."""

import gzip
import os
import shutil
import stat
import subprocess
from pathlib import Path

# Bytes of a capability set that permits cap_net_bind_service (10) and has nothing in effect (linux/capability.h, version 2).
PERMITTED = bytes([0, 0, 0, 2, 0, 4]) + bytes(14)
FILES = {
    "callsign": 0o755,
    "etc/group": 0o644,
    "etc/passwd": 0o644,
    "etc/ssl/certs/ca-certificates.crt": 0o644,
    "usr/share/doc/callsign/LICENSES.gz": 0o644,
    "usr/share/sbom/callsign.cdx.json": 0o644,
}


def output(*command: str | Path) -> str:
    """What a command prints."""
    return subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True).stdout


def sizes(root: Path) -> tuple[int, int]:
    """Bytes of the files, as they are and with gzip's best, as a layer is."""
    plain = packed = 0
    for path in (root / name for name in FILES):
        content = path.read_bytes()
        plain += len(content)
        packed += len(gzip.compress(content, 9))
    return plain, packed


def check(root: Path, limit: int) -> list[str]:
    """What is wrong with a root; it may take `limit` bytes."""
    wrong = []
    found = {}
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            found[str(path.relative_to(root))] = path
    if (link := found.pop("coredns", None)) is None or not link.is_symlink() or os.readlink(link) != "callsign":
        wrong.append("/coredns does not lead to callsign")
    if found.keys() != FILES.keys():
        wrong.append(f"files that should not be there, or are not: {sorted(found.keys() ^ FILES.keys())}")
        return wrong
    for name, mode in FILES.items():
        status = found[name].stat()
        if not stat.S_ISREG(status.st_mode) or stat.S_IMODE(status.st_mode) != mode:
            wrong.append(f"/{name}: mode {status.st_mode:o}, wanted {mode:o}")
    binary = found["callsign"]
    headers, dynamic = output("readelf", "-lW", binary), output("readelf", "-dW", binary)
    wrong += [f"/callsign is not static: it has {what}" for what, text in (("INTERP", headers), ("NEEDED", dynamic)) if what in text]
    if " PIE" not in output("readelf", "-dW", binary) or "GNU_RELRO" not in headers:
        wrong.append("/callsign is not position-independent, or its relocated data stay writable")
    if "GNU_STACK" in headers and "RWE" in headers:
        wrong.append("/callsign has memory that is writable and executable")
    try:
        capability = os.getxattr(binary, "security.capability")
    except OSError as error:
        capability = str(error).encode()
    if capability != PERMITTED:
        wrong.append(f"/callsign may not have cap_net_bind_service, or has more: {capability!r}")
    plain, packed = sizes(root)
    print(f"  {plain:,} bytes, of which the binary {binary.stat().st_size:,}; {packed:,} compressed")
    if plain > limit:
        wrong.append(f"{plain:,} bytes are more than {limit:,}")
    return wrong


def removed(path: Path) -> Path:
    """The path, with nothing there."""
    shutil.rmtree(path, ignore_errors=True)
    return path
