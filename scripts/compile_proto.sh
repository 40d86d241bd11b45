#!/usr/bin/env bash
# Regenerates caffe_lrp/formats/caffe/caffe_pb2.py and caffe_pb2.pyi from caffe_lrp/formats/caffe/caffe.proto.
# The compiler is that of protobuf 25 on purpose: its code does not check for newer protobuf runtimes, so
# one file works with protobuf >= 4.25. It has wheels for Python 3.7 to 3.12; set PYTHON to such an
# interpreter if python3 is newer.
set -euo pipefail
unset CDPATH
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

venv="$(mktemp -d)"
trap 'rm -rf "$venv"' EXIT
"${PYTHON:-python3}" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check "grpcio-tools==1.62.3" setuptools
"$venv/bin/python" -m grpc_tools.protoc -I. --python_out=. --pyi_out=. caffe_lrp/formats/caffe/caffe.proto
