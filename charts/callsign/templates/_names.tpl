{{/* Names, labels and images. Selectors are made of what no value changes, so that every upgrade can keep its Deployment. */}}

{{/* Room for the longest ending, `-controller-metrics`; a release's name may have dots, a Service's may not. */}}
{{- define "callsign.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- $name = .Values.fullnameOverride -}}
{{- else if contains $name .Release.Name -}}
{{- $name = .Release.Name -}}
{{- else -}}
{{- $name = printf "%s-%s" .Release.Name $name -}}
{{- end -}}
{{- $name | replace "." "-" | trunc 44 | trimSuffix "-" -}}
{{- end -}}

{{- define "callsign.controllerName" -}}
{{- if eq .Values.mode "split" -}}
{{- include "callsign.fullname" . }}-controller
{{- else -}}
{{- include "callsign.fullname" . }}
{{- end -}}
{{- end -}}

{{- define "callsign.serviceName" -}}
{{- if eq .Values.service.strategy "own" -}}
{{- default (include "callsign.fullname" .) .Values.service.name -}}
{{- else -}}
{{- .Values.service.existing.name -}}
{{- end -}}
{{- end -}}

{{- define "callsign.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "callsign.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* The account that writes: that of split's controllers, else that of the one process. */}}
{{- define "callsign.controllerAccountName" -}}
{{- if ne .Values.mode "split" -}}
{{- include "callsign.serviceAccountName" . -}}
{{- else if .Values.controller.serviceAccount.create -}}
{{- default (include "callsign.controllerName" .) .Values.controller.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.controller.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* Labels that select pods: (dict "root" . "component" "dns"). */}}
{{- define "callsign.selectorLabels" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* The selector of the pods that answer DNS. */}}
{{- define "callsign.dnsSelector" -}}
{{- if .Values.deployment.selector -}}
{{- toYaml .Values.deployment.selector -}}
{{- else -}}
{{- include "callsign.selectorLabels" (dict "root" . "component" "dns") -}}
{{- end -}}
{{- end -}}

{{/* Labels of every object: (dict "root" . "component" "dns"). */}}
{{- define "callsign.labels" -}}
{{ include "callsign.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | replace "+" "_" | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with .root.Values.customLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Labels of pods: (dict "root" . "component" "dns" "more" $map). The chart's version is none: it would be a rollout for nothing. */}}
{{- define "callsign.podLabels" -}}
{{- $labels := include "callsign.selectorLabels" . | fromYaml -}}
{{- $_ := set $labels "app.kubernetes.io/version" (.root.Chart.AppVersion | replace "+" "_") -}}
{{- merge (dict) $labels (default (dict) .more) (default (dict) .root.Values.customLabels) | toYaml -}}
{{- end -}}

{{/* The line and lines `annotations:` of an object, or nothing: (dict "root" . "own" $map "indent" 2). */}}
{{- define "callsign.annotations" -}}
{{- with merge (dict) (default (dict) .own) (default (dict) .root.Values.customAnnotations) }}
{{- dict "annotations" . | toYaml | nindent (int $.indent) }}
{{- end }}
{{- end -}}

{{/* The label by which the existing Service finds pods: k8s-app's value, or nothing. */}}
{{- define "callsign.k8sApp" -}}
{{- if eq .Values.service.strategy "own" -}}
{{- .Values.k8sAppLabelOverride -}}
{{- else -}}
{{- default "kube-dns" .Values.k8sAppLabelOverride -}}
{{- end -}}
{{- end -}}

{{/* An image: (dict "root" . "image" .Values.image "tag" "0.1.0"). A registry is a first part with a dot, a colon, or localhost. */}}
{{- define "callsign.image" -}}
{{- $repository := .image.repository -}}
{{- with .root.Values.global.imageRegistry -}}
{{- $parts := splitList "/" $repository -}}
{{- $first := first $parts -}}
{{- if and (gt (len $parts) 1) (or (contains "." $first) (contains ":" $first) (eq $first "localhost")) -}}
{{- $repository = join "/" (rest $parts) -}}
{{- end -}}
{{- $repository = printf "%s/%s" (trimSuffix "/" .) $repository -}}
{{- end -}}
{{- if .image.digest -}}
{{- printf "%s@%s" $repository .image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (default .tag (.image.tag | toString)) -}}
{{- end -}}
{{- end -}}

{{/* imagePullSecrets of a pod, from names and objects. */}}
{{- define "callsign.pullSecrets" -}}
{{- $all := concat (default (list) .Values.image.pullSecrets) (default (list) .Values.global.imagePullSecrets) -}}
{{- if $all -}}
imagePullSecrets:
{{- range $all }}
  - name: {{ if kindIs "string" . }}{{ . }}{{ else }}{{ .name }}{{ end }}
{{- end }}
{{- end -}}
{{- end -}}

{{- define "callsign.priorityClass" -}}
{{- if .Values.priorityClassName -}}
{{- if ne .Values.priorityClassName "none" -}}{{ .Values.priorityClassName }}{{- end -}}
{{- else if eq .Release.Namespace "kube-system" -}}
system-cluster-critical
{{- end -}}
{{- end -}}
