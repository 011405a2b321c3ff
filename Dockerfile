# docs/deploy.md shows how to run it: a read-only root, the state in a volume, secrets as files.
#
# The base image is pinned by its exact tag. This command adds its digest, which was not available
# when this was written:
#   sed -i "s|^\(FROM python:[^ @]*\)[^ ]*|\1@$(docker buildx imagetools inspect --format '{{.Manifest.Digest}}' python:3.13.14-slim-bookworm)|" Dockerfile
FROM python:3.13.14-slim-bookworm AS build
WORKDIR /src
COPY deploy/requirements.lock deploy/build.lock ./
RUN pip download --no-cache-dir --only-binary :all: --require-hashes --dest /wheels --requirement requirements.lock \
    && pip install --no-cache-dir --only-binary :all: --require-hashes --requirement build.lock
COPY pyproject.toml README.md LICENSE config.example.toml ./
COPY templates templates
COPY deploy/alerter.service deploy/alerter-once.service deploy/alerter-once.timer deploy/alerterctl deploy/
COPY alerter alerter
RUN pip wheel --no-cache-dir --no-deps --no-index --no-build-isolation --wheel-dir /wheels .

FROM python:3.13.14-slim-bookworm
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin alerter \
    && install --directory --owner=alerter --group=alerter --mode=0700 /var/lib/alerter
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-index /wheels/*.whl
# What alerter has to remember while its database is away goes to RUNTIME_DIRECTORY.
ENV ALERTER_CONFIG=/etc/alerter/config.toml \
    RUNTIME_DIRECTORY=/var/lib/alerter \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001
WORKDIR /var/lib/alerter
VOLUME /var/lib/alerter
# Unhealthy means that a person is needed; a restart does not help. The output is discarded because
# Docker stores it, and it has titles of reviews.
HEALTHCHECK --interval=1m --timeout=10s --start-period=5m CMD alerter status > /dev/null
ENTRYPOINT ["alerter"]
CMD ["run"]
