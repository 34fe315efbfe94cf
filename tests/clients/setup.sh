#!/bin/sh
# SPDX-License-Identifier: ISC
# Installs the client libraries of the matrix: the npm ones beside this file, the Python ones in .venv.
set -eu
cd "$(dirname "$0")"
npm ci --no-audit --no-fund
venv=${CLIENTS_VENV:-.venv}
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r requirements.txt
