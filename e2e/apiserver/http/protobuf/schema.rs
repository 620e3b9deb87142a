//! The messages that are known: field number, name and type, from the `generated.proto` files of `k8s.io/api` and
//! `k8s.io/apimachinery`.

/// A message's fields.
pub(super) type Message = [(u64, &'static str, Type)];

/// A field's type.
pub(super) enum Type {
    /// A string; empty is the same as absent.
    Text,
    /// `false` is the same as absent.
    Bool,
    /// A pointer to a bool.
    OptionalBool,
    /// 0 is the same as absent.
    Int,
    /// A pointer to a number.
    OptionalInt,
    /// A message; an empty one is the same as absent.
    Message(&'static Message),
    /// `resource.Quantity`
    Quantity,
    /// `intstr.IntOrString`
    IntOrString,
    /// `meta/v1 Time`
    Time,
    /// Bytes, which are base64 in JSON.
    Bytes,
    /// A repeated field.
    List(&'static Self),
    /// A map from strings.
    Map(&'static Self),
    /// Of no concern to a request.
    Skip,
}

use Type::{Bool, Int, IntOrString, List, Map, OptionalBool, OptionalInt, Quantity, Skip, Text, Time};

/// The message of an object.
pub(super) fn message_of(api_version: &str, kind: &str) -> Option<&'static Message> {
    let message: &'static Message = match (api_version, kind) {
        ("v1", "Namespace") => &NAMESPACE,
        ("v1", "Service") => &SERVICE,
        ("v1", "Pod") => &POD,
        ("apps/v1", "Deployment") => &DEPLOYMENT,
        ("policy/v1" | "policy/v1beta1", "Eviction") => &EVICTION,
        // Clients send the options of a delete in the group of what they delete.
        (_, "DeleteOptions") => &DELETE_OPTIONS,
        ("authorization.k8s.io/v1", "SelfSubjectAccessReview") => &ACCESS_REVIEW,
        ("authorization.k8s.io/v1", "SelfSubjectRulesReview") => &RULES_REVIEW,
        ("authentication.k8s.io/v1", "SelfSubjectReview") => &SUBJECT_REVIEW,
        ("authentication.k8s.io/v1", "TokenRequest") => &TOKEN_REQUEST,
        ("v1", "ServiceAccount") => &SERVICE_ACCOUNT,
        ("v1", "ConfigMap") => &CONFIG_MAP,
        ("v1", "Secret") => &SECRET,
        ("rbac.authorization.k8s.io/v1", "ClusterRole" | "Role") => &ROLE,
        ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding" | "RoleBinding") => &BINDING,
        ("policy/v1", "PodDisruptionBudget") => &BUDGET,
        ("scheduling.k8s.io/v1", "PriorityClass") => &PRIORITY_CLASS,
        _ => return None,
    };
    Some(message)
}

pub(super) static UNKNOWN: [(u64, &str, Type); 4] = [
    (1, "typeMeta", Type::Message(&TYPE_META)),
    (2, "raw", Skip),
    (3, "contentEncoding", Skip),
    (4, "contentType", Skip),
];
static TYPE_META: [(u64, &str, Type); 2] = [(1, "apiVersion", Text), (2, "kind", Text)];
pub(super) static QUANTITY: [(u64, &str, Type); 1] = [(1, "string", Text)];
pub(super) static INT_OR_STRING: [(u64, &str, Type); 3] =
    [(1, "type", OptionalInt), (2, "intVal", OptionalInt), (3, "strVal", Text)];
pub(super) static TIME: [(u64, &str, Type); 2] = [(1, "seconds", Int), (2, "nanos", Int)];

static META: [(u64, &str, Type); 15] = [
    (1, "name", Text),
    (2, "generateName", Text),
    (3, "namespace", Text),
    (4, "selfLink", Text),
    (5, "uid", Text),
    (6, "resourceVersion", Text),
    (7, "generation", Int),
    (8, "creationTimestamp", Time),
    (9, "deletionTimestamp", Time),
    (10, "deletionGracePeriodSeconds", OptionalInt),
    (11, "labels", Map(&Text)),
    (12, "annotations", Map(&Text)),
    (13, "ownerReferences", List(&Type::Message(&OWNER))),
    (14, "finalizers", List(&Text)),
    (17, "managedFields", Skip),
];
static OWNER: [(u64, &str, Type); 6] = [
    (1, "kind", Text),
    (3, "name", Text),
    (4, "uid", Text),
    (5, "apiVersion", Text),
    (6, "controller", OptionalBool),
    (7, "blockOwnerDeletion", OptionalBool),
];
static SELECTOR: [(u64, &str, Type); 2] =
    [(1, "matchLabels", Map(&Text)), (2, "matchExpressions", List(&Type::Message(&REQUIREMENT)))];
static REQUIREMENT: [(u64, &str, Type); 3] =
    [(1, "key", Text), (2, "operator", Text), (3, "values", List(&Text))];

static NAMESPACE: [(u64, &str, Type); 3] =
    [(1, "metadata", Type::Message(&META)), (2, "spec", Type::Message(&NAMESPACE_SPEC)), (3, "status", Skip)];
static NAMESPACE_SPEC: [(u64, &str, Type); 1] = [(1, "finalizers", List(&Text))];

static SERVICE: [(u64, &str, Type); 3] =
    [(1, "metadata", Type::Message(&META)), (2, "spec", Type::Message(&SERVICE_SPEC)), (3, "status", Skip)];
static SERVICE_SPEC: [(u64, &str, Type); 19] = [
    (1, "ports", List(&Type::Message(&SERVICE_PORT))),
    (2, "selector", Map(&Text)),
    (3, "clusterIP", Text),
    (4, "type", Text),
    (5, "externalIPs", List(&Text)),
    (7, "sessionAffinity", Text),
    (8, "loadBalancerIP", Text),
    (9, "loadBalancerSourceRanges", List(&Text)),
    (10, "externalName", Text),
    (11, "externalTrafficPolicy", Text),
    (12, "healthCheckNodePort", Int),
    (13, "publishNotReadyAddresses", Bool),
    (17, "ipFamilyPolicy", Text),
    (18, "clusterIPs", List(&Text)),
    (19, "ipFamilies", List(&Text)),
    (20, "allocateLoadBalancerNodePorts", OptionalBool),
    (21, "loadBalancerClass", Text),
    (22, "internalTrafficPolicy", Text),
    (23, "trafficDistribution", Text),
];
static SERVICE_PORT: [(u64, &str, Type); 6] = [
    (1, "name", Text),
    (2, "protocol", Text),
    (3, "port", Int),
    (4, "targetPort", IntOrString),
    (5, "nodePort", Int),
    (6, "appProtocol", Text),
];

static DEPLOYMENT: [(u64, &str, Type); 3] = [
    (1, "metadata", Type::Message(&META)),
    (2, "spec", Type::Message(&DEPLOYMENT_SPEC)),
    (3, "status", Skip),
];
static DEPLOYMENT_SPEC: [(u64, &str, Type); 8] = [
    (1, "replicas", OptionalInt),
    (2, "selector", Type::Message(&SELECTOR)),
    (3, "template", Type::Message(&TEMPLATE)),
    (4, "strategy", Type::Message(&STRATEGY)),
    (5, "minReadySeconds", Int),
    (6, "revisionHistoryLimit", OptionalInt),
    (7, "paused", Bool),
    (9, "progressDeadlineSeconds", OptionalInt),
];
static STRATEGY: [(u64, &str, Type); 2] = [(1, "type", Text), (2, "rollingUpdate", Type::Message(&ROLLING))];
static ROLLING: [(u64, &str, Type); 2] = [(1, "maxUnavailable", IntOrString), (2, "maxSurge", IntOrString)];
static TEMPLATE: [(u64, &str, Type); 2] =
    [(1, "metadata", Type::Message(&META)), (2, "spec", Type::Message(&POD_SPEC))];

static POD: [(u64, &str, Type); 3] =
    [(1, "metadata", Type::Message(&META)), (2, "spec", Type::Message(&POD_SPEC)), (3, "status", Skip)];
static POD_SPEC: [(u64, &str, Type); 16] = [
    (2, "containers", List(&Type::Message(&CONTAINER))),
    (3, "restartPolicy", Text),
    (4, "terminationGracePeriodSeconds", OptionalInt),
    (5, "activeDeadlineSeconds", OptionalInt),
    (6, "dnsPolicy", Text),
    (7, "nodeSelector", Map(&Text)),
    (8, "serviceAccountName", Text),
    (9, "serviceAccount", Text),
    (10, "nodeName", Text),
    (11, "hostNetwork", Bool),
    (12, "hostPID", Bool),
    (13, "hostIPC", Bool),
    (16, "hostname", Text),
    (17, "subdomain", Text),
    (19, "schedulerName", Text),
    (24, "priorityClassName", Text),
];
static CONTAINER: [(u64, &str, Type); 14] = [
    (1, "name", Text),
    (2, "image", Text),
    (3, "command", List(&Text)),
    (4, "args", List(&Text)),
    (5, "workingDir", Text),
    (6, "ports", List(&Type::Message(&CONTAINER_PORT))),
    (7, "env", List(&Type::Message(&ENV))),
    (8, "resources", Type::Message(&RESOURCES)),
    (13, "terminationMessagePath", Text),
    (14, "imagePullPolicy", Text),
    (16, "stdin", Bool),
    (17, "stdinOnce", Bool),
    (18, "tty", Bool),
    (20, "terminationMessagePolicy", Text),
];
static CONTAINER_PORT: [(u64, &str, Type); 5] = [
    (1, "name", Text),
    (2, "hostPort", Int),
    (3, "containerPort", Int),
    (4, "protocol", Text),
    (5, "hostIP", Text),
];
static ENV: [(u64, &str, Type); 2] = [(1, "name", Text), (2, "value", Text)];
static RESOURCES: [(u64, &str, Type); 2] = [(1, "limits", Map(&Quantity)), (2, "requests", Map(&Quantity))];

static EVICTION: [(u64, &str, Type); 2] =
    [(1, "metadata", Type::Message(&META)), (2, "deleteOptions", Type::Message(&DELETE_OPTIONS))];
static DELETE_OPTIONS: [(u64, &str, Type); 5] = [
    (1, "gracePeriodSeconds", OptionalInt),
    (2, "preconditions", Type::Message(&PRECONDITIONS)),
    (3, "orphanDependents", OptionalBool),
    (4, "propagationPolicy", Text),
    (5, "dryRun", List(&Text)),
];
static PRECONDITIONS: [(u64, &str, Type); 2] = [(1, "uid", Text), (2, "resourceVersion", Text)];

static ACCESS_REVIEW: [(u64, &str, Type); 3] =
    [(1, "metadata", Type::Message(&META)), (2, "spec", Type::Message(&ACCESS_SPEC)), (3, "status", Skip)];
static ACCESS_SPEC: [(u64, &str, Type); 2] =
    [(1, "resourceAttributes", Type::Message(&RESOURCE)), (2, "nonResourceAttributes", Type::Message(&PATH))];
static RESOURCE: [(u64, &str, Type); 7] = [
    (1, "namespace", Text),
    (2, "verb", Text),
    (3, "group", Text),
    (4, "version", Text),
    (5, "resource", Text),
    (6, "subresource", Text),
    (7, "name", Text),
];
static PATH: [(u64, &str, Type); 2] = [(1, "path", Text), (2, "verb", Text)];
static RULES_REVIEW: [(u64, &str, Type); 3] =
    [(1, "metadata", Type::Message(&META)), (2, "spec", Type::Message(&RULES_SPEC)), (3, "status", Skip)];
static RULES_SPEC: [(u64, &str, Type); 1] = [(1, "namespace", Text)];
static SUBJECT_REVIEW: [(u64, &str, Type); 2] = [(1, "metadata", Type::Message(&META)), (2, "status", Skip)];

static TOKEN_REQUEST: [(u64, &str, Type); 3] =
    [(1, "metadata", Type::Message(&META)), (2, "spec", Type::Message(&TOKEN_SPEC)), (3, "status", Skip)];
static TOKEN_SPEC: [(u64, &str, Type); 3] = [
    (1, "audiences", List(&Text)),
    (3, "boundObjectRef", Type::Message(&BOUND)),
    (4, "expirationSeconds", OptionalInt),
];
static BOUND: [(u64, &str, Type); 4] =
    [(1, "kind", Text), (2, "apiVersion", Text), (3, "name", Text), (4, "uid", Text)];

static SERVICE_ACCOUNT: [(u64, &str, Type); 4] = [
    (1, "metadata", Type::Message(&META)),
    (2, "secrets", List(&Type::Message(&REFERENCE))),
    (3, "imagePullSecrets", List(&Type::Message(&LOCAL_REFERENCE))),
    (4, "automountServiceAccountToken", OptionalBool),
];
static REFERENCE: [(u64, &str, Type); 7] = [
    (1, "kind", Text),
    (2, "namespace", Text),
    (3, "name", Text),
    (4, "uid", Text),
    (5, "apiVersion", Text),
    (6, "resourceVersion", Text),
    (7, "fieldPath", Text),
];
static LOCAL_REFERENCE: [(u64, &str, Type); 1] = [(1, "name", Text)];
static CONFIG_MAP: [(u64, &str, Type); 4] = [
    (1, "metadata", Type::Message(&META)),
    (2, "data", Map(&Text)),
    (3, "binaryData", Map(&Type::Bytes)),
    (4, "immutable", OptionalBool),
];
static SECRET: [(u64, &str, Type); 5] = [
    (1, "metadata", Type::Message(&META)),
    (2, "data", Map(&Type::Bytes)),
    (3, "type", Text),
    (4, "stringData", Map(&Text)),
    (5, "immutable", OptionalBool),
];

static ROLE: [(u64, &str, Type); 3] = [
    (1, "metadata", Type::Message(&META)),
    (2, "rules", List(&Type::Message(&RULE))),
    (3, "aggregationRule", Type::Message(&AGGREGATION)),
];
static RULE: [(u64, &str, Type); 5] = [
    (1, "verbs", List(&Text)),
    (2, "apiGroups", List(&Text)),
    (3, "resources", List(&Text)),
    (4, "resourceNames", List(&Text)),
    (5, "nonResourceURLs", List(&Text)),
];
static AGGREGATION: [(u64, &str, Type); 1] = [(1, "clusterRoleSelectors", List(&Type::Message(&SELECTOR)))];
static BINDING: [(u64, &str, Type); 3] = [
    (1, "metadata", Type::Message(&META)),
    (2, "subjects", List(&Type::Message(&SUBJECT))),
    (3, "roleRef", Type::Message(&ROLE_REF)),
];
static SUBJECT: [(u64, &str, Type); 4] =
    [(1, "kind", Text), (2, "apiGroup", Text), (3, "name", Text), (4, "namespace", Text)];
static ROLE_REF: [(u64, &str, Type); 3] = [(1, "apiGroup", Text), (2, "kind", Text), (3, "name", Text)];

static BUDGET: [(u64, &str, Type); 3] =
    [(1, "metadata", Type::Message(&META)), (2, "spec", Type::Message(&BUDGET_SPEC)), (3, "status", Skip)];
static BUDGET_SPEC: [(u64, &str, Type); 4] = [
    (1, "minAvailable", IntOrString),
    (2, "selector", Type::Message(&SELECTOR)),
    (3, "maxUnavailable", IntOrString),
    (4, "unhealthyPodEvictionPolicy", Text),
];
static PRIORITY_CLASS: [(u64, &str, Type); 5] = [
    (1, "metadata", Type::Message(&META)),
    (2, "value", Int),
    (3, "globalDefault", Bool),
    (4, "description", Text),
    (5, "preemptionPolicy", Text),
];
