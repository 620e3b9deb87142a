# syntax=docker/dockerfile:1
# docker buildx build --platform linux/amd64,linux/arm64 --build-arg VERSION=0.1.0 --build-arg REVISION=$(git rev-parse HEAD) \
#   --build-arg CREATED=$(date -u +%Y-%m-%dT%H:%M:%SZ) -t ghcr.io/callsign-dns/callsign:0.1.0 .
#
# What is built and where it lies is in image/build, which CI runs as well; image/check holds its result to what is said here.

# The same Debian as CI: its C library is linked in. The version of Rust is that of rust-toolchain.toml.
FROM --platform=$BUILDPLATFORM rust:1.95.0-slim-bookworm AS build
ARG TARGETARCH
ENV RUSTUP_TOOLCHAIN=1.95.0
RUN apt-get update \
    && case "$(dpkg --print-architecture)-$TARGETARCH" in \
        amd64-arm64) cross="gcc-aarch64-linux-gnu libc6-dev-arm64-cross" ;; \
        arm64-amd64) cross="gcc-x86-64-linux-gnu libc6-dev-amd64-cross" ;; \
        *) cross="" ;; \
    esac \
    && apt-get install -y --no-install-recommends ca-certificates gcc libc6-dev libcap2-bin $cross \
    && rm -rf /var/lib/apt/lists/*
RUN case "$TARGETARCH" in \
        amd64) rustup target add x86_64-unknown-linux-gnu ;; \
        arm64) rustup target add aarch64-unknown-linux-gnu ;; \
        *) echo "no image for $TARGETARCH" >&2; exit 1 ;; \
    esac
WORKDIR /src
COPY . .
# Builds of several architectures share the registry, and each has a folder of its own to build in.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target,id=target-$TARGETARCH \
    image/build --arch "$TARGETARCH" --out /image

FROM scratch
ARG VERSION=0.0.0-dev
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="callsign" \
    org.opencontainers.image.description="Kubernetes' endpoints controllers and cluster DNS server, from one in-memory index" \
    org.opencontainers.image.url="https://github.com/callsign-dns/callsign" \
    org.opencontainers.image.documentation="https://github.com/callsign-dns/callsign/blob/main/docs/install.md" \
    org.opencontainers.image.source="https://github.com/callsign-dns/callsign" \
    org.opencontainers.image.vendor="The Callsign authors" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="$VERSION" \
    org.opencontainers.image.revision="$REVISION" \
    org.opencontainers.image.created="$CREATED"
# The file capability of /callsign comes with it.
COPY --from=build /image /
USER 65532:65532
WORKDIR /
EXPOSE 53/udp 53/tcp 8080/tcp 8181/tcp 9153/tcp
ENTRYPOINT ["/callsign"]
