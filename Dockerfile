# The server in a container; docs/deploy.md says how to run it.
#   docker build -t segloop .                                    torch without CUDA
#   docker build -t segloop --build-arg TORCH=cuda .             for NVIDIA graphics cards; several gigabytes
#   docker build -t segloop --build-arg OHIF=FILE.tgz .          OHIF from a file of `npm pack` beside this one
#   docker build -t segloop --build-arg OHIF=none .              without OHIF
# Packages from a mirror: --secret id=pip,src=pip.conf, a configuration of pip that stays out of the image.

# Any Debian with Python 3.11 or newer, with venv.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
ARG OHIF=npm
# Before the sources, so that a change in them doesn't fetch it again.
# hadolint ignore=DL3008
RUN if [ "$OHIF" = npm ]; then apt-get update && apt-get install --yes --no-install-recommends npm; fi
WORKDIR /src
COPY . .
ARG TORCH=cpu
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=secret,id=pip,target=/etc/pip.conf \
    scripts/install python3 /opt/segloop server
# Outside /data: a volume there would hide it.
ENV SEGLOOP_VIEWER_DIR=/opt/ohif
RUN case "$OHIF" in \
        none) mkdir "$SEGLOOP_VIEWER_DIR" ;; \
        npm) /opt/segloop/bin/segloop viewer install ;; \
        *) /opt/segloop/bin/segloop viewer install --from "$OHIF" ;; \
    esac

FROM ${BASE}
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="Segloop" \
      org.opencontainers.image.description="One server behind every viewer of 3D medical images. Not a medical device." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
# tini, because a first process has no default action for SIGTERM, and would not collect orphans of jobs.
# Debian's own versions: they are the ones that get security fixes.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends tini \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 segloop \
    && useradd --uid 10001 --gid 10001 --home-dir /data --no-create-home --shell /usr/sbin/nologin segloop \
    && install --directory --owner 10001 --group 10001 --mode 0750 /data /data/studies
COPY --from=build /opt/segloop /opt/segloop
COPY --from=build /opt/ohif /opt/ohif
# HOME is on the volume, so that pulled models stay; what else writes there goes to /tmp.
ENV PATH=/opt/segloop/bin:$PATH \
    HOME=/data \
    MPLCONFIGDIR=/tmp/matplotlib \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    NVIDIA_VISIBLE_DEVICES=all \
    PYTHONUNBUFFERED=1 \
    SEGLOOP_HOST=0.0.0.0 \
    SEGLOOP_VIEWER_DIR=/opt/ohif
USER 10001:10001
# The settings' own defaults are relative: /data/workspace, /data/studies.
WORKDIR /data
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/livez', timeout=5)"]
ENTRYPOINT ["tini", "--", "segloop"]
# Refuses to start without SEGLOOP_TOKEN or SEGLOOP_TOKEN_FILE: it listens for others.
CMD ["serve"]
