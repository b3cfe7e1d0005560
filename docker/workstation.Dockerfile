# The whole line of stages: score, plan, prune, export, bench. About 7 GB, most of it torch.
#
#   docker build -f docker/workstation.Dockerfile -t xprune-edge:workstation .
#   docker run --rm -v "$PWD/runs:/runs" xprune-edge:workstation prune-export --out /runs/demo
FROM python:3.11-slim-bookworm

ENV ORT_DISABLE_TELEMETRY=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    YOLO_AUTOINSTALL=False \
    YOLO_CONFIG_DIR=/tmp \
    YOLO_OFFLINE=True

# OpenCV, which Ultralytics asks for, is linked against these two. Debian keeps one version of
# each in a release, so a pin would only break.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY runtime_bench ./runtime_bench
COPY exporters ./exporters
COPY xprune ./xprune
RUN pip install -c constraints.txt '.[prune]' && rm -rf /source/*

RUN useradd --create-home --uid 1000 edge && mkdir /runs && chown edge /runs
USER 1000
WORKDIR /runs

ENTRYPOINT ["xprune-edge"]
CMD ["--help"]
