# A worker. Build from it for your own workflows, or copy its last lines.
FROM python:3.11-slim

ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

WORKDIR /src
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY redisflow redisflow
COPY lua lua
RUN pip install '.[fast]' && rm -rf /src

# The application's own modules are found from here.
WORKDIR /app
ENV PYTHONPATH=/app
COPY examples examples
# Where the example writes down what it did: in /app it may not.
ENV ORDER_LEDGER=/tmp/ledger.txt

RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin redisflow
USER 10001

# The list form makes the worker process 1, so that SIGTERM reaches it and it hands its runs over.
CMD ["redisflow", "worker", "examples.order:flow"]
