# Two stages: the first builds, the second holds the binary, the certificates and nothing to log in with.
FROM rust:1.95-slim-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends build-essential cmake perl && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY . .
RUN cargo build --release --locked --bin tidewire && strip target/release/tidewire

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/* \
 && groupadd --gid 10001 tidewire \
 && useradd --no-log-init --uid 10001 --gid 10001 --home-dir /var/lib/tidewire --shell /usr/sbin/nologin tidewire \
 && install -d -m 0700 -o tidewire -g tidewire /var/lib/tidewire
COPY --from=build /build/target/release/tidewire /usr/bin/tidewire
USER 10001:10001
ENV STATE_DIRECTORY=/var/lib/tidewire
VOLUME /var/lib/tidewire
EXPOSE 9187
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s CMD ["/usr/bin/tidewire", "status", "--json"]
ENTRYPOINT ["/usr/bin/tidewire"]
CMD ["run", "--log-format", "json"]
