use super::*;

/// `kubectl create deployment zz --image=nginx --port=80 --replicas=0`, as kubectl 1.32 sends it.
const DEPLOYMENT: &str = concat!(
    "6b3873000a150a07617070732f7631120a4465706c6f796d656e7412b4010a1d",
    "0a027a7a12001a0022002a003200380042005a090a0361707012027a7a128401",
    "0800120b0a090a0361707012027a7a1a6b0a1b0a0012001a0022002a00320038",
    "0042005a090a0361707012027a7a124c122e0a056e67696e7812056e67696e78",
    "2a00320a0a001000185022002a0042006a007200800100880100900100a20100",
    "1a00320042004a0052005800600068008201008a01009a0100c2010022020a00",
    "280038001a0c080010001800200028003800",
    "1a002200",
);

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn what_kubectl_sends_is_read() {
    assert_eq!(
        decode(&bytes(DEPLOYMENT)).unwrap(),
        json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": { "name": "zz", "labels": { "app": "zz" } },
            "spec": {
                "replicas": 0,
                "selector": { "matchLabels": { "app": "zz" } },
                "template": {
                    "metadata": { "labels": { "app": "zz" } },
                    "spec": {
                        "containers": [{ "name": "nginx", "image": "nginx", "ports": [{ "containerPort": 80 }] }],
                    },
                },
            },
        })
    );
}

/// A field of bytes.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, u8::try_from(content.len()).unwrap()][..], content].concat()
}

fn envelope(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let types = [field(1, api_version.as_bytes()), field(2, kind.as_bytes())].concat();
    [MAGIC.to_vec(), field(1, &types), field(2, raw)].concat()
}

#[test]
fn ports_selectors_and_quantities_are_read() {
    let port = [field(1, b"http"), vec![3 << 3, 80], field(4, &[1 << 3, 1, 3 << 3 | 2, 1, b'w'])].concat();
    let entry = [field(1, b"app"), field(2, b"web")].concat();
    let spec = [field(1, &port), field(2, &entry), vec![13 << 3, 1]].concat();
    let service = decode(&envelope("v1", "Service", &field(2, &spec))).unwrap();
    assert_eq!(
        service["spec"],
        json!({
            "ports": [{ "name": "http", "port": 80, "targetPort": "w" }],
            "selector": { "app": "web" },
            "publishNotReadyAddresses": true,
        })
    );
}

#[test]
fn what_is_not_known_is_refused_by_name() {
    let refused = |body: &[u8]| decode(body).unwrap_err();
    let error = refused(&envelope("v1", "Service", &field(2, &field(15, b"x"))));
    assert!(error.message.contains("field 15 of Service.spec"), "{error}");
    assert_eq!(refused(&envelope("batch/v1", "Job", b"")).code, 415);
    assert_eq!(refused(b"{}").code, 400);
}

#[test]
fn any_cut_of_a_body_is_an_error_or_a_smaller_object_and_never_a_panic() {
    let whole = bytes(DEPLOYMENT);
    for end in 0..whole.len() {
        drop(decode(&whole[..end]));
    }
    for at in 0..whole.len() {
        let mut body = whole.clone();
        body[at] ^= 0xff;
        drop(decode(&body));
    }
}
