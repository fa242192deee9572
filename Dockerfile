# The image of the service, its workers and its command line:  docker build -t saga-service .
# Its user is no root, it carries neither pip's cache nor anything of the development, and every version is pinned.

FROM python:3.11-slim-bookworm AS build
WORKDIR /build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
COPY constraints.txt pyproject.toml ./
RUN pip install --quiet --constraint constraints.txt pip \
    && python -m venv --without-pip /opt/saga-service
# The libraries first: they change less often than the code, and then this layer is used again.
RUN python -c "import tomllib; project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
print(*project['dependencies'], *project['optional-dependencies']['encryption'], \
    *project['optional-dependencies']['http'], sep='\n')" \
        > requirements.txt \
    && pip --python /opt/saga-service/bin/python install --quiet \
        --constraint constraints.txt --build-constraint constraints.txt --requirement requirements.txt
COPY README.md LICENSE ./
COPY saga_service saga_service
RUN pip --python /opt/saga-service/bin/python install --quiet --no-deps --build-constraint constraints.txt .

FROM python:3.11-slim-bookworm
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="saga-service" \
      org.opencontainers.image.description="A saga orchestrator on Redis Streams and Postgres" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin saga
COPY --from=build /opt/saga-service /opt/saga-service
ENV PATH=/opt/saga-service/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# Definitions and workers of one's own are mounted here, or copied in by an image built on this one.
WORKDIR /app
ENV PYTHONPATH=/app
# A number, so that Kubernetes can see that it is not root.
USER 10001
# Of the service and of workers alike. No server is asked: an outage of one restarts no container.
HEALTHCHECK --interval=15s --timeout=10s --start-period=15s CMD ["saga-service", "health"]
ENTRYPOINT ["saga-service"]
CMD ["run"]
