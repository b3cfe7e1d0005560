# What runs on the device: measure, predict, inspect. No torch; amd64 and arm64 alike.
#
#   docker build -f docker/device.Dockerfile -t xprune-edge:device .
#   docker run --rm -v "$PWD/runs/a/artifact:/artifact:ro" xprune-edge:device inspect /artifact
FROM python:3.11-slim-bookworm

ENV ORT_DISABLE_TELEMETRY=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PYTHONDONTWRITEBYTECODE=1

WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY runtime_bench ./runtime_bench
COPY exporters ./exporters
COPY xprune ./xprune
RUN pip install -c constraints.txt . && rm -rf /source/*

# A user without rights; mount pictures and artifacts read-only, and a folder of theirs on /runs.
RUN useradd --create-home --uid 1000 edge && mkdir /runs && chown edge /runs
USER 1000
WORKDIR /runs

ENTRYPOINT ["xprune-edge"]
CMD ["--help"]
