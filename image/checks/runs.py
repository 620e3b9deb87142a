"""The image at work: in the place of CoreDNS, in a pod without any right, with mistakes in its configuration, against an API server,
an upstream and their certificates. Everything is on loopback of a network of this process alone."""

import json
import shutil
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from container import Container, Image, Pod, eventually

# What kubeadm writes, but for the port of the upstream and a lame-duck time that nobody has to wait for.
COREFILE = """.:53 {
    errors
    health {
       lameduck 1s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }
    prometheus :9153
    forward . UPSTREAM {
       max_concurrent 1000
    }
    cache 30 {
       disable success cluster.local
       disable denial cluster.local
    }
    loop
    reload
    loadbalance
}
"""
WEB, ADDRESS = "kubernetes.default.svc.cluster.local", "10.96.0.1"
OUTSIDE, THERE = "www.example.org", "192.0.2.7"


def dig(name: str, kind: str = "A", *more: str, port: int = 53) -> list[str]:
    """The data of an answer's records, sorted; nothing where there is no answer."""
    command = ["dig", "@127.0.0.1", "-p", str(port), "+short", "+tries=1", "+time=2", *more, name, kind]
    result = subprocess.run(command, capture_output=True, text=True)
    return sorted(line for line in result.stdout.splitlines() if not line.startswith(";"))


