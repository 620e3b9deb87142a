#!/usr/bin/env python3
"""Makes charts/callsign/files/dashboard.json, the Grafana dashboard, from the table below.

  python3 monitoring/dashboard.py            says whether the file is current
  python3 monitoring/dashboard.py --update   writes it

A panel is a title, how wide it is of 24, its unit, what it asks for, and what it says of itself. Everything else follows. Only
Grafana's own panels are used, and no data source is named: the dashboard asks for one.
"""

import json
import pathlib
import sys

TARGET = pathlib.Path(__file__).resolve().parent.parent / "charts/callsign/files/dashboard.json"
RUNBOOKS = "https://github.com/callsign-dns/callsign/blob/main/docs/runbooks.md"
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
HEIGHT = 8

# What every query is narrowed to. Series without a namespace pass "All".
CHOSEN = 'job=~"$job",namespace=~"$namespace",instance=~"$instance"'


def of(metric, more=""):
    """A metric of what is chosen."""
    return f"{metric}{{{CHOSEN}{',' if more else ''}{more}}}"


def rate(metric, by="", more=""):
    """How often a counter counts, a second."""
    by = f" by ({by})" if by else ""
    return f"sum{by} (rate({of(metric, more)}[$__rate_interval]))"


def quantile(q, histogram, by="", more=""):
    """A quantile of a histogram, by its name without `_bucket`."""
    by = f"{by}, le" if by else "le"
    return f"histogram_quantile({q}, {rate(histogram + '_bucket', by, more)})"


def ratio(part, whole):
    """A share, where there is anything at all."""
    return f"{part} / ({whole} > 0)"


def worst(metric, by, more=""):
    """The largest value."""
    return f"max by ({by}) ({of(metric, more)})"


# === Panels ===


def panel(kind, title, width, unit, queries, text, alert=None, steps=None, options=None, custom=None, **more):
    """Any panel. A query is an expression and its legend; steps are thresholds: (from, colour)."""
    if alert:
        text += "\n\n" + " · ".join(f"[{name}]({RUNBOOKS}#{name.lower()})" for name in alert.split())
    colours = [{"color": "green", "value": None}] + [{"color": c, "value": v} for v, c in steps or []]
    targets = []
    for at, (expr, legend) in enumerate(queries):
        target = {
            "refId": chr(ord("A") + at),
            "datasource": DATASOURCE,
            "editorMode": "code",
            "expr": expr,
            "legendFormat": legend,
        }
        if kind == "table":
            target |= {"format": "table", "instant": True, "range": False}
        else:
            target |= {"instant": kind == "stat", "range": kind != "stat"}
        targets.append(target)
    defaults = {
        "unit": unit,
        "color": {"mode": "thresholds" if kind in ("stat", "state-timeline") else "palette-classic"},
        "thresholds": {"mode": "absolute", "steps": colours},
        "custom": custom or {},
    }
    defaults |= more.pop("defaults", {})
    return {
        "type": kind,
        "title": title,
        "description": text,
        "datasource": DATASOURCE,
        "gridPos": {"w": width, "h": HEIGHT},
        "targets": targets,
        "fieldConfig": {"defaults": defaults, "overrides": more.pop("overrides", [])},
        "options": options or {},
    } | more


def graph(title, width, unit, queries, text, alert=None, limit=None, stacked=False, **more):
    """Lines over time; `limit` is where an alert begins."""
    custom = {
        "drawStyle": "line",
        "lineWidth": 1,
        "fillOpacity": 40 if stacked else 8,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "dashed" if limit is not None else "off"},
    }
    options = {
        "legend": {"displayMode": "table", "placement": "bottom", "showLegend": True, "calcs": ["mean", "max", "lastNotNull"]},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    steps = [(limit, "red")] if limit is not None else None
    lowest = {"defaults": {"min": 0}}
    return panel("timeseries", title, width, unit, queries, text, alert, steps, options, custom, **lowest, **more)


def stat(title, width, unit, query, text, alert=None, steps=None, **more):
    """One number."""
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "value",
        "graphMode": "none",
        "textMode": "value",
        "orientation": "auto",
        "justifyMode": "auto",
    }
    made = panel("stat", title, width, unit, [(query, "")], text, alert, steps, options, **more)
    made["gridPos"]["h"] = 4
    return made


