{{/* The Corefile, and what of it the objects must know: ports, lameduck, whether pods are watched. */}}

{{/* Where it comes from: existing, inline or servers. */}}
{{- define "callsign.corefileSource" -}}
{{- if .Values.corefile.existingConfigMap -}}
existing
{{- else if .Values.corefile.inline -}}
inline
{{- else -}}
servers
{{- end -}}
{{- end -}}

{{/* The port of keys that name none. */}}
{{- define "callsign.dnsPort" -}}
{{- if .Values.ports.dns -}}
{{- .Values.ports.dns | int -}}
{{- else if ne .Values.service.strategy "own" -}}
{{- .Values.service.existing.targetPort | int -}}
{{- else if eq (include "callsign.corefileSource" .) "servers" -}}
1053
{{- else -}}
53
{{- end -}}
{{- end -}}

{{/* Where the Corefile is in the container. */}}
{{- define "callsign.corefileFolder" -}}
{{- if .Values.corefile.existingConfigMap -}}/etc/coredns{{- else -}}/etc/callsign{{- end -}}
{{- end -}}

{{- define "callsign.configMapName" -}}
{{- default (include "callsign.fullname" .) .Values.corefile.existingConfigMap -}}
{{- end -}}

{{/* A text or number as a word: YAML's numbers are floating ones, and 1e+06 is none of a Corefile's. */}}
{{- define "callsign.word" -}}
{{- if kindIs "invalid" . -}}
{{- else if and (kindIs "float64" .) (eq (floor .) .) -}}{{ int64 . }}
{{- else -}}{{ . }}
{{- end -}}
{{- end -}}

{{/* The parameters of a plugin: (dict "root" . "plugin" $plugin). Without a key they are what `ports` and `clusterDomain` say. */}}
{{- define "callsign.pluginParameters" -}}
{{- $values := .root.Values -}}
{{- if hasKey .plugin "parameters" -}}
{{- include "callsign.word" .plugin.parameters -}}
{{- else if and (eq .plugin.name "health") (ne (int $values.ports.health) 8080) -}}
:{{ $values.ports.health | int }}
{{- else if and (eq .plugin.name "ready") (ne (int $values.ports.ready) 8181) -}}
:{{ $values.ports.ready | int }}
{{- else if eq .plugin.name "prometheus" -}}
:{{ $values.ports.metrics | int }}
{{- else if eq .plugin.name "kubernetes" -}}
{{ $values.clusterDomain }} in-addr.arpa ip6.arpa
{{- end -}}
{{- end -}}

{{/* The text of the Corefile; empty where it is an existing one. */}}
{{- define "callsign.corefile" -}}
{{- $source := include "callsign.corefileSource" . -}}
{{- if eq $source "inline" -}}
{{- .Values.corefile.inline | trimSuffix "\n" }}
{{ else if eq $source "servers" -}}
{{- $root := . -}}
{{- $port := include "callsign.dnsPort" . -}}
{{- range $name, $config := .Values.extraConfig }}
{{- $name }}{{ with include "callsign.word" $config.parameters }} {{ . }}{{ end }}
{{ end -}}
{{- range .Values.servers -}}
{{- $at := .port | default $port | int -}}
{{- $keys := list -}}
{{- range (default (list (dict "zone" ".")) .zones) -}}
{{- $keys = append $keys (printf "%s%s:%d" (default "" .scheme) (default "." .zone) $at) -}}
{{- end -}}
{{ join " " $keys }} {
{{- range .plugins }}
    {{ .name }}{{ with include "callsign.pluginParameters" (dict "root" $root "plugin" .) }} {{ . }}{{ end }}
{{- with .configBlock }} {
{{ . | trimSuffix "\n" | indent 8 }}
    }
{{- end }}
{{- end }}
}
{{ end -}}
{{- end -}}
{{- end -}}

