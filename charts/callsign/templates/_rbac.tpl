{{/* Rules: what each half needs, and no more. docs/controller.md says what each is for. */}}

{{/* DNS from EndpointSlices. */}}
{{- define "callsign.dnsRules" -}}
- apiGroups: [""]
  resources: [services, namespaces{{ if include "callsign.watchesPods" . }}, pods{{ end }}]
  verbs: [list, watch]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list, watch]
{{- end -}}

{{/* The controllers, which see all that DNS sees. Shadow writes nothing. */}}
{{- define "callsign.controllerRules" -}}
{{- $writes := include "callsign.writes" . -}}
- apiGroups: [""]
  resources: [services]
  verbs: [{{ if $writes }}get, {{ end }}list, watch]
- apiGroups: [""]
  resources: [pods, nodes, namespaces]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [endpoints]
  {{- if and $writes (eq .Values.controller.endpoints "all") }}
  verbs: [get, list, watch, create, update, delete]
  {{- else if and $writes (eq .Values.controller.endpoints "existing") }}
  verbs: [get, list, watch, update, delete]
  {{- else }}
  verbs: [{{ if $writes }}get, {{ end }}list, watch]
  {{- end }}
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [{{ if $writes }}get, list, watch, create, update, delete{{ else }}list, watch{{ end }}]
{{- if $writes }}
{{- if eq .Values.controller.endpoints "all" }}
- apiGroups: [""]
  resources: [endpoints/restricted]
  verbs: [create]
{{- end }}
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices/restricted]
  verbs: [create]
- apiGroups: [""]
  resources: [services/finalizers, endpoints/finalizers]
  verbs: [update]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}
{{- end -}}