def states(title, width, queries, text, alert=None, good=1, words=("no", "yes")):
    """0 and 1 over time, in words; `good` is green."""
    colours = ("red", "green") if good else ("green", "red")
    mapping = {str(value): {"text": words[value], "color": colours[value], "index": value} for value in (0, 1)}
    options = {
        "mergeValues": True,
        "showValue": "never",
        "rowHeight": 0.9,
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "single", "sort": "none"},
    }
    defaults = {"mappings": [{"type": "value", "options": mapping}]}
    custom = {"fillOpacity": 70, "lineWidth": 0}
    return panel("state-timeline", title, width, "none", queries, text, alert, None, options, custom, defaults=defaults)


def table(title, width, query, text, alert=None, hidden=()):
    """The rows of one query as they are now."""
    hide = {name: True for name in ("Time", *hidden)}
    organize = {"id": "organize", "options": {"excludeByName": hide, "indexByName": {}, "renameByName": {}}}
    options = {"showHeader": True, "cellHeight": "sm", "footer": {"show": False, "reducer": ["sum"], "fields": ""}}
    return panel("table", title, width, "none", [(query, "")], text, alert, None, options, transformations=[organize])


SECONDS, SHARE, A_SECOND, COUNT, BYTES = "s", "percentunit", "reqps", "short", "bytes"
DURATION = "coredns_dns_request_duration_seconds"
UPSTREAM = "coredns_proxy_request_duration_seconds"
ANSWERED = rate("coredns_dns_responses_total")
SERVFAIL = rate("coredns_dns_responses_total", more='rcode="SERVFAIL"')
SYNCED = f"count(min by (job, namespace, instance) ({of('callsign_zone_synced')}) == 1)"
NO_GO = 'goversion="none"'

