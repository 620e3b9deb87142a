{{/* What values contradict each other. Every sentence names both and the cure. What one value may be by itself is in values.schema.json. */}}

{{- define "callsign.validate" -}}
{{- include "callsign.validateMode" . -}}
{{- include "callsign.validateService" . -}}
{{- include "callsign.validateCorefile" . -}}
{{- include "callsign.validatePods" . -}}
{{- include "callsign.validateScaling" . -}}
{{- include "callsign.validateMonitoring" . -}}
{{- end -}}

{{- define "callsign.validateMode" -}}
{{- if ne .Values.mode "dns" -}}
{{- if and (eq (include "callsign.controllerMode" .) "on") (not .Values.controller.acknowledgeKcmDisabled) -}}
{{- fail (printf "mode=%s with controller.mode=on writes what kube-controller-manager writes: turn its endpoint controllers off (--controllers=*,-endpoints-controller,-endpointslice-controller,-endpointslice-mirroring-controller) and set controller.acknowledgeKcmDisabled=true, or set controller.mode=shadow, which writes nothing" .Values.mode) -}}
{{- end -}}
{{- range .Values.controller.args -}}
{{- $flag := first (splitList "=" .) -}}
{{- $value := get (dict "--controller" "controller.mode" "--shadow" "controller.mode" "--endpoints" "controller.endpoints" "--guard" "controller.guard" "--leader-elect-resource-name" "controller.leaseName" "--corefile" "corefile" "--health-listen" "ports.health" "--ready-listen" "ports.ready" "--metrics-listen" "ports.metrics" "--log-format" "log.format" "--log-level" "log.level") $flag -}}
{{- if $value -}}
{{- fail (printf "controller.args has %s, which %s stands for: set that instead" . $value) -}}
{{- end -}}
{{- if eq . "--leader-elect=false" -}}
{{- fail "controller.args has --leader-elect=false: a rollout has two processes at once, and both would write; leave leader election on" -}}
{{- end -}}
{{- if has $flag (list "--leader-elect-resource-namespace" "--guard-namespace") -}}
{{- fail (printf "controller.args has %s: the accounts may only use Leases and Services of the release's namespace; install the release there" .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if eq .Values.mode "split" -}}
{{- if eq (include "callsign.serviceAccountName" .) (include "callsign.controllerAccountName" .) -}}
{{- fail (printf "mode=split: serviceAccount and controller.serviceAccount are both %q, so that the pods that answer DNS could write; give them different names, or use mode=all-in-one" (include "callsign.serviceAccountName" .)) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.rbac.create (not .Values.serviceAccount.create) (not .Values.serviceAccount.name) -}}
{{- fail "rbac.create=true with serviceAccount.create=false and no serviceAccount.name would give the rights to the account `default`, and so to every pod of the namespace: name an account, or set rbac.create=false" -}}
{{- end -}}
{{- if and .Values.flowSchema.enabled (eq .Release.Namespace "kube-system") -}}
{{- fail "flowSchema.enabled=true: accounts in kube-system have the priority level workload-high already; set it to false" -}}
{{- end -}}
{{- end -}}

{{- define "callsign.validateService" -}}
{{- $strategy := .Values.service.strategy -}}
{{- $existing := printf "%s/%s" .Values.service.existing.namespace .Values.service.existing.name -}}
{{- if eq $strategy "own" -}}
{{- if and (eq .Values.k8sAppLabelOverride "kube-dns") (eq .Release.Namespace "kube-system") -}}
{{- fail "service.strategy=own with k8sAppLabelOverride=kube-dns: pods with that label stand behind kube-system/kube-dns at once; set service.strategy=join if that is meant, else leave the label out" -}}
{{- end -}}
{{- if eq (printf "%s/%s" .Release.Namespace (include "callsign.serviceName" .)) $existing -}}
{{- fail (printf "service.strategy=own with the name of the existing Service %s: set service.strategy=adopt to take it over, or another service.name" $existing) -}}
{{- end -}}
{{- else -}}
{{- if ne .Release.Namespace .Values.service.existing.namespace -}}
{{- fail (printf "service.strategy=%s: the Service %s only finds pods of its own namespace, and the release is in %s: install it with --namespace %s, or set service.strategy=own" $strategy $existing .Release.Namespace .Values.service.existing.namespace) -}}
{{- end -}}
{{- if .Values.service.name -}}
{{- fail (printf "service.strategy=%s with service.name=%s: the Service is %s; set service.existing.name if that is called otherwise" $strategy .Values.service.name $existing) -}}
{{- end -}}
{{- $wanted := int .Values.service.existing.targetPort -}}
{{- $listens := list -}}
{{- range (include "callsign.dnsPorts" . | fromJson).ports -}}{{- $listens = append $listens (int .containerPort) -}}{{- end -}}
{{- if not (has $wanted $listens) -}}
{{- fail (printf "service.strategy=%s: %s sends questions to port %d of its pods (service.existing.targetPort), and these would listen on %s: leave ports.dns and the ports of servers empty" $strategy $existing $wanted (join ", " $listens)) -}}
{{- end -}}
{{- end -}}
{{- include "callsign.validateExisting" . -}}
{{- if eq $strategy "join" -}}
{{- range $key, $value := pick .Values.service "clusterIP" "clusterIPs" "ipFamilyPolicy" "ipFamilies" "loadBalancerIP" "loadBalancerClass" "externalIPs" "externalTrafficPolicy" "internalTrafficPolicy" "trafficDistribution" "selector" "annotations" -}}
{{- if $value -}}
{{- fail (printf "service.strategy=join with service.%s: %s stays as it is; leave the value out, or set service.strategy=adopt" $key $existing) -}}
{{- end -}}
{{- end -}}
{{- if ne .Values.serviceType "ClusterIP" -}}
{{- fail (printf "service.strategy=join with serviceType=%s: %s stays as it is; leave the value out, or set service.strategy=adopt" .Values.serviceType $existing) -}}
{{- end -}}
{{- end -}}
{{- with .Values.service -}}
{{- if eq .clusterIP "None" -}}
{{- fail "service.clusterIP=None: kubelets hand out one address of the cluster's DNS, and a headless Service has none; leave it empty" -}}
{{- end -}}
{{- if and .clusterIP .clusterIPs -}}
{{- if ne .clusterIP (first .clusterIPs) -}}
{{- fail (printf "service.clusterIP=%s is not the first of service.clusterIPs (%s): make them agree, or leave clusterIP empty" .clusterIP (join ", " .clusterIPs)) -}}
{{- end -}}
{{- end -}}
{{- if and (eq .ipFamilyPolicy "SingleStack") (gt (len .ipFamilies) 1) -}}
{{- fail (printf "service.ipFamilyPolicy=SingleStack with service.ipFamilies of %s: name one family, or set PreferDualStack" (join ", " .ipFamilies)) -}}
{{- end -}}
{{- if eq $.Values.serviceType "ClusterIP" -}}
{{- range $key, $value := pick . "externalTrafficPolicy" "loadBalancerIP" "loadBalancerClass" -}}
{{- if $value -}}
{{- fail (printf "service.%s=%v with serviceType=ClusterIP: set serviceType to LoadBalancer (or NodePort), or leave the value out" $key $value) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What the existing Service itself says, while Helm talks to its cluster. */}}
{{- define "callsign.validateExisting" -}}
{{- $strategy := .Values.service.strategy -}}
{{- $existing := printf "%s/%s" .Values.service.existing.namespace .Values.service.existing.name -}}
{{- $there := dict -}}
{{- if ne $strategy "own" -}}
{{- $there = lookup "v1" "Service" .Values.service.existing.namespace .Values.service.existing.name -}}
{{- end -}}
{{- if $there -}}
{{- $wanted := int .Values.service.existing.targetPort -}}
{{- range $there.spec.ports -}}
{{- if and (eq (int .port) 53) (not (kindIs "string" .targetPort)) .targetPort (ne (int .targetPort) $wanted) -}}
{{- fail (printf "service.strategy=%s: %s sends questions to port %d of its pods, and service.existing.targetPort is %d: set it to %d" $strategy $existing (int .targetPort) $wanted (int .targetPort)) -}}
{{- end -}}
{{- end -}}
{{- if eq $strategy "join" -}}
{{- $labels := merge (dict "k8s-app" (include "callsign.k8sApp" .)) .Values.podLabels .Values.customLabels -}}
{{- range $key, $value := $there.spec.selector -}}
{{- if ne (toString (get $labels $key)) $value -}}
{{- fail (printf "service.strategy=join: %s finds pods by %s=%s, and these would not carry it: set %s" $existing $key $value (ternary (printf "k8sAppLabelOverride=%s" $value) (printf "podLabels.%s=%s" $key $value) (eq $key "k8s-app"))) -}}
{{- end -}}
{{- end -}}
{{- else if and .Values.service.clusterIP (ne .Values.service.clusterIP $there.spec.clusterIP) -}}
{{- fail (printf "service.strategy=adopt with service.clusterIP=%s: %s has %s, which cannot be changed; leave service.clusterIP empty" .Values.service.clusterIP $existing $there.spec.clusterIP) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "callsign.validateCorefile" -}}
{{- $source := include "callsign.corefileSource" . -}}
{{- $text := include "callsign.corefile" . -}}
{{- if and .Values.corefile.existingConfigMap .Values.corefile.inline -}}
{{- fail (printf "corefile.existingConfigMap=%s and corefile.inline are both a Corefile: leave one out" .Values.corefile.existingConfigMap) -}}
{{- end -}}
{{- if and (ne $source "servers") .Values.extraConfig -}}
{{- fail "extraConfig is part of the Corefile that is made of servers: write its lines into the Corefile you give" -}}
{{- end -}}
{{- if and (eq $source "existing") .Values.zoneFiles -}}
{{- fail (printf "zoneFiles with corefile.existingConfigMap=%s: put the files into that ConfigMap, or use extraVolumes" .Values.corefile.existingConfigMap) -}}
{{- end -}}
{{- range .Values.zoneFiles -}}
{{- if eq .filename "Corefile" -}}{{- fail "zoneFiles has a file named Corefile, which is the configuration itself: name it otherwise" -}}{{- end -}}
{{- end -}}
{{- $pages := dict "health" .Values.ports.health "ready" .Values.ports.ready "metrics" .Values.ports.metrics -}}
{{- $used := dict -}}
{{- range $name := list "health" "ready" "metrics" -}}
{{- $port := get $pages $name | int | toString -}}
{{- with get $used $port -}}{{- fail (printf "ports.%s and ports.%s are both %s: give them different ports" . $name $port) -}}{{- end -}}
{{- $_ := set $used $port $name -}}
{{- end -}}
{{- range (include "callsign.dnsPorts" . | fromJson).ports -}}
{{- if .tcp -}}
{{- with get $used (toString .containerPort) -}}{{- fail (printf "ports.%s is a port of DNS over TCP, too: give them different ports" .) -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- if ne $source "existing" -}}
{{- range $page := list (list "health" "health" 8080 "livenessProbe" .Values.livenessProbe.enabled) (list "health" "health" 8080 "startupProbe" .Values.startupProbe.enabled) (list "ready" "ready" 8181 "readinessProbe" .Values.readinessProbe.enabled) -}}
{{- $line := regexFind (printf "(?m)^[ \\t]+%s\\b[^{#\\n]*" (index $page 0)) $text -}}
{{- if and (index $page 4) (not $line) -}}
{{- fail (printf "%s.enabled=true, but the Corefile has no `%s`: add the plugin to a block, or set %s.enabled=false" (index $page 3) (index $page 0) (index $page 3)) -}}
{{- end -}}
{{- if $line -}}
{{- $port := default (toString (index $page 2)) (regexFind ":[0-9]+" $line | trimPrefix ":") -}}
{{- if ne $port (get $pages (index $page 1) | int | toString) -}}
{{- fail (printf "the Corefile has `%s` on port %s, and ports.%s is %d: make them agree" (index $page 0) $port (index $page 1) (get $pages (index $page 1) | int)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $line := regexFind "(?m)^[ \\t]+prometheus\\b[^{#\\n]*" $text -}}
{{- $port := regexFind ":[0-9]+" $line | trimPrefix ":" -}}
{{- if and $port (ne $port (.Values.ports.metrics | int | toString)) -}}
{{- fail (printf "the Corefile has `prometheus` on port %s, and ports.metrics is %d: make them agree" $port (int .Values.ports.metrics)) -}}
{{- end -}}
{{- $scraped := or .Values.prometheus.service.enabled .Values.prometheus.monitor.enabled .Values.prometheus.podMonitor.enabled -}}
{{- if and $scraped (or (not $line) (and (eq $source "inline") (not $port))) -}}
{{- fail (printf "prometheus.service, monitor or podMonitor is enabled, but the Corefile has no `prometheus :%d`: add it to a block (without an address only the pod itself can read it)" (int .Values.ports.metrics)) -}}
{{- end -}}
{{- if eq $source "inline" -}}
{{- $keys := list -}}
{{- range regexFindAll "(?m)^[^ \\t#{}\\n][^\\n]*:[0-9]+[^\\n]*\\{[ \\t\\r]*(#.*)?$" $text -1 -}}
{{- range regexFindAll ":[0-9]+\\b" . -1 -}}{{- $keys = append $keys (trimPrefix ":" .) -}}{{- end -}}
{{- end -}}
{{- $listens := include "callsign.dnsPort" . -}}
{{- if and $keys (not (has $listens $keys)) -}}
{{- fail (printf "corefile.inline listens on port %s, and the pods' DNS port is %s: set ports.dns=%s" (join ", " (uniq $keys)) $listens (first $keys)) -}}
{{- end -}}
{{- if and (not $keys) (ne $listens "53") -}}
{{- fail (printf "corefile.inline names no port, which is 53, and ports.dns is %s: write `.:%s {` into the Corefile, or leave ports.dns empty" $listens $listens) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range regexFindAll "(?m)^\\s*lameduck\\s+[0-9.hms]+" $text -1 -}}
{{- $seconds := 0.0 -}}
{{- range regexFindAll "[0-9.]+(ms|s|m|h)" . -1 -}}
{{- $number := regexFind "^[0-9.]+" . | float64 -}}
{{- $unit := regexFind "[a-z]+$" . -}}
{{- $seconds = addf $seconds (mulf $number (get (dict "ms" 0.001 "s" 1.0 "m" 60.0 "h" 3600.0) $unit)) -}}
{{- end -}}
{{- if ge $seconds (float64 $.Values.terminationGracePeriodSeconds) -}}
{{- fail (printf "the Corefile has `%s`, and terminationGracePeriodSeconds is %d: pods would be killed while they still answer; make the second larger" (trim .) (int $.Values.terminationGracePeriodSeconds)) -}}
{{- end -}}
{{- end -}}
{{- if and (ne .Values.service.strategy "own") (hasPrefix "ClusterFirst" .Values.deployment.dnsPolicy) (or (contains "/etc/resolv.conf" $text) (eq $source "existing")) -}}
{{- fail (printf "deployment.dnsPolicy=%s with service.strategy=%s: /etc/resolv.conf would name the pods' own Service, and what they forward there would come back; set deployment.dnsPolicy=Default" .Values.deployment.dnsPolicy .Values.service.strategy) -}}
{{- end -}}
{{- end -}}

{{- define "callsign.validatePods" -}}
{{- if and (include "callsign.privileged" .) (hasKey .Values.securityContext "capabilities") (not (include "callsign.unprivilegedPorts" .)) -}}
{{- $added := default (list) (default (dict) .Values.securityContext.capabilities).add -}}
{{- if not (or (has "NET_BIND_SERVICE" $added) (has "ALL" $added)) -}}
{{- fail "a port of the pods is below 1024, and securityContext.capabilities.add lacks NET_BIND_SERVICE: add it, leave capabilities out (they are made to fit), set ports.dns=1053 with an own Service, or set the sysctl net.ipv4.ip_unprivileged_port_start in podSecurityContext.sysctls" -}}
{{- end -}}
{{- end -}}
{{- $rolling := .Values.rollingUpdate -}}
{{- if and (has (toString $rolling.maxUnavailable) (list "0" "0%")) (has (toString $rolling.maxSurge) (list "0" "0%")) -}}
{{- fail "rollingUpdate.maxUnavailable and rollingUpdate.maxSurge are both 0: no pod could ever be replaced; set one of them to 1" -}}
{{- end -}}
{{- $selector := default (dict) .Values.deployment.selector -}}
{{- range $name, $labels := dict "podLabels" .Values.podLabels "customLabels" .Values.customLabels "controller.podLabels" .Values.controller.podLabels -}}
{{- range $key, $value := $labels -}}
{{- if has $key (list "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component") -}}
{{- fail (printf "%s sets %s, by which Deployments and Services find the pods: use another label" $name $key) -}}
{{- end -}}
{{- if and (eq $key "k8s-app") (ne $name "controller.podLabels") -}}
{{- fail (printf "%s sets k8s-app: set service.strategy=join to stand behind kube-dns, or k8sAppLabelOverride for another value" $name) -}}
{{- end -}}
{{- if and (hasKey $selector $key) (ne (get $selector $key) $value) -}}
{{- fail (printf "%s sets %s=%s, and deployment.selector wants %s: make them agree" $name $key $value (get $selector $key)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "callsign.validateScaling" -}}
{{- if and .Values.hpa.enabled .Values.autoscaler.enabled -}}
{{- fail "hpa.enabled and autoscaler.enabled are both true: each would undo the other's number of replicas; turn one off" -}}
{{- end -}}
{{- if and .Values.hpa.enabled (gt (int .Values.hpa.minReplicas) (int .Values.hpa.maxReplicas)) -}}
{{- fail (printf "hpa.minReplicas=%d is more than hpa.maxReplicas=%d: make the second larger" (int .Values.hpa.minReplicas) (int .Values.hpa.maxReplicas)) -}}
{{- end -}}
{{- if and .Values.autoscaler.enabled .Values.autoscaler.max (gt (int .Values.autoscaler.min) (int .Values.autoscaler.max)) -}}
{{- fail (printf "autoscaler.min=%d is more than autoscaler.max=%d: make the second larger, or 0 for no bound" (int .Values.autoscaler.min) (int .Values.autoscaler.max)) -}}
{{- end -}}
{{- if and .Values.hpa.enabled (not .Values.hpa.metrics) (not (dig "requests" "cpu" "" .Values.resources)) -}}
{{- fail "hpa.enabled=true goes by the share of the CPU that pods request, and resources.requests.cpu is not set: set it, or hpa.metrics" -}}
{{- end -}}
{{- with .Values.podDisruptionBudget -}}
{{- if and (hasKey . "minAvailable") (hasKey . "maxUnavailable") -}}
{{- fail "podDisruptionBudget has minAvailable and maxUnavailable: Kubernetes takes one of them; leave the other out" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "callsign.validateMonitoring" -}}
{{- if and .Values.prometheus.monitor.enabled .Values.prometheus.podMonitor.enabled -}}
{{- fail "prometheus.monitor.enabled and prometheus.podMonitor.enabled are both true: every pod would be scraped twice; turn one off" -}}
{{- end -}}
{{- if .Values.prometheus.rules.enabled -}}
{{- $known := list -}}
{{- range (concat (.Files.Get "files/rules.yaml" | fromYaml).groups .Values.prometheus.rules.extraGroups) -}}
{{- range .rules -}}{{- with .alert -}}{{- $known = append $known . -}}{{- end -}}{{- end -}}
{{- end -}}
{{- range (concat .Values.prometheus.rules.disabled (keys .Values.prometheus.rules.severities)) -}}
{{- if not (has . $known) -}}
{{- fail (printf "prometheus.rules names the alert %s, which there is not: the alerts are %s" . (join ", " (sortAlpha $known))) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