{{/* DNS ports as a list of dicts in JSON: containerPort, servicePort, nodePort, hostPort, udp, tcp, name. A port of the container is
there once, however many blocks share it. `dns` and `dns-tcp` are the first one's names. */}}
{{- define "callsign.dnsPorts" -}}
{{- $root := . -}}
{{- $ports := dict -}}
{{- $order := list -}}
{{- if eq (include "callsign.corefileSource" .) "servers" -}}
{{- range .Values.servers -}}
{{- $at := .port | default (include "callsign.dnsPort" $root) | int -}}
{{- $key := toString $at -}}
{{- $entry := get $ports $key -}}
{{- if not $entry -}}
{{- $service := $at -}}
{{- if not .port -}}{{- $service = 53 -}}{{- end -}}
{{- $entry = dict "containerPort" $at "servicePort" (.servicePort | default $service | int) "nodePort" (.nodePort | default 0 | int) "hostPort" (.hostPort | default 0 | int) "udp" false "tcp" false -}}
{{- $_ := set $ports $key $entry -}}
{{- $order = append $order $key -}}
{{- end -}}
{{- range (default (list (dict "zone" ".")) .zones) -}}
{{- if has (default "" .scheme) (list "tls://" "https://") -}}
{{- $_ := set $entry "tcp" true -}}
{{- else -}}
{{- $_ := set $entry "udp" true -}}
{{- /* What does not fit into a datagram comes over TCP (RFC 7766). */ -}}
{{- if ne (toString .use_tcp) "false" -}}{{- $_ := set $entry "tcp" true -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- else -}}
{{- $at := include "callsign.dnsPort" . -}}
{{- $order = list $at -}}
{{- $_ := set $ports $at (dict "containerPort" (int $at) "servicePort" 53 "nodePort" 0 "hostPort" 0 "udp" true "tcp" true) -}}
{{- end -}}
{{- $all := list -}}
{{- range $index, $key := $order -}}
{{- $entry := get $ports $key -}}
{{- $_ := set $entry "name" (ternary "dns" (printf "dns-%s" $key) (eq $index 0)) -}}
{{- $all = append $all $entry -}}
{{- end -}}
{{- dict "ports" $all | toJson -}}
{{- end -}}

{{/* Whether a port of the pods is below 1024: "true" or nothing. */}}
{{- define "callsign.privileged" -}}
{{- $low := false -}}
{{- range (include "callsign.dnsPorts" . | fromJson).ports -}}
{{- if lt (int .containerPort) 1024 -}}{{- $low = true -}}{{- end -}}
{{- end -}}
{{- range list .Values.ports.health .Values.ports.ready .Values.ports.metrics -}}
{{- if lt (int .) 1024 -}}{{- $low = true -}}{{- end -}}
{{- end -}}
{{- if $low -}}true{{- end -}}
{{- end -}}

{{/* The Corefile as far as it is known: that of the values, or that of the cluster while Helm talks to it. */}}
{{- define "callsign.knownCorefile" -}}
{{- if .Values.corefile.existingConfigMap -}}
{{- with lookup "v1" "ConfigMap" .Release.Namespace .Values.corefile.existingConfigMap -}}
{{- get (default (dict) .data) "Corefile" -}}
{{- end -}}
{{- else -}}
{{- include "callsign.corefile" . -}}
{{- end -}}
{{- end -}}

{{/* Whether DNS watches pods: "true" or nothing. It does for `pods verified`, and for nothing else. */}}
{{- define "callsign.watchesPods" -}}
{{- if eq (toString .Values.rbac.pods) "auto" -}}
{{- if regexMatch "(?m)^\\s*pods\\s+\"?verified\"?\\s*(#.*)?$" (include "callsign.knownCorefile" .) -}}true{{- end -}}
{{- else if eq (toString .Values.rbac.pods) "true" -}}
true
{{- end -}}
{{- end -}}

{{/* Whether the Corefile takes in changes by itself: "true" or nothing. */}}
{{- define "callsign.reloads" -}}
{{- if regexMatch "(?m)^\\s*reload(\\s+[0-9].*)?\\s*(#.*)?$" (include "callsign.corefile" .) -}}true{{- end -}}
{{- end -}}