ROWS = [
    ("At a glance", [
        stat("Questions", 4, A_SECOND, rate("coredns_dns_requests_total"), "Questions a second to all servers, CoreDNS's too."),
        stat("SERVFAIL", 4, SHARE, ratio(f"({SERVFAIL} or vector(0))", ANSWERED), "Share of answers that are SERVFAIL.",
             "ClusterDNSErrorsHigh ClusterDNSErrorsRising", [(0.01, "orange"), (0.03, "red")]),
        stat("p99", 4, SECONDS, quantile(0.99, DURATION), "99 of 100 answers take no longer. Time of upstreams is in it.",
             "ClusterDNSLatencyHigh", [(1, "orange"), (4, "red")]),
        stat("Servers that are synced", 4, COUNT, f"{SYNCED} or vector(0)", "Callsign's servers that answer the cluster's names.",
             "ClusterDNSDown ClusterDNSReplicasLow ClusterDNSNotSynced"),
        stat("Sync lag", 4, SECONDS, f"max({of('callsign_watch_lag_seconds')})",
             "The longest time for which a server has heard nothing of a kind while no watch of it is open.",
             "ClusterDNSWatchLost", [(60, "orange"), (120, "red")]),
        stat("Oldest change to write", 4, SECONDS, f"max({of('callsign_controller_queue_age_seconds')})",
             "How long the oldest change of endpoints has waited to be written. Only where the controllers run.",
             "EndpointsQueueStuck", [(10, "orange"), (60, "red")]),
    ]),
    ("Questions and answers", [
        graph("Questions by server", 8, A_SECOND, [(rate("coredns_dns_requests_total", "instance"), "{{instance}}")],
              "Questions a second. Clients choose at random, so that servers behind one Service get about as many."),
        graph("Questions by type", 8, A_SECOND, [(rate("coredns_dns_requests_total", "type"), "{{type}}")],
              "A and AAAA come in pairs from most resolvers.", stacked=True),
        graph("Questions by transport", 8, A_SECOND, [(rate("coredns_dns_requests_total", "proto"), "{{proto}}")],
              "TCP grows when answers do not fit into UDP, or when clients are told to come over TCP.", stacked=True),
        graph("Answers by code", 8, A_SECOND, [(rate("coredns_dns_responses_total", "rcode"), "{{rcode}}")],
              "NXDOMAIN is usual: search paths ask for names that do not exist.", "ClusterDNSNXDOMAINSurge", stacked=True),
        graph("Share of errors", 8, SHARE,
              [(ratio(SERVFAIL, ANSWERED), "SERVFAIL"),
               (ratio(rate("coredns_dns_responses_total", more='rcode="REFUSED"'), ANSWERED), "REFUSED")],
              "The alerts begin at 1 % and 3 % of SERVFAIL.", "ClusterDNSErrorsRising ClusterDNSErrorsHigh", limit=0.01),
        graph("Answers by plugin", 8, A_SECOND, [(rate("coredns_dns_responses_total", "plugin"), "{{plugin}}")],
              "Who answered. CoreDNS's own numbers name the last plugin of the chain, not the one that answered.", stacked=True),
    ]),
    ("Latency", [
        graph("Latency", 8, SECONDS,
              [(quantile(q, DURATION), name) for q, name in ((0.5, "p50"), (0.99, "p99"), (0.999, "p99.9"))],
              "From a question's arrival to its answer, upstreams included.", "ClusterDNSLatencyHigh", limit=4),
        graph("p99 by server", 8, SECONDS, [(quantile(0.99, DURATION, "instance"), "{{instance}}")],
              "One server that is slower than the others has a slow node or a slow upstream.", "ClusterDNSLatencyHigh"),
        graph("p99 by zone", 8, SECONDS, [(quantile(0.99, DURATION, "zone"), "{{zone}}")],
              "The root zone has what is forwarded."),
    ]),
    ("What is known of the cluster", [
        states("Synced", 8, [(f"min by (instance) ({of('callsign_zone_synced')})", "{{instance}}")],
               "Whether a server answers the cluster's names. Until then they get SERVFAIL.", "ClusterDNSNotSynced"),
        graph("Sync lag by kind", 8, SECONDS, [(worst("callsign_watch_lag_seconds", "kind"), "{{kind}}")],
              "For how long nothing has been heard of a kind while no watch of it is open; 0 while one is.",
              "ClusterDNSWatchLost", limit=120),
        graph("Errors of watches", 8, "ops",
              [(f"{rate('callsign_watch_errors_total', 'kind, reason')} > 0", "{{kind}} {{reason}}")],
              "expired is a list that is made anew, and no harm; forbidden is a permission that is missing.",
              "ClusterDNSNotSynced ClusterDNSWatchLost"),
        graph("Objects", 8, COUNT, [(worst("callsign_watch_objects", "kind"), "{{kind}}")], "Objects that are known, by kind."),
        graph("Changes", 8, "ops", [(f"max by (kind) (rate({of('callsign_watch_events_total')}[$__rate_interval]))", "{{kind}}")],
              "Changes that a server is told of, a second."),
        graph("Lists", 8, "ops", [(rate("callsign_watch_lists_total", "kind"), "{{kind}}")],
              "Complete lists. Apart from starts there should be none: each is work for the API server."),
        graph("Unreadable and doubted", 8, COUNT,
              [(f"{worst('callsign_watch_unreadable_objects', 'kind')} > 0", "unreadable {{kind}}"),
               (f"{worst('callsign_watch_doubted_objects', 'kind')} > 0", "doubted {{kind}}")],
              "Objects that cannot be read, and objects that are kept though a list lacks them.",
              "ClusterDNSObjectsUnreadable ClusterDNSListDoubted"),
        graph("Requests to the API server", 16, A_SECOND,
              [(rate("rest_client_requests_total", "method, code"), "{{method}} {{code}}")],
              "By code. A watch counts when it begins: about one a minute for each kind and server."),
    ]),
    ("Services and endpoints", [
        graph("Endpoints by state", 12, COUNT, [(worst("callsign_endpoints", "state"), "{{state}}")],
              "Pods that Services select, a pod as often as Services select it, by the first thing that keeps them from traffic. "
              "Only where the controllers run.", "ServiceNamedPortMissing", stacked=True),
        graph("Services with names", 6, COUNT, [(worst("callsign_zone_services", "zone"), "{{zone}}")], "Services in the zone."),
        graph("Endpoints with names", 6, COUNT, [(worst("callsign_zone_endpoints", "zone"), "{{zone}}")],
              "Ready endpoints in the zone."),
    ]),
    ("Propagation", [
        graph("Change to answer, p99", 8, SECONDS,
              [(quantile(0.99, "callsign_dns_change_to_answer_seconds", "class"), "{{class}}")],
              "From a change's arrival to its being answered, by how urgent it is."),
        graph("DNS programming, p99", 8, SECONDS,
              [(quantile(0.99, "coredns_kubernetes_dns_programming_duration_seconds", "service_kind"), "{{service_kind}}")],
              "From a pod's becoming ready to its being answered, for headless Services. It has a resolution of one second.",
              "ClusterDNSProgrammingSlow", limit=5),
        graph("Change to write, p99", 8, SECONDS,
              [(quantile(0.99, "callsign_controller_change_to_write_seconds", "kind, class"), "{{kind}} {{class}}")],
              "From a change's arrival to the acknowledgement of the last write it causes. Edits may wait for company.",
              "EndpointsPropagationSlow", limit=5),
    ]),
    ("Cache", [
        graph("Hit ratio", 8, SHARE, [(ratio(rate("coredns_cache_hits_total"), rate("coredns_cache_requests_total")), "hits")],
              "Share of the questions that reach the cache and are answered from it. The cluster's own names are never cached."),
        graph("Questions to the cache", 8, A_SECOND,
              [(rate("coredns_cache_hits_total", "type"), "hit {{type}}"), (rate("coredns_cache_misses_total"), "miss")],
              "What is a miss is asked of the next plugin.", stacked=True),
        graph("Entries", 8, COUNT, [(f"sum by (type) ({of('coredns_cache_entries')})", "{{type}}")], "Answers in caches."),
        graph("Evictions, prefetches, stale answers", 24, "ops",
              [(rate("coredns_cache_evictions_total", "type"), "evicted {{type}}"),
               (rate("coredns_cache_prefetch_total"), "prefetched"),
               (rate("coredns_cache_served_stale_total"), "stale")],
              "Evictions mean that the cache is too small for the names that are asked for."),
    ]),
    ("Upstreams", [
        graph("Questions by upstream", 8, A_SECOND, [(rate(UPSTREAM + "_count", "to"), "{{to}}")],
              "Questions that upstreams answered. CoreDNS before 1.11 has these numbers under other names."),
        graph("p99 by upstream", 8, SECONDS, [(quantile(0.99, UPSTREAM, "to"), "{{to}}")], "How long upstreams take to answer.",
              "ClusterDNSForwardLatencyHigh", limit=4),
        graph("Errors by upstream", 8, SHARE,
              [(ratio(rate(UPSTREAM + "_count", "to", 'rcode="SERVFAIL"'), rate(UPSTREAM + "_count", "to")), "{{to}}")],
              "Share of an upstream's answers that are SERVFAIL.",
              "ClusterDNSForwardErrorsHigh ClusterDNSForwardErrorsRising", limit=0.01),
        graph("Health checks that fail", 8, "ops", [(rate("coredns_proxy_healthcheck_failures_total", "to"), "{{to}}")],
              "Health is checked only after a failure.", "ClusterDNSForwardHealthCheckFailing"),
        graph("Questions that found no upstream", 8, A_SECOND,
              [(rate("coredns_forward_healthcheck_broken_total"), "all upstreams down"),
               (rate("coredns_forward_max_concurrent_rejects_total"), "over max_concurrent")],
              "What finds all upstreams down is tried all the same, or fails at once. What is over max_concurrent is refused.",
              "ClusterDNSForwardAllDown ClusterDNSForwardQueueFull"),
        graph("Connections to upstreams", 8, "ops",
              [(rate("coredns_proxy_conn_cache_hits_total", "proto"), "kept {{proto}}"),
               (rate("coredns_proxy_conn_cache_misses_total", "proto"), "new {{proto}}")],
              "Every question over UDP has a socket of its own; over TCP and TLS connections are kept."),
    ]),
    ("Endpoint controllers: writes", [
        graph("Writes", 8, "wps",
              [(rate("callsign_controller_writes_total", "kind, verb, result"), "{{kind}} {{verb}} {{result}}")],
              "Requests that write. conflict is somebody who was faster, and no error.", "EndpointsSyncErrors"),
        graph("Time of a write, p99", 8, SECONDS,
              [(quantile(0.99, "callsign_controller_write_duration_seconds", "kind, verb"), "{{kind}} {{verb}}")],
              "How long the API server takes to acknowledge."),
        graph("Syncs", 8, "ops", [(rate("callsign_controller_syncs_total", "kind, result"), "{{kind}} {{result}}")],
              "What looking at a Service came to: written, nothing to write, or to be tried again."),
        graph("Keys that wait", 8, COUNT, [(f"sum by (class) ({of('callsign_controller_queue_depth')})", "{{class}}")],
              "Services that wait to be looked at, by their most urgent change.", "EndpointsQueueStuck", stacked=True),
        graph("Age of what waits", 8, SECONDS, [(worst("callsign_controller_queue_age_seconds", "class"), "{{class}}")],
              "How long the oldest change has waited. Growing without pauses of the API server means that Callsign is slow.",
              "EndpointsQueueStuck", limit=60),
        graph("Pauses", 8, "ops",
              [(rate("callsign_controller_throttled_total", "by"), "{{by}}"),
               (f"min({of('callsign_controller_request_window')})", "requests at once")],
              "How often a request was turned away or held back, by whom; how many Services may be written at once."),
        graph("Work queues", 8, "ops", [(rate("workqueue_adds_total", "name"), "{{name}}")],
              "Under kube-controller-manager's names."),
        graph("Changes that joined others", 8, "ops", [(rate("callsign_controller_changes_coalesced_total", "kind"), "{{kind}}")],
              "Changes that needed no write of their own."),
        graph("Endpoint slices", 8, COUNT,
              [(f"max({of('endpoint_slice_controller_num_endpoint_slices')})", "slices"),
               (f"max({of('endpoint_slice_controller_desired_endpoint_slices')})", "slices if packed tightly"),
               (f"max({of('endpoint_slice_controller_endpoints_desired')})", "endpoints")],
              "Slices of Services with a selector, and the endpoints in them."),
    ]),
    ("Endpoint controllers: leader, guard, fuse", [
        states("Leader", 8,
               [(f"max by (instance, name) ({of('leader_election_master_status')} and on (job, namespace, instance) "
                 f"{of('callsign_controller_settled')})", "{{instance}}")],
               "Which replica holds the Lease.", "EndpointsNoLeader EndpointsTwoLeaders EndpointsControllerDown"),
        states("Settled", 8, [(f"min by (instance) ({of('callsign_controller_settled')})", "{{instance}}")],
               "Whether nothing waits to be written and nothing is being written."),
        states("Guard and fuse", 8,
               [(worst("callsign_controller_foreign_manager_active", "instance"), "another controller: {{instance}}"),
                (worst("callsign_controller_fuse_blown", "instance"), "fuse: {{instance}}")],
               "Whether nothing is written because another controller writes, or because too many endpoints would be removed.",
               "EndpointSliceManagerConflict EndpointsFuseBlown", good=0),
        graph("Services left alone, trips of the fuse", 8, COUNT,
              [(f"max({of('callsign_controller_services_left_alone')})", "left alone"),
               (f"sum(increase({of('callsign_controller_fuse_trips_total')}[1h]))", "trips of the fuse in an hour")],
              "Services that somebody else writes.", "EndpointSliceManagerConflict EndpointsFuseBlown"),
        graph("Shadow", 8, COUNT, [(worst("callsign_controller_shadow_difference", "kind"), "{{kind}}")],
              "Writes that shadow mode would make.", "EndpointsShadowDiffers"),
        graph("Elections and Events", 8, "ops",
              [(rate("callsign_leader_transitions_total", "to"), "became {{to}}"),
               (rate("callsign_leader_requests_total", "result"), "Lease: {{result}}"),
               (rate("callsign_controller_events_total", "reason, result"), "Event {{reason}} {{result}}")],
              "Requests about the Lease by what came of them; Events by reason, and by what became of them."),
    ]),
    ("Overload", [
        graph("Questions that are dropped", 8, A_SECOND, [(rate("callsign_dns_questions_dropped_total", "instance"), "{{instance}}")],
              "Questions that wait for others, and found no place to wait in.", "ClusterDNSQuestionsDropped"),
        graph("TCP connections", 8, COUNT, [(f"sum by (instance) ({of('callsign_dns_tcp_connections_open')})", "{{instance}}")],
              "Open connections over TCP, TLS and HTTPS. There are 4096 places, 256 a client.", limit=4096),
        graph("TCP connections, a second", 8, "ops",
              [(rate("callsign_dns_tcp_connections_total"), "let in"),
               (rate("callsign_dns_tcp_connections_evicted_total"), "idle, ended"),
               (rate("callsign_dns_tcp_connections_refused_total"), "refused")],
              "What is idle makes room for what is new.", "ClusterDNSConnectionsRefused"),
        graph("Rate limit", 8, A_SECOND,
              [(rate("coredns_rrl_responses_exceeded_total"), "answers"), (rate("coredns_rrl_requests_exceeded_total"), "questions")],
              "What rrl did not let through, where a Corefile has it."),
        graph("Access lists", 8, A_SECOND,
              [(rate(f"coredns_acl_{what}_requests_total"), what) for what in ("blocked", "filtered", "dropped")],
              "What acl did not let through, where a Corefile has it."),
        graph("Health of the process", 8, SECONDS, [(quantile(0.99, "coredns_health_request_duration_seconds", "instance"), "{{instance}}")],
              "How long /health takes, asked every second from within: how busy the process is."),
    ]),
    ("Processes", [
        graph("Memory", 8, BYTES, [(worst("process_resident_memory_bytes", "instance"), "{{instance}}")], "Resident memory."),
        graph("CPU", 8, COUNT, [(rate("process_cpu_seconds_total", "instance"), "{{instance}}")], "Cores in use."),
        graph("Open files", 8, SHARE,
              [(f"{worst('process_open_fds', 'instance')} / {worst('process_max_fds', 'instance')}", "{{instance}}")],
              "Share of the files and connections that may be open.", "ClusterDNSFilesRunningOut", limit=0.9),
        graph("Restarts", 8, COUNT, [(f"max by (instance) (changes({of('process_start_time_seconds')}[1h]))", "{{instance}}")],
              "Restarts within an hour.", "ClusterDNSRestarting", limit=3),
        graph("Panics", 8, COUNT, [(f"sum by (instance) (increase({of('coredns_panics_total')}[$__rate_interval]))", "{{instance}}")],
              "Questions that met a bug.", "ClusterDNSPanics", limit=1),
        graph("Servers by version", 8, COUNT, [(f"count by (version) ({of('coredns_build_info')})", "{{version}}")],
              "How many processes there are of each version. Callsign's name begins with the CoreDNS it stands in for.", stacked=True),
    ]),
    ("Versions and configuration", [
        table("Versions", 8, f"count by (job, version, revision, goversion) ({of('coredns_build_info')})",
              "What runs. Callsign's goversion is none; another one is CoreDNS's.", "ClusterDNSMixedServers"),
        table("Configurations", 8, f"count by (job, value) ({of('coredns_reload_version_info')})",
              "SHA-512 of the Corefiles that are served. More than one for longer than a minute or two means that a reload failed.",
              "ClusterDNSReloadFailed"),
        table("Who leads", 8, f"max by (job, name, holder) ({of('callsign_leader_info')})", "Who was last seen to hold the Lease.",
              "EndpointsNoLeader"),
        states("Refused Corefile", 8, [(worst("callsign_corefile_refused", "instance"), "{{instance}}")],
               "Whether the Corefile that was last found is wrong, so that the one before is served.", "ClusterDNSReloadFailed", good=0),
        states("Loop", 8, [(worst("callsign_dns_loop_detected", "instance, zone"), "{{instance}} {{zone}}")],
               "Whether what is forwarded comes back.", "ClusterDNSLoopDetected", good=0),
        graph("Reloads that failed", 8, COUNT,
              [(f"sum by (instance) (increase({of('coredns_reload_failed_total')}[$__rate_interval]))", "{{instance}}")],
              "CoreDNS's count, which Callsign has too.", "ClusterDNSReloadFailed"),
        table("Plugins", 16, f"count by (job, server, zone, name) ({of('coredns_plugin_enabled')})",
              "Plugins by listener and zone, and how many servers have them."),
        stat("Servers of Callsign", 4, COUNT, f"count({of('coredns_build_info', NO_GO)}) or vector(0)", "How many there are.",
             "ClusterDNSDown"),
        stat("Servers of CoreDNS", 4, COUNT, f"count({of('coredns_build_info', NO_GO.replace('=', '!='))}) or vector(0)",
             "How many there are beside.", "ClusterDNSMixedServers", [(1, "orange")]),
    ]),
]


