# Every task by name; `just` lists them.

default:
    @just --list --unsorted

# Try it without a cluster
sandbox *ARGS:
    cargo run --release -- sandbox {{ARGS}}

# All tests
test *ARGS:
    cargo test --workspace {{ARGS}}

# Formatting and lints, as CI has them
check:
    cargo fmt --all -- --check
    cargo clippy --workspace --all-targets -- -D warnings
    cargo clippy -p callsign --no-default-features -- -D warnings

# Each crate builds by itself
check-crates:
    for crate in callsign-shared callsign-controller callsign-dns callsign-e2e callsign-fuzz-bodies callsign-bill callsign; do cargo check -p $crate || exit 1; done

# Fuzzes a target for a minute: answer, corefile, objects, packet, reply or zonefile (needs cargo-fuzz and a C++ compiler)
fuzz TARGET *ARGS='-max_total_time=60':
    mkdir -p fuzz/corpus/{{TARGET}}
    cp Cargo.lock fuzz/Cargo.lock
    cd fuzz && cargo fuzz run -s none {{TARGET}} corpus/{{TARGET}} seeds/{{TARGET}} -- -timeout=20 -dict=dictionaries/{{TARGET}}.dict {{ARGS}}

# Makes the seeds and dictionaries of the fuzz targets anew from the recorded cases
fuzz-seeds:
    cargo run -p callsign-fuzz-bodies --example seeds

# Proves the chart with the real Helm; `just chart --update` writes anew what is made of it
chart *ARGS:
    bash charts/check {{ARGS}}

# Advisories, licences, bans (needs cargo-deny)
deny:
    cargo deny check

# Advisories, also of crates that nobody keeps up any more (needs cargo-audit)
audit:
    cargo audit

# The root of the image, as the Dockerfile has it built: target/image/ARCH/rootfs
image *ARGS:
    bash image/build {{ARGS}}

# What `just image` made, in containers as a kubelet starts them (Debian, root or sudo)
image-check *ARGS:
    bash image/check {{ARGS}}

# A real cluster: image, chart in every mode, conformance suite (needs docker, kind, kubectl, helm)
e2e-kind *PRESETS:
    bash e2e/kind/run {{PRESETS}}

# Dashboard, alerts and the pages of metrics (needs Python 3)
monitoring:
    bash monitoring/check

# What CI runs
ci:
    bash .ci/run

# Time from a pod's status write to the right DNS answer, idle and in a burst
bench-propagation *ARGS:
    cargo bench --bench propagation -- {{ARGS}}

# Time and memory to load 10,000 Services and 10,000 pods
bench-load *ARGS:
    cargo bench --bench load -- {{ARGS}}

# What rollouts and flips of readiness cost: writes, times, CPU
bench-churn *ARGS:
    cargo bench --bench churn -- {{ARGS}}

# Memory with 10,000 Services and 150,000 pods
bench-memory *ARGS:
    cargo bench --bench memory -- {{ARGS}}

# CPU a cached answer costs, beside unbound where that is installed.
bench-cached *ARGS:
    cargo bench --bench cached -- {{ARGS}}

# What changes of the cluster cost those who ask, without sockets
bench-stalls *ARGS:
    cargo bench --bench stalls -- {{ARGS}}

# What answering threads could read a Service's names from
bench-reads *ARGS:
    cargo bench --bench reads -- {{ARGS}}

# What a DNS answer costs, beside a bare reflector, NSD and Knot where they are installed
bench-dns *ARGS:
    cargo bench --bench dns -- {{ARGS}}

# What ten times too much does: to answers, memory, health and changes
bench-overload *ARGS:
    cargo bench --bench overload -- {{ARGS}}

# Measures anew what docs/benchmarks.md shows: half an hour, on a machine that is quiet
benchmarks:
    cargo bench --bench dns -- --markdown > target/benchmarks.md
    sed -i -e '/<!-- figures -->/q' docs/benchmarks.md
    echo >> docs/benchmarks.md
    cat target/benchmarks.md >> docs/benchmarks.md
