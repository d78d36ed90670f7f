# The service as one binary on a small Debian, run by a user that owns nothing.

ARG RUST=1
ARG DEBIAN=bookworm

FROM rust:${RUST}-slim-${DEBIAN} AS build
WORKDIR /src
# Queries are checked against .sqlx: building needs no database.
ENV SQLX_OFFLINE=true
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin holdfast \
    && cp target/release/holdfast /usr/local/bin/holdfast

FROM debian:${DEBIAN}-slim
RUN useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin holdfast
COPY --from=build /usr/local/bin/holdfast /usr/local/bin/holdfast
# Whom TLS to Redis trusts, unless SSL_CERT_FILE names others.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY LICENSE /usr/share/doc/holdfast/LICENSE
USER 10001:10001
ENV HOLDFAST_LISTEN=0.0.0.0:8080 \
    HOLDFAST_LOG_FORMAT=json
EXPOSE 8080
# Stops accepting, finishes what runs, releases its leases.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 CMD ["holdfast", "doctor"]
ENTRYPOINT ["holdfast"]
CMD ["serve"]