# === The dashboard ===


def variable(name, label, query):
    """A choice of values of a label, any number of them."""
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": DATASOURCE,
        "definition": query,
        "query": {"query": query, "refId": "StandardVariableQuery"},
        "includeAll": True,
        "allValue": ".*",
        "multi": True,
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "refresh": 2,
        "regex": "",
        "sort": 1,
        "hide": 0,
        "options": [],
    }


def dashboard():
    """Rows one below the other, panels from left to right."""
    panels, y, number = [], 0, 0
    for title, row in ROWS:
        number += 1
        panels.append({"id": number, "type": "row", "title": title, "collapsed": False, "panels": [],
                       "gridPos": {"x": 0, "y": y, "w": 24, "h": 1}})
        y, x, tallest = y + 1, 0, 0
        for made in row:
            size = made["gridPos"]
            if x + size["w"] > 24:
                x, y, tallest = 0, y + tallest, 0
            number += 1
            panels.append({"id": number} | made | {"gridPos": {"x": x, "y": y} | size})
            x, tallest = x + size["w"], max(tallest, size["h"])
        y += tallest
    source = {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "refresh": 1, "regex": "",
              "hide": 0, "includeAll": False, "multi": False, "current": {}, "options": []}
    chosen = 'job=~"$job",namespace=~"$namespace"'
    return {
        "uid": "callsign",
        "title": "Callsign: cluster DNS and endpoints",
        "description": "Callsign, and CoreDNS beside it. Made by monitoring/dashboard.py of https://github.com/callsign-dns/callsign.",
        "tags": ["callsign", "dns", "kubernetes"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "liveNow": False,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "timepicker": {},
        "timezone": "",
        "weekStart": "",
        "fiscalYearStartMonth": 0,
        "annotations": {"list": [{"builtIn": 1, "datasource": {"type": "grafana", "uid": "-- Grafana --"}, "enable": True, "hide": True,
                                  "iconColor": "rgba(0, 211, 255, 1)", "name": "Annotations & Alerts", "type": "dashboard"}]},
        "links": [{"title": "Runbooks", "type": "link", "icon": "doc", "url": RUNBOOKS, "targetBlank": True, "asDropdown": False,
                   "includeVars": False, "keepTime": False, "tags": [], "tooltip": ""}],
        "templating": {"list": [
            source,
            variable("job", "Job", "label_values(coredns_build_info, job)"),
            variable("namespace", "Namespace", 'label_values(coredns_build_info{job=~"$job"}, namespace)'),
            variable("instance", "Instance", f"label_values(coredns_build_info{{{chosen}}}, instance)"),
        ]},
        "panels": panels,
    }


def main():
    text = json.dumps(dashboard(), indent=1, ensure_ascii=False) + "\n"
    if sys.argv[1:] == ["--update"]:
        TARGET.write_text(text, encoding="utf-8")
    elif sys.argv[1:]:
        sys.exit(__doc__)
    elif not TARGET.exists() or TARGET.read_text(encoding="utf-8") != text:
        sys.exit(f"{TARGET} is not what monitoring/dashboard.py makes; run it with --update")


if __name__ == "__main__":
    main()
