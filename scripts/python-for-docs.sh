#!/usr/bin/env bash
# A Python with OpenAI's client for the examples in docs/, in .prepare/python. Says what it could not have and fails
# then; the examples in Python are skipped by name without it. Does nothing where it has all it needs.
set -euo pipefail
cd "$(dirname "$0")/.."
# The version whose behaviour docs/compatibility.md tells of.
wanted='openai==3.57.0'
python=.prepare/python/bin/python

fail() {
  echo "Examples in Python will not run: $1" >&2
  exit 1
}

has_it() { [ -x "$python" ] && "$python" -c "import openai, sys; sys.exit(openai.__version__ != '${wanted#*==}')" 2>/dev/null; }

has_it && exit 0
if ! python3 -c 'import venv, ensurepip' 2>/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv; } >/dev/null 2>&1 || true
fi
command -v python3 >/dev/null || fail 'this machine has no python3.'
rm -rf .prepare/python
python3 -m venv .prepare/python >/dev/null || fail 'python3 cannot make an environment; Debian has it in python3-venv.'
"$python" -m pip install --quiet --disable-pip-version-check --timeout 60 --retries 2 "$wanted" >/dev/null || fail "pip cannot install $wanted."
has_it || fail "$wanted was installed and cannot be imported."
