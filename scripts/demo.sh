#!/usr/bin/env bash
# Heatmaps of the demo on a bare machine with python3: makes .venv if there is none, installs the
# package, explains eight pictures by three formulas. Runs from any folder, as often as you like.
# usage: scripts/demo.sh [OUTPUT_FOLDER]
set -euo pipefail
started_in=$PWD
echo "== heatmaps of 8 pictures by 3 formulas: the first time this takes about a minute, later a few seconds"
source "$(dirname -- "${BASH_SOURCE[0]}")/venv.sh"
output=${1:-$PWD/demo_output}
[[ $output == /* ]] || output=$started_in/$output

echo "== 1 of 3: installing caffe-lrp and what it needs into .venv, half a minute if they are not there yet"
install demo .

echo "== 2 of 3: explaining the pictures; the first run compiles its code for this CPU before that"
for formula in 102 100 0; do
    echo "-- formula $formula"
    "$bin/caffe-lrp" -c configs/demo.txt -f filelists/demo.txt -p "$output" --suffix-target --formula $formula
done
echo "== 3 of 3: putting all heatmaps side by side"
"$bin/caffe-lrp" render "$output" --sheet "$output/overview.png" --overwrite

cat <<END

All heatmaps side by side: $output/overview.png
Red pixels speak for the shape asked for, blue ones against it.

Try next, in $PWD:
  the same heatmaps in other colours:
    .venv/bin/caffe-lrp render "$output" -p "$output/jet" --cmap jet
  other formulas, see README.md:
    .venv/bin/caffe-lrp -c configs/demo.txt -f filelists/demo.txt -p "$output" --suffix-target --formula 2
  the layers of the net, their numbers and the rule each one gets:
    .venv/bin/caffe-lrp -c configs/demo.txt -f filelists/demo.txt --suffix-target --dry-run
  a well-known net, if the weights can still be had:
    .venv/bin/python scripts/fetch_model.py caffenet
  your own net and photo:
    .venv/bin/caffe-lrp explain deploy.prototxt net.caffemodel photo.jpg
  and for many photos: copy configs/demo.txt and put your files in
END
