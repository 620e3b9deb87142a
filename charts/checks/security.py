"""The Pod Security Standard `restricted`, as kubernetes.io/docs/concepts/security/pod-security-standards/ has it."""

from typing import Any

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
SYSCTLS = {
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_syncookies",
}
PROFILES = {"RuntimeDefault", "Localhost"}


def restricted(spec: dict[str, Any]) -> list[str]:
    """What of a pod's spec the standard forbids."""
    problems = [f"{field} is true" for field in ("hostNetwork", "hostPID", "hostIPC") if spec.get(field)]
    pod = spec.get("securityContext") or {}
    if pod.get("runAsUser") == 0:
        problems.append("the pod runs as root")
    if (pod.get("seLinuxOptions") or {}).get("type") or (pod.get("windowsOptions") or {}).get("hostProcess"):
        problems.append("SELinux type or host process")
    for sysctl in pod.get("sysctls") or []:
        if sysctl["name"] not in SYSCTLS:
            problems.append(f"sysctl {sysctl['name']}")
    for volume in spec.get("volumes") or []:
        kinds = set(volume) - {"name"}
        if not kinds <= VOLUMES:
            problems.append(f"volume {volume['name']} is of kind {', '.join(sorted(kinds - VOLUMES))}")
    for container in [*(spec.get("initContainers") or []), *spec["containers"], *(spec.get("ephemeralContainers") or [])]:
        problems += [f"container {container['name']}: {problem}" for problem in of_container(container, pod)]
    return problems


def of_container(container: dict[str, Any], pod: dict[str, Any]) -> list[str]:
    """What of a container the standard forbids, where the pod's context is this."""
    own = container.get("securityContext") or {}
    capabilities = own.get("capabilities") or {}
    profile = (own.get("seccompProfile") or pod.get("seccompProfile") or {}).get("type")
    user = own.get("runAsUser", pod.get("runAsUser"))
    wrong = {
        "privileged": own.get("privileged"),
        "allowPrivilegeEscalation is not false": own.get("allowPrivilegeEscalation") is not False,
        "runAsNonRoot is not true": own.get("runAsNonRoot", pod.get("runAsNonRoot")) is not True,
        "runs as root": user == 0,
        "capabilities are not dropped": "ALL" not in (capabilities.get("drop") or []),
        f"adds {capabilities.get('add')}": not set(capabilities.get("add") or []) <= {"NET_BIND_SERVICE"},
        f"seccomp profile {profile}": profile not in PROFILES,
        "procMount": own.get("procMount", "Default") != "Default",
        "host ports": any(port.get("hostPort") for port in container.get("ports") or []),
    }
    return [problem for problem, is_so in wrong.items() if is_so]


def self_test() -> list[str]:
    """A judge that lets everything pass would make the chart look good: each rule must find its violation."""
    good: dict[str, Any] = {
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [
            {"name": "a", "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}}
        ],
    }
    problems = [f"restricted pod refused: {problem}" for problem in restricted(good)]

    def container(**changes: Any) -> dict[str, Any]:
        own = {**good["containers"][0]["securityContext"], **changes}
        return {**good, "containers": [{"name": "a", "securityContext": own}]}

    bad = {
        "host network": {**good, "hostNetwork": True},
        "host path": {**good, "volumes": [{"name": "v", "hostPath": {"path": "/"}}]},
        "sysctl": {**good, "securityContext": {**good["securityContext"], "sysctls": [{"name": "kernel.msgmax", "value": "1"}]}},
        "no profile": {**good, "securityContext": {"runAsNonRoot": True}},
        "root allowed": {**good, "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}}},
        "root": container(runAsUser=0),
        "escalation": container(allowPrivilegeEscalation=True),
        "capabilities kept": container(capabilities={}),
        "capability added": container(capabilities={"drop": ["ALL"], "add": ["NET_ADMIN"]}),
        "unconfined": container(seccompProfile={"type": "Unconfined"}),
        "privileged": container(privileged=True),
        "host port": {**good, "containers": [{**good["containers"][0], "ports": [{"containerPort": 1, "hostPort": 1}]}]},
    }
    return problems + [f"{name}: not noticed" for name, spec in bad.items() if not restricted(spec)]
