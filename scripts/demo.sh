#!/usr/bin/env bash
# Heatmaps of the demo on a bare machine with python3: makes .venv if there is none, installs the package,
# explains eight pictures with three formulas. Runs from any folder, as often as you like.
# usage: scripts/demo.sh [OUTPUT_FOLDER]
set -euo pipefail
started_in=$PWD
echo "== heatmaps of 8 pictures with 3 formulas: the first time this takes about a minute, later a few seconds"
source "$(dirname -- "${BASH_SOURCE[0]}")/venv.sh"
output=${1:-$PWD/demo_output}
[[ $output == /* ]] || output=$started_in/$output

echo "== 1 of 3: installing caffe-lrp and its dependencies into .venv: half a minute the first time"
install demo .

echo "== 2 of 3: explaining the pictures; the first run compiles its code for this CPU first"
for formula in 102 100 0; do
    echo "-- formula $formula"
    "$bin/caffe-lrp" -c configs/demo.txt -f filelists/demo.txt -p "$output" --suffix-target --formula $formula
done
echo "== 3 of 3: putting all heatmaps side by side"
"$bin/caffe-lrp" render "$output" --sheet "$output/overview.png" --overwrite

cat <<END

All heatmaps side by side: $output/overview.png
Red pixels are evidence for the class, blue ones are evidence against it.

Try next, in $PWD:
  your own drawing: put PNG or JPEG files with a circle, square, triangle, cross, ... into a FOLDER
    .venv/bin/caffe-lrp -c configs/demo.txt --images FOLDER --top 2 --outputs render -p "$output"
  your own Caffe net: explain a photo, then write a config for lists and folders of images
    .venv/bin/caffe-lrp explain deploy.prototxt net.caffemodel photo.jpg
    .venv/bin/caffe-lrp init deploy.prototxt net.caffemodel
  the same from Python:
    .venv/bin/python -c 'import caffe_lrp; caffe_lrp.load("configs/demo.txt").explain("filelists/demo/3_triangle_cross.png").heatmap().save("map.png")'
The manual: .venv/bin/caffe-lrp help
Notebooks:  caffe_lrp/manual/notebooks; .venv/bin/caffe-lrp help python says how to open them
END
