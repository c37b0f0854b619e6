# The daemon alone. Runs as a non-root user on a read-only root file system; writes nothing
# unless records.path names a file on a mounted volume.
ARG BASE_IMAGE=python:3.13-slim-trixie

FROM ${BASE_IMAGE} AS build
WORKDIR /src
RUN python3 -m venv /opt/autoscaler
COPY requirements.lock ./
RUN /opt/autoscaler/bin/python -m pip install --no-cache-dir --disable-pip-version-check \
      --no-deps --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY autoscaler ./autoscaler
# The package is pure Python: put in place beside its dependencies, no builder needed.
RUN site=$(/opt/autoscaler/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') \
 && cp -r autoscaler "$site/autoscaler" && rm -rf "$site/autoscaler/sandbox" \
 && printf '#!/bin/sh\nexec /opt/autoscaler/bin/python -m autoscaler "$@"\n' > /opt/autoscaler/bin/autoscaler \
 && chmod 755 /opt/autoscaler/bin/autoscaler \
 && /opt/autoscaler/bin/python -m compileall -q "$site/autoscaler" \
 # Never used here: a second copy of the client, for asyncio, and what installed all this. 80 MB.
 && rm -rf "$site/kubernetes/aio" && /opt/autoscaler/bin/python -m pip uninstall --quiet --yes pip

FROM ${BASE_IMAGE}
COPY --from=build /opt/autoscaler /opt/autoscaler
ENV PATH=/opt/autoscaler/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/opt/autoscaler/bin/autoscaler"]
CMD ["run", "--config", "/etc/autoscaler/autoscaler.yaml"]