def status(port: int, path: str) -> int:
    """The status of a page; 0 where nobody answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def equal(what: str, found: object, wanted: object) -> None:
    """Raises AssertionError where they differ."""
    assert found == wanted, f"{what}: wanted {wanted!r}, found {found!r}"


class Runs:
    """Every run of an image, with what they need around them."""

    def __init__(self, image: Image, folder: Path, apiserver: Path):
        self.image = image
        self.folder = folder
        self.apiserver = apiserver
        self.beside: list[subprocess.Popen] = []
        # An API server that asks nobody who he is, and the pod of an account in one that does, over TLS.
        self.open = ""
        self.account: tuple[dict[str, Path], dict[str, str]] = ({}, {})

    def all(self) -> dict[str, Callable[[], None]]:
        """The runs by name."""
        return {
            "in the place of CoreDNS, on port 53": self.as_coredns,
            "without any capability, on port 1053": self.restricted,
            "port 53 without the capability says what is missing": self.not_permitted,
            "/coredns as the command": self.named_coredns,
            "a bad Corefile is told with its file and line": self.bad_corefile,
            "an API server by name, from /etc/hosts and over DNS": self.api_by_name,
            "an upstream over TLS, by the authorities of the image": self.tls_upstream,
        }

    def start(self) -> None:
        """Starts the API server, the upstream, and makes their certificates."""
        self.open = self.server()
        self.account = self.pod_of_an_account()
        self.certificates()
        hosts = f"hosts {{\n{THERE} {OUTSIDE}\n127.0.0.1 api.example.org\n}}"
        certificate = f"tls {self.folder}/server.pem {self.folder}/server.key"
        corefile = f".:5353 {{\nbind 127.0.0.1\n{hosts}\n}}\ntls://.:8853 {{\nbind 127.0.0.1\n{certificate}\n{hosts}\n}}\n"
        self.upstream("upstream", corefile)
        eventually("the upstream", lambda: dig(OUTSIDE, port=5353))

    def stop(self) -> None:
        """Ends what was started."""
        for process in self.beside:
            process.terminate()
        for process in self.beside:
            process.wait(10)

    def server(self, *words: str | Path) -> str:
        """Starts an API server; its URL."""
        server = subprocess.Popen([self.apiserver, "127.0.0.1:0", *words], stdout=subprocess.PIPE, text=True)
        self.beside.append(server)
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        assert url, "the API server does not start"
        return url

    def pod_of_an_account(self) -> tuple[dict[str, Path], dict[str, str]]:
        """The mounts and variables of a pod in a cluster whose API server wants a token: kubeadm's account of CoreDNS, with its rights."""
        folder, admin = self.folder / "cluster", self.folder / "cluster/admin"
        url = self.server("--rbac", "--tls-dir", folder, "--admin-token-file", admin, "--account", "kube-system/coredns")
        name, kind = "system:coredns", "rbac.authorization.k8s.io"
        rules = [
            {"apiGroups": [""], "resources": ["endpoints", "services", "pods", "namespaces"], "verbs": ["list", "watch"]},
            {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
        ]
        reference = {"apiGroup": kind, "kind": "ClusterRole", "name": name}
        subject = {"kind": "ServiceAccount", "name": "coredns", "namespace": "kube-system"}
        binding = {"roleRef": reference, "subjects": [subject]}
        for word, body in (("Role", {"rules": rules}), ("RoleBinding", binding)):
            resource = f"cluster{word.lower()}s"
            body |= {"apiVersion": f"{kind}/v1", "kind": f"Cluster{word}", "metadata": {"name": name}}
            headers = {"Authorization": f"Bearer {admin.read_text().strip()}", "Content-Type": "application/json"}
            request = urllib.request.Request(f"{url}/apis/{kind}/v1/{resource}", json.dumps(body).encode(), headers)
            context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
            urllib.request.urlopen(request, context=context, timeout=10).close()
        port = url.rsplit(":", 1)[1]
        variables = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": port}
        return {"/var/run/secrets/kubernetes.io/serviceaccount": folder / "kube-system/coredns"}, variables

    def upstream(self, name: str, corefile: str) -> subprocess.Popen:
        """The same binary as a name server of the outside."""
        file = self.file(f"{name}/Corefile", corefile)
        with (file.parent / "log").open("wb") as log:
            command = [self.image.root / "callsign", "-conf", file]
            process = subprocess.Popen(command, stdout=log, stderr=log)
        self.beside.append(process)
        return process

    def certificates(self) -> None:
        """An authority, and a certificate of it for dns.example.org."""
        def openssl(*words: str) -> None:
            subprocess.run(["openssl", *words], cwd=self.folder, check=True, capture_output=True)

        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        openssl("req", "-x509", *key, "-days", "2", "-subj", "/CN=check", "-keyout", "authority.key", "-out", "authority.pem")
        openssl("req", *key, "-subj", "/CN=dns.example.org", "-keyout", "server.key", "-out", "server.csr")
        self.file("server.cnf", "subjectAltName=DNS:dns.example.org\nextendedKeyUsage=serverAuth\n")
        issuer = ["-CA", "authority.pem", "-CAkey", "authority.key", "-CAcreateserial"]
        openssl("x509", "-req", "-in", "server.csr", *issuer, "-days", "2", "-extfile", "server.cnf", "-out", "server.pem")

    def file(self, name: str, text: str) -> Path:
        """A file in the folder, for everybody to read."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def corefile(self, name: str, text: str) -> dict[str, Path]:
        """The mount of a ConfigMap with this Corefile."""
        return {"/etc/coredns": self.file(f"{name}/Corefile", text).parent}

    def run(self, pod: Pod) -> Container:
        """Starts a container, under the account."""
        mounts, variables = self.account
        pod.mounts |= mounts
        pod.variables |= variables
        return Container(self.image, pod, self.folder / "bundles")

    def usual(self, server: str = "127.0.0.1:5353") -> str:
        """kubeadm's Corefile with this upstream."""
        return COREFILE.replace("UPSTREAM", server)

    def answers(self, container: Container, port: int = 53) -> None:
        """The cluster's names and those of others, over UDP and TCP."""
        eventually(WEB, lambda: dig(WEB, port=port) == [ADDRESS], container.said)
        equal("over TCP", dig(WEB, "A", "+tcp", port=port), [ADDRESS])
        equal("SRV", dig(f"_https._tcp.{WEB}", "SRV", port=port), [f"0 100 443 {WEB}."])
        equal("PTR", dig("1.0.96.10.in-addr.arpa", "PTR", port=port), [f"{WEB}."])
        equal("a name that does not exist", dig("nowhere.default.svc.cluster.local", port=port), [])
        equal("a name of others", dig(OUTSIDE, port=port), [THERE])

    def as_coredns(self) -> None:
        """As kubeadm's Deployment starts it; ended, and started again."""
        mounts = self.corefile("usual", self.usual())
        for _ in range(2):
            with self.run(Pod(["-conf", "/etc/coredns/Corefile"], may_bind=True, mounts=mounts)) as container:
                self.answers(container)
                for port, path in ((8080, "/health"), (8181, "/ready"), (9153, "/metrics")):
                    equal(path, status(port, path), 200)
                equal("exit code of the chart's test", self.asks("127.0.0.1"), 0)
                equal("exit code after SIGTERM", container.terminate(), 0)
        equal("exit code of the chart's test without a server", self.asks("127.0.0.1"), 1)

    def asks(self, server: str) -> int:
        """The pod of `helm test`, which may do nothing; its exit code."""
        words = ["check", "--only=answers", f"--server={server}", "--cluster-domain=cluster.local", f"--external={OUTSIDE}"]
        with self.run(Pod(words)) as container:
            return container.ended()

    def restricted(self) -> None:
        """A pod of the Pod Security level `restricted`."""
        mounts = self.corefile("restricted", self.usual().replace(".:53", ".:1053"))
        with self.run(Pod(["dns", "--corefile", "/etc/coredns/Corefile"], mounts=mounts)) as container:
            self.answers(container, 1053)
            equal("exit code after SIGTERM", container.terminate(), 0)
        with self.run(Pod(["version"])) as container:
            equal("exit code of `version`", container.ended(), 0)

    def not_permitted(self) -> None:
        """The capability is not in the pod's manifest."""
        mounts = self.corefile("usual", self.usual())
        with self.run(Pod(["-conf", "/etc/coredns/Corefile"], mounts=mounts)) as container:
            equal("exit code", container.ended(), 1)
            assert "CAP_NET_BIND_SERVICE" in container.said(), container.said()

    def named_coredns(self) -> None:
        """A manifest with `command: ["/coredns"]`."""
        mounts = self.corefile("usual", self.usual())
        pod = Pod(["-conf", "/etc/coredns/Corefile"], command=["/coredns"], may_bind=True, mounts=mounts)
        with self.run(pod) as container:
            self.answers(container)
        with self.run(Pod(["-version"], command=["/coredns"])) as container:
            equal("exit code of -version", container.ended(), 0)
            assert container.said().startswith("CoreDNS-"), container.said()

    def bad_corefile(self) -> None:
        """A word that is no directive."""
        mounts = self.corefile("bad", self.usual().replace("loadbalance", "loadballance"))
        line = 1 + self.usual().splitlines().index("    loadbalance")
        with self.run(Pod(["-conf", "/etc/coredns/Corefile"], may_bind=True, mounts=mounts)) as container:
            equal("exit code", container.ended(), 1)
            assert f"/etc/coredns/Corefile:{line}" in container.said(), container.said()

    def api_by_name(self) -> None:
        """The static C library looks names up by itself, without an nsswitch.conf."""
        name, port = "api.example.org", self.open.rsplit(":", 1)[1]
        corefile = self.usual().replace("pods insecure", f"endpoint http://{name}:{port}\n       pods insecure").replace(".:53", ".:1053")
        mounts = self.corefile("named", corefile)
        pod = Pod(["-conf", "/etc/coredns/Corefile"], mounts=mounts)
        pod.mounts["/etc/hosts"] = self.file("hosts", f"127.0.0.1 {name}\n")
        with self.run(pod) as container:
            self.answers(container, 1053)
        server = self.upstream("resolver", f".:53 {{\nbind 127.0.0.2\nhosts {{\n127.0.0.1 {name}\n}}\n}}\n")
        pod.mounts["/etc/hosts"] = self.file("no-hosts", "")
        pod.mounts["/etc/resolv.conf"] = self.file("resolv.conf", "nameserver 127.0.0.2\n")
        with self.run(pod) as container:
            self.answers(container, 1053)
        server.terminate()
        server.wait(10)
        pod.mounts["/etc/resolv.conf"] = self.file("no-resolv.conf", "nameserver 127.0.0.3\noptions timeout:1 attempts:1\n")
        with self.run(pod) as container:
            told = ("resolve", "lookup")
            eventually("it tells of the name", lambda: any(it in container.said() for it in told), container.said)
            equal("it runs", container.process.poll(), None)

    def tls_upstream(self) -> None:
        """Trusted where the authority is among those of the image, and not otherwise."""
        corefile = self.usual("tls://127.0.0.1:8853").replace("max_concurrent 1000", "tls_servername dns.example.org")
        corefile = corefile.replace(".:53", ".:1053")
        mounts = self.corefile("tls", corefile)
        place = "/etc/ssl/certs/ca-certificates.crt"
        pod = Pod(["-conf", "/etc/coredns/Corefile"], mounts=mounts)
        with self.run(pod) as container:
            eventually(WEB, lambda: dig(WEB, port=1053) == [ADDRESS], container.said)
            equal("a name from an upstream that nobody vouches for", dig(OUTSIDE, port=1053), [])
            assert "certificate" in container.said().lower(), container.said()
        own = self.image.root / place.lstrip("/")
        ours = self.folder / "authorities.pem"
        shutil.copy(own, ours)
        with ours.open("a") as file:
            file.write((self.folder / "authority.pem").read_text())
        pod.mounts[place] = ours
        with self.run(pod) as container:
            self.answers(container, 1053)
