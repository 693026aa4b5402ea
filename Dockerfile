# mammoseg in a container: CPU or CUDA, as an unprivileged user, without network at run time (docs/container.md).
#
#   docker build --build-arg TORCH_INDEX_URL=ADDRESS --tag mammoseg .    ADDRESS: PyTorch's index of CPU builds
#   docker build --tag mammoseg:cuda .                                   without it: the CUDA build
FROM python:3.11-slim-bookworm AS build
ARG TORCH_INDEX_URL=""
RUN python -m venv /opt/mammoseg
ENV PATH=/opt/mammoseg/bin:$PATH
WORKDIR /source
COPY constraints.txt ./
RUN if [ -n "$TORCH_INDEX_URL" ]; then \
      pip install --no-cache-dir --no-deps --index-url "$TORCH_INDEX_URL" --constraint constraints.txt torch; \
    fi
COPY . .
RUN pip install --no-cache-dir --constraint constraints.txt .

FROM python:3.11-slim-bookworm
RUN useradd --uid 1000 --no-create-home mammoseg && install --directory --owner=mammoseg /work
COPY --from=build /opt/mammoseg /opt/mammoseg
# Any user may run it (docker run --user): files other than the results go to /tmp
ENV PATH=/opt/mammoseg/bin:$PATH \
    HOME=/tmp \
    MPLCONFIGDIR=/tmp/matplotlib \
    MLFLOW_DISABLE_TELEMETRY=true \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 1000
WORKDIR /work
ENTRYPOINT ["mammoseg"]
CMD ["--help"]
