# ScentRT's tasks. `just demo` and `just test` need nothing but Python 3.11+ with pip.

set positional-arguments

# The Python that makes .venv: PYTHON=python3.13 just setup
python := env("PYTHON", "python3")

# Where a machine forbids it, as images of containers do, each of a hundred processes that a test run
# starts would compile all sources anew.
export PYTHONDONTWRITEBYTECODE := ""

# Show the tasks
[private]
default:
    @just --justfile "{{ justfile() }}" --list --unsorted

# Install everything into .venv; does nothing while the lock is unchanged
setup:
    #!/bin/sh
    set -eu
    stamp=.venv/.installed
    wanted=$(cat requirements.txt pyproject.toml | cksum)
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && .venv/bin/python -c ""; then
        exit 0
    fi
    "{{ python }}" -c 'import sys; sys.version_info >= (3, 11) or sys.exit(
        f"ScentRT needs Python 3.11 or newer, and {sys.executable} is {sys.version.split()[0]}: "
        "name a newer one with PYTHON=…")'
    echo "Installing into .venv: this once, it takes a minute …"
    # Without ensurepip, which Debian keeps in a package of its own: pip can work from outside.
    .venv/bin/python -c "" 2>/dev/null || "{{ python }}" -m venv --clear --without-pip .venv
    pip() { "{{ python }}" -m pip --python .venv/bin/python install --quiet --disable-pip-version-check "$@"; }
    pip --require-hashes -r requirements.txt
    pip --no-deps --no-build-isolation --editable .
    echo "$wanted" > "$stamp"

# Run the demo: a theatre, a game and goggles, all simulated
demo *args: setup
    @.venv/bin/scentrt demo "$@"

# Start a server
serve *args: setup
    @.venv/bin/scentrt serve "$@"

# Run the tests, three files at a time: they wait more than they work
test *args: setup
    @.venv/bin/pytest -n 3 --dist loadfile "$@"

# Run what CI runs: lint and test
check: lint test

# Check format, style, types and the one-way imports
lint: setup
    .venv/bin/ruff format --check --quiet
    .venv/bin/ruff check --quiet
    .venv/bin/mypy
    .venv/bin/lint-imports

# Format, and mend what can be mended without judgement
fmt: setup
    @.venv/bin/ruff check --fix --quiet --exit-zero
    @.venv/bin/ruff format

# Measure the server beside references; all of it, without arguments, draws README's picture too
bench *args: setup
    @[ $# -gt 0 ] || set -- --picture simulators/latency/bench.png; \
        .venv/bin/python -m simulators.latency "$@"

# Draw a flame graph of the server during a bench: `just profile cue`
profile name *args: setup
    @name="$1"; shift; \
        .venv/bin/python -m simulators.latency --only "$name" --profile "$name.svg" "$@"

# Repeat the properties over 10,000 histories each, and kill servers: 500 under load, 100 in a night
soak *args: setup
    @HYPOTHESIS_PROFILE=soak .venv/bin/pytest -m soak -o faulthandler_timeout=0 "$@"

# The lock comes out the same whoever makes it: no settings of theirs, no package host of theirs.
# Renew the lock; `just lock --upgrade` takes newer versions
lock *args: setup
    @.venv/bin/uv pip compile pyproject.toml --all-extras --group dev \
        --universal --python-version 3.11 --generate-hashes \
        --no-config --no-emit-index-url --no-emit-find-links \
        --custom-compile-command "just lock" --quiet --output-file requirements.txt "$@"
