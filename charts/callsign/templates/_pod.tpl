{{/* What pods of Callsign have in common. */}}

{{/* controller.mode as a word: YAML reads an unquoted `on` as true. */}}
{{- define "callsign.controllerMode" -}}
{{- if eq (toString .Values.controller.mode) "true" -}}on{{- else -}}{{ .Values.controller.mode }}{{- end -}}
{{- end -}}

{{/* Whether anything is written: "true" or nothing. */}}
{{- define "callsign.writes" -}}
{{- if and (ne .Values.mode "dns") (eq (include "callsign.controllerMode" .) "on") -}}true{{- end -}}
{{- end -}}

{{/* Flags of the controllers that values stand for, a line each. */}}
{{- define "callsign.controllerArgs" -}}
{{- with .Values.controller -}}
{{- if ne .endpoints "all" }}
- --endpoints={{ ternary "off" .endpoints (eq .endpoints "none") }}
{{- end }}
{{- if not .guard }}
- --guard=off
{{- end }}
{{- if ne .leaseName "callsign-controller" }}
- --leader-elect-resource-name={{ .leaseName }}
{{- end }}
{{- range .args }}
- {{ . | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Flags of the log, a line each. */}}
{{- define "callsign.logArgs" -}}
{{- if ne .Values.log.format "text" }}
- --log-format={{ .Values.log.format }}
{{- end }}
{{- if ne .Values.log.level "info" }}
- {{ printf "--log-level=%s" .Values.log.level | quote }}
{{- end }}
{{- end -}}

{{/* securityContext of a container: (dict "root" . "port53" true). */}}
{{- define "callsign.securityContext" -}}
{{- $context := deepCopy (default (dict) .root.Values.securityContext) -}}
{{- if not (hasKey $context "capabilities") -}}
{{- $capabilities := dict "drop" (list "ALL") -}}
{{- if and .privileged (not (include "callsign.unprivilegedPorts" .root)) -}}
{{- $_ := set $capabilities "add" (list "NET_BIND_SERVICE") -}}
{{- end -}}
{{- $_ := set $context "capabilities" $capabilities -}}
{{- end -}}
{{- toYaml $context -}}
{{- end -}}

{{/* Whether a sysctl opens low ports to everybody: "true" or nothing. */}}
{{- define "callsign.unprivilegedPorts" -}}
{{- range (default (list) (default (dict) .Values.podSecurityContext).sysctls) -}}
{{- if and (eq .name "net.ipv4.ip_unprivileged_port_start") (le (int .value) 53) -}}true{{- end -}}
{{- end -}}
{{- end -}}

{{- define "callsign.probes" -}}
{{- with .Values.startupProbe }}{{ if .enabled }}
startupProbe:
  httpGet:
    path: /health
    port: health
  {{- omit . "enabled" | toYaml | nindent 2 }}
{{- end }}{{ end }}
{{- with .Values.livenessProbe }}{{ if .enabled }}
livenessProbe:
  httpGet:
    path: /health
    port: health
  {{- omit . "enabled" | toYaml | nindent 2 }}
{{- end }}{{ end }}
{{- with .Values.readinessProbe }}{{ if .enabled }}
readinessProbe:
  httpGet:
    path: /ready
    port: ready
  {{- omit . "enabled" | toYaml | nindent 2 }}
{{- end }}{{ end }}
{{- end -}}

{{/* Ports of the pages. */}}
{{- define "callsign.pagePorts" -}}
- name: health
  containerPort: {{ .Values.ports.health | int }}
  protocol: TCP
- name: ready
  containerPort: {{ .Values.ports.ready | int }}
  protocol: TCP
- name: metrics
  containerPort: {{ .Values.ports.metrics | int }}
  protocol: TCP
{{- end -}}

{{/* Spread: (dict "root" . "component" "dns"). */}}
{{- define "callsign.spread" -}}
{{- $root := .root -}}
{{- $labels := include "callsign.selectorLabels" . | fromYaml -}}
{{- if hasKey $root.Values "topologySpreadConstraints" -}}
{{- $given := $root.Values.topologySpreadConstraints -}}
{{- $all := list -}}
{{- if $given -}}
{{- $given = get (tpl (dict "all" $given | toYaml) $root | fromYaml) "all" -}}
{{- else if not (kindIs "invalid" $given) -}}
{{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" -}}
{{- $given = append $given (dict "maxSkew" 1 "topologyKey" . "whenUnsatisfiable" "ScheduleAnyway" "matchLabelKeys" (list "pod-template-hash")) -}}
{{- end -}}
{{- end -}}
{{- range $given -}}
{{- if not (hasKey . "labelSelector") -}}{{- $_ := set . "labelSelector" (dict "matchLabels" $labels) -}}{{- end -}}
{{- $all = append $all . -}}
{{- end -}}
{{- with $all }}
topologySpreadConstraints:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
{{- end -}}

{{/* Fields of a pod's spec that do not depend on what runs in it: (dict "root" . "component" "dns" "affinity" $map). */}}
{{- define "callsign.placement" -}}
{{- with include "callsign.priorityClass" .root }}
priorityClassName: {{ . }}
{{- end }}
{{- with .root.Values.podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with include "callsign.pullSecrets" .root }}
{{ . }}
{{- end }}
{{- with .root.Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- include "callsign.spread" (dict "root" .root "component" .component) }}
{{- end -}}
