"""The keys that coredns/helm has, too: the preset `coredns` uses them as they are in the wild, and they must do the same."""

from typing import Any

from rendering import Rendering


def judge(rendering: Rendering) -> list[str]:
    """What came out otherwise."""
    deployment = rendering.find("Deployment", "cluster-dns")
    pod = deployment["spec"]["template"]
    spec = pod["spec"]
    container = spec["containers"][0]
    service = rendering.find("Service", "cluster-dns")
    corefile = rendering.find("ConfigMap", "callsign")["data"]
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    dot = next(port for port in service["spec"]["ports"] if port["port"] == 853)
    wanted: dict[str, tuple[Any, Any]] = {
        "replicaCount": (deployment["spec"]["replicas"], 3),
        "deployment.annotations": (deployment["metadata"]["annotations"], {"example.com/kept": "true", "owner": "platform"}),
        "image.pullSecrets": (spec["imagePullSecrets"], [{"name": "registry"}]),
        "resources": (container["resources"]["limits"], {"memory": "170Mi"}),
        "podAnnotations": (pod["metadata"]["annotations"]["example.com/note"], "dns"),
        "serviceType": (service["spec"]["type"], "LoadBalancer"),
        "service.loadBalancerIP": (service["spec"]["loadBalancerIP"], "192.0.2.53"),
        "service.externalTrafficPolicy": (service["spec"]["externalTrafficPolicy"], "Local"),
        "service.annotations": ("metallb.universe.tf/allow-shared-ip" in service["metadata"]["annotations"], True),
        "prometheus.service": (rendering.find("Service", "callsign-metrics")["spec"]["ports"][0]["port"], 9153),
        "prometheus.monitor": (rendering.find("ServiceMonitor", "callsign")["spec"]["endpoints"][0]["interval"], "30s"),
        "serviceAccount.name": (spec["serviceAccountName"], "coredns"),
        "rbac.create": (rendering.find("ClusterRoleBinding", "callsign")["subjects"][0]["name"], "coredns"),
        "servers": ("kubernetes cluster.local in-addr.arpa ip6.arpa {" in corefile["Corefile"], True),
        "servers[].plugins[].parameters": ("\n    cache 1000000\n" in corefile["Corefile"], True),
        "servers[].plugins[].configBlock": ("        lameduck 10s\n" in corefile["Corefile"], True),
        "servers[].zones[].scheme": ("\ntls://example.org:853 {" in corefile["Corefile"], True),
        "servers[].port": ({port["containerPort"] for port in container["ports"]} >= {53, 853}, True),
        "servers[].nodePort": ((dot["nodePort"], dot["protocol"]), (30853, "TCP")),
        "servers[].hostPort": ([port["hostPort"] for port in container["ports"] if "hostPort" in port], [8853]),
        "extraConfig": (corefile["Corefile"].startswith("import /opt/coredns/*.conf\n"), True),
        "zoneFiles": (corefile["example.org.db"].startswith("example.org.   IN SOA"), True),
        "livenessProbe": (container["livenessProbe"]["initialDelaySeconds"], 60),
        "affinity": ("podAntiAffinity" in spec["affinity"], True),
        "topologySpreadConstraints": (
            spec["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"],
            {"app.kubernetes.io/instance": "callsign"},
        ),
        "nodeSelector": (spec["nodeSelector"]["node-role.kubernetes.io/dns"], ""),
        "tolerations": (spec["tolerations"], [{"key": "dns", "operator": "Exists"}]),
        "podDisruptionBudget": (rendering.find("PodDisruptionBudget", "callsign")["spec"].get("minAvailable"), 2),
        "podDisruptionBudget alone": ("maxUnavailable" in rendering.find("PodDisruptionBudget", "callsign")["spec"], False),
        "extraVolumes": (volumes["more"]["configMap"]["name"], "more"),
        "extraVolumeMounts": (mounts["more"], "/opt/coredns"),
        "extraSecrets": ((mounts["dns-tls"], volumes["dns-tls"]["secret"]), ("/etc/dns-tls", {"secretName": "dns-tls", "defaultMode": 288})),
        "extraContainers": (spec["containers"][1]["name"], "beside"),
        "env": (container["env"][0]["name"], "NODE"),
        "customLabels": ({o["metadata"]["labels"].get("team") for o in rendering.objects}, {"platform"}),
        "customAnnotations": ({o["metadata"]["annotations"].get("owner") for o in rendering.objects}, {"platform"}),
    }
    return [f"{key}: {found!r}, and not {want!r}" for key, (found, want) in wanted.items() if found != want]
