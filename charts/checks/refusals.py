"""Values that contradict each other or make no sense, and what is said of them."""

from typing import Any

import yaml

import helm_python as helm
from rendering import NAMESPACE, Chart

# Values, the namespace where it matters, and a part of the message that names both and the cure.
TABLE: list[tuple[str, str, str]] = [
    # templates/_validate.tpl
    ("{mode: split}", "", "set controller.acknowledgeKcmDisabled=true, or set controller.mode=shadow"),
    ("{mode: all-in-one, controller: {mode: on}}", "", "mode=all-in-one with controller.mode=on writes what kube-controller-manager writes"),
    ("{mode: split, controller: {mode: shadow, args: [--guard=off]}}", "", "controller.args has --guard=off, which controller.guard stands for"),
    ("{mode: split, controller: {mode: shadow, args: [--leader-elect=false]}}", "", "leave leader election on"),
    ("{mode: split, controller: {mode: shadow, args: [--leader-elect-resource-namespace=a]}}", "", "install the release there"),
    ("{mode: split, controller: {mode: shadow, serviceAccount: {name: callsign}}}", "", "so that the pods that answer DNS could write"),
    ("{serviceAccount: {create: false}}", "", "name an account, or set rbac.create=false"),
    ("{flowSchema: {enabled: true}}", "", "accounts in kube-system have the priority level workload-high already"),
    ("{k8sAppLabelOverride: kube-dns}", "", "set service.strategy=join if that is meant"),
    ("{service: {name: kube-dns}}", "", "set service.strategy=adopt to take it over, or another service.name"),
    ("{service: {strategy: join}}", "dns-system", "install it with --namespace kube-system, or set service.strategy=own"),
    ("{service: {strategy: adopt, clusterIP: 10.96.0.10}}", "dns-system", "only finds pods of its own namespace"),
    ("{service: {strategy: join, name: dns}}", "", "set service.existing.name if that is called otherwise"),
    ("{service: {strategy: join}, ports: {dns: 1053}}", "", "sends questions to port 53 of its pods"),
    ("{service: {strategy: join}, servers: [{port: 1053, plugins: [{name: health}, {name: ready}]}]}", "", "would listen on 1053"),
    ("{service: {strategy: join, clusterIP: 10.96.0.10}}", "", "service.strategy=join with service.clusterIP: kube-system/kube-dns stays as it is"),
    ("{service: {strategy: join, ipFamilies: [IPv4]}}", "", "service.strategy=join with service.ipFamilies"),
    ("{service: {strategy: join}, serviceType: LoadBalancer}", "", "service.strategy=join with serviceType=LoadBalancer"),
    ("{service: {strategy: adopt}}", "", "set service.clusterIP to the address that kubelets hand to pods"),
    ("{service: {clusterIP: None}}", "", "a headless Service has none"),
    ('{service: {clusterIP: 10.0.0.1, clusterIPs: [10.0.0.2, "fd00::2"]}}', "", "is not the first of service.clusterIPs"),
    ("{service: {ipFamilyPolicy: SingleStack, ipFamilies: [IPv4, IPv6]}}", "", "name one family, or set PreferDualStack"),
    ("{service: {externalTrafficPolicy: Local}}", "", "service.externalTrafficPolicy=Local with serviceType=ClusterIP"),
    ("{corefile: {existingConfigMap: coredns, inline: \". {\\n}\"}}", "", "are both a Corefile: leave one out"),
    ("{corefile: {existingConfigMap: coredns}, extraConfig: {import: {parameters: a}}}", "", "extraConfig is part of the Corefile that is made of servers"),
    ("{corefile: {existingConfigMap: coredns}, zoneFiles: [{filename: a, contents: b}]}", "", "put the files into that ConfigMap"),
    ("{zoneFiles: [{filename: Corefile, contents: b}]}", "", "which is the configuration itself"),
    ("{ports: {ready: 8080}}", "", "ports.health and ports.ready are both 8080"),
    ("{ports: {dns: 8080}}", "", "ports.health is a port of DNS over TCP, too"),
    ("{servers: [{plugins: [{name: ready}]}]}", "", "has no `health`: add the plugin to a block, or set livenessProbe.enabled=false"),
    ("{servers: [{plugins: [{name: health}]}]}", "", "has no `ready`"),
    ("{servers: [{plugins: [{name: health, parameters: ':8081'}, {name: ready}]}]}", "", "has `health` on port 8081, and ports.health is 8080"),
    ("{ports: {ready: 9999}, corefile: {inline: \". {\\n health\\n ready\\n}\"}}", "", "has `ready` on port 8181, and ports.ready is 9999"),
    ("{servers: [{plugins: [{name: health}, {name: ready}, {name: prometheus, parameters: '0.0.0.0:9253'}]}]}", "", "has `prometheus` on port 9253, and ports.metrics is 9153"),
    ("{servers: [{plugins: [{name: health}, {name: ready}]}], prometheus: {podMonitor: {enabled: true}}}", "", "has no `prometheus :9153`"),
    ("{corefile: {inline: \". {\\n health\\n ready\\n prometheus\\n}\"}, prometheus: {monitor: {enabled: true}}}", "", "only the pod itself can read it"),
    ("{corefile: {inline: \".:1053 {\\n health\\n ready\\n}\"}}", "", "set ports.dns=1053"),
    ("{ports: {dns: 1053}, corefile: {inline: \". {\\n health\\n ready\\n}\"}}", "", "or leave ports.dns empty"),
    ("{terminationGracePeriodSeconds: 5}", "", "has `lameduck 5s`, and terminationGracePeriodSeconds is 5"),
    ("{corefile: {inline: \".:53 {\\n health {\\n  lameduck 1m1s\\n }\\n ready\\n}\"}, terminationGracePeriodSeconds: 61}", "", "pods would be killed while they still answer"),
    ("{service: {strategy: join}, deployment: {dnsPolicy: ClusterFirst}}", "", "what they forward there would come back"),
    ("{ports: {dns: 53}, securityContext: {capabilities: {drop: [ALL]}}}", "", "securityContext.capabilities.add lacks NET_BIND_SERVICE"),
    ("{rollingUpdate: {maxSurge: 0}}", "", "no pod could ever be replaced"),
    ("{podLabels: {app.kubernetes.io/name: other}}", "", "by which Deployments and Services find the pods"),
    ("{podLabels: {k8s-app: kube-dns}}", "", "set service.strategy=join to stand behind kube-dns"),
    ("{deployment: {selector: {app: dns}}, podLabels: {app: other}}", "", "deployment.selector wants dns"),
    ("{hpa: {enabled: true}, autoscaler: {enabled: true}}", "", "each would undo the other's number of replicas"),
    ("{hpa: {enabled: true, minReplicas: 20}}", "", "hpa.minReplicas=20 is more than hpa.maxReplicas=10"),
    ("{autoscaler: {enabled: true, min: 4, max: 3}}", "", "autoscaler.min=4 is more than autoscaler.max=3"),
    ("{hpa: {enabled: true}, resources: {requests: {cpu: null}}}", "", "resources.requests.cpu is not set"),
    ("{podDisruptionBudget: {minAvailable: 1, maxUnavailable: 1}}", "", "Kubernetes takes one of them"),
    ("{prometheus: {monitor: {enabled: true}, podMonitor: {enabled: true}}}", "", "every pod would be scraped twice"),
    ("{prometheus: {rules: {enabled: true, disabled: [NoSuchAlert]}}}", "", "names the alert NoSuchAlert, which there is not"),
    ("{prometheus: {rules: {enabled: true, severities: {NoSuchAlert: info}}}}", "", "names the alert NoSuchAlert, which there is not"),
    # values.schema.json
    ("{replicas: 2}", "", "additional properties 'replicas' not allowed"),
    ("{service: {loadBalancer: {}}}", "", "at '/service': additional properties 'loadBalancer' not allowed"),
    ("{deployment: {skipConfig: true}}", "", "at '/deployment': additional properties 'skipConfig' not allowed"),
    ("{mode: both}", "", "at '/mode': value must be one of 'dns', 'all-in-one', 'split'"),
    ("{mode: split, controller: {mode: off}}", "", "at '/controller/mode': value must be one of"),
    ("{service: {strategy: stay}}", "", "value must be one of 'own', 'join', 'adopt'"),
    ("{replicaCount: two}", "", "at '/replicaCount': got string, want integer"),
    ("{replicaCount: -1}", "", "at '/replicaCount': minimum: got -1, want 0"),
    ("{ports: {dns: 65536}}", "", "at '/ports/dns'"),
    ("{podAnnotations: {a: true}}", "", "at '/podAnnotations/a': got boolean, want string"),
    ("{image: {digest: 'sha256:1'}}", "", "at '/image/digest'"),
    ("{fullnameOverride: Upper}", "", "at '/fullnameOverride'"),
    ("{fullnameOverride: a123456789b123456789c123456789d123456789e1234}", "", "at '/fullnameOverride'"),
    ("{servers: [{plugins: [{parameters: a}]}]}", "", "missing property 'name'"),
    ("{servers: []}", "", "at '/servers': minItems: got 0, want 1"),
    ("{service: {ipFamilies: [IPv5]}}", "", "at '/service/ipFamilies/0'"),
]


def judge(chart: Chart) -> list[str]:
    """What is not refused, or not as it should be."""
    problems = []
    for text, namespace, said in TABLE:
        # With a schema in YAML 1.1, as Helm reads it: an unquoted `on` is true.
        values: dict[str, Any] = yaml.safe_load(text)
        try:
            chart.render(text, values, namespace or NAMESPACE)
        except helm.HelmError as error:
            if said not in str(error):
                problems.append(f"{text}: {error}, and not: {said}")
        else:
            problems.append(f"{text}: not refused")
    return problems
