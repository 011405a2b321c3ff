# docs/deploy.md says how it is run: with a read-only root, the state in a volume, and secrets as files.
FROM python:3.13-slim-bookworm AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY templates templates
COPY alerter alerter
RUN pip wheel --no-cache-dir --wheel-dir /wheels '.[web]'

FROM python:3.13-slim-bookworm
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin alerter \
    && install --directory --owner=alerter --group=alerter --mode=0700 /var/lib/alerter
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-index /wheels/*.whl
ENV ALERTER_CONFIG=/etc/alerter/config.toml \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001
WORKDIR /var/lib/alerter
VOLUME /var/lib/alerter
# Unhealthy says that a person is needed; that a restart would help, it does not.
HEALTHCHECK --interval=1m --timeout=10s --start-period=5m CMD ["alerter", "status"]
ENTRYPOINT ["alerter"]
CMD ["run"]
