# The image of tutumd, with all extras. `script/image` builds it, and with `--wheels` from a folder, without any network.
ARG BASE=python:3.13-slim@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b

FROM ${BASE} AS build
WORKDIR /build
# The folder wheels, if the context has one: it stands for the package index.
COPY requirements/build.lock requirements/all.lock wheels* wheels/
RUN set -eu; \
    pip="python3 -m pip"; \
    for wheel in wheels/pip-*.whl; do \
        [ ! -e "$wheel" ] || { pip="python3 $wheel/pip"; export PIP_NO_INDEX=1 PIP_FIND_LINKS=/build/wheels; }; \
    done; \
    install="install --quiet --no-cache-dir --disable-pip-version-check --root-user-action=ignore --require-hashes --only-binary :all:"; \
    python3 -m venv --without-pip tools; \
    $pip --python tools/bin/python $install -r wheels/build.lock; \
    python3 -m venv --without-pip /opt/tutumd; \
    tools/bin/python -m pip --python /opt/tutumd/bin/python $install -r wheels/all.lock
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN set -eu; \
    tools/bin/python -m pip wheel --quiet --no-cache-dir --no-index --no-deps --no-build-isolation --wheel-dir dist .; \
    tools/bin/python -m pip --python /opt/tutumd/bin/python \
        install --quiet --no-cache-dir --disable-pip-version-check --root-user-action=ignore --no-index --no-deps dist/*.whl

FROM ${BASE}
ARG VERSION REVISION CREATED
LABEL org.opencontainers.image.title="tutumd" \
      org.opencontainers.image.description="Redeploy or scale one service with a single POST to a secret URL" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.source="https://github.com/tutumd/tutumd" \
      org.opencontainers.image.documentation="https://github.com/tutumd/tutumd/tree/main/docs" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN echo 'tutumd:x:10001:10001:tutumd:/data:/usr/sbin/nologin' >> /etc/passwd && \
    echo 'tutumd:x:10001:' >> /etc/group && \
    mkdir -m 700 /data /worker && chown 10001:10001 /data /worker
COPY --from=build /opt/tutumd /opt/tutumd
# The files of docs/quickstart/docker.md, which belong to this version.
COPY deploy/compose /usr/share/tutumd
ENV PATH=/opt/tutumd/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/data \
    TUTUMD_DATA_DIR=/data \
    TUTUMD_HOST=0.0.0.0
# Temporary files go here where the root is read-only and has no /tmp.
WORKDIR /data
VOLUME /data
# By number, so that Kubernetes can tell that it is not root.
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --start-interval=1s --retries=3 CMD ["tutumd", "healthcheck"]
ENTRYPOINT ["tutumd"]
CMD ["serve"]
