{{/* How many pods answer DNS at least. */}}
{{- define "callsign.fewest" -}}
{{- if .Values.hpa.enabled -}}
{{- .Values.hpa.minReplicas | int -}}
{{- else if .Values.autoscaler.enabled -}}
{{- .Values.autoscaler.min | int -}}
{{- else -}}
{{- .Values.replicaCount | int -}}
{{- end -}}
{{- end -}}

{{- define "callsign.deploymentName" -}}
{{- default (include "callsign.fullname" .) .Values.deployment.name -}}
{{- end -}}

{{/* spec of a disruption budget, without its selector. */}}
{{- define "callsign.budget" -}}
{{- $given := omit .Values.podDisruptionBudget "enabled" -}}
{{- if not (or (hasKey $given "minAvailable") (hasKey $given "maxUnavailable")) -}}
{{- $_ := set $given "maxUnavailable" 1 -}}
{{- end -}}
{{- toYaml $given -}}
{{- end -}}

{{/* Whether there are budgets: "true" or nothing. */}}
{{- define "callsign.budgeted" -}}
{{- if ne (toString (get .Values.podDisruptionBudget "enabled")) "false" -}}true{{- end -}}
{{- end -}}
