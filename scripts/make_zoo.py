#!/usr/bin/env python3
"""Writes the zoo: deploy prototxts of well-known nets, a config for each, and labels.

Everything is made from the table in zoo_table.py; the same table gives the same bytes.
"""

import argparse
import sys
import tempfile
import textwrap
from collections.abc import Mapping
from functools import cache
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "zoo"))

from zoo_entry import ZooNet
from zoo_shapes import read_sized_text
from zoo_table import LABELS, ZOO
from zoo_text import Sketch

from caffe_lrp.formats.caffe.reader import read_prototxt
from caffe_lrp.net.build import build_outline
from caffe_lrp.net.deploy.deployed import deploy
from caffe_lrp.relevance.advice import Advice, suitable_formula
from caffe_lrp.relevance.composite import FormulaCode

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
FOLDER = CONFIGS / "zoo"
COMMENT_WIDTH = 98

CONFIG = """\
# {title}.
# A setting is a key and its value.
# Files are looked for in the current folder first, then in the folder of this file.

# The net. Put {weights} into the folder of the prototxt.
param_file: {prototxt}
model_file: {model}

# The class labels, one per line.
synsetfile: {labels}

# Relevance: from the scores, wherever the net computes them, down to the image (0).
lastlayerindex: auto
firstlayerindex: 0
numclasses: {classes}

# From an image to the input of the net. {side_name} of an image gets {resized} pixels, whose
# {side}x{side} centre the net sees. The mean of every channel is subtracted, in the order that the net wants.
preprocess:
  resize: {resize}
  baseimgsize: {resized}
  mean_values: [{mean}]
  input_scale: {scale:g}
  channel_order: BGR

# Output: the part of an image's path from the text "images" on, put under ./heatmaps of
# the folder given with -p: photos/images/dogs/rex.jpg leads to
# ./heatmaps/images/dogs/rex.jpg_heatmap.png. The text must be in every image path of a list.
standalone_outpath: ./heatmaps
standalone_rootpath: images

{formula_comment}relpropformulatype: {formula}
epsstab: 0.01
# Of formulas with numbers: alpha = 1 + beta.
alphabeta_beta: 1

# Formulas 54 to 60, 102, 104 and 114 change their rule after this layer.
auxiliaryvariable_maxlayerindexforflatdistinconv: {switch}
"""

#: What a formula does, in configs.
FORMULAS: Mapping[FormulaCode, str] = {
    "epsilon-plus": "z⁺ (alpha-beta with a beta of 0) on convolutions, epsilon on fully connected layers",
    "epsilon-plus-flat": "flat on the lowest layer, z⁺ (alpha-beta with a beta of 0) on other convolutions, "
    "epsilon on fully connected layers",
}

#: Formula -> others that are like it, and what they are good for.
KINDRED: Mapping[FormulaCode, str] = {
    "epsilon-plus": "epsilon-alpha2-beta1, which shows in blue what speaks against the class",
    "epsilon-plus-flat": "epsilon-plus and deep-taylor, which keep closer to contours; "
    "epsilon-alpha2-beta1-flat, which shows in blue what speaks against the class",
}

OTHER_FORMULAS = """\
Others: {kindred}; 0 epsilon, 2 alpha-beta, 100 alpha-beta on convolutions (with a beta of 1 nearly \
black in deep nets), 102 and 104 flat and w-squared on the lower layers, 11 and 99 gradient, 26 \
deconvolution, 166 guided backpropagation."""

#: How images come to their size -> what gets that size.
SIDE_NAMES = {
    "reference": "The longer side",
    "short-side": "The shorter side",
    "stretch": "Every side",
}

READ_ME = """\
# The zoo

Well-known nets for Caffe, written by `scripts/make_zoo.py` from the publications named at the top of every
prototxt, and a config for each. There are no weights here: put them into this folder under the name in the
table. Layers are called as in the weights that were published for Caffe, except where a prototxt says
otherwise. `scripts/make_random_weights.py` fills any of the nets with random weights, for measurements and
tests. With weights in their place:

    caffe-lrp -c configs/zoo/resnet50.yaml --images photos/ -p out

Lists (`-f`) want paths that contain `images`, as `standalone_rootpath` in the configs says. The configs for
ImageNet share the class labels `configs/synset_words.txt`, which `scripts/fetch_model.py` downloads.

The configs have the formula that suits the net according to `caffe-lrp inspect`: epsilon-plus-flat, and for
LeNet epsilon-plus. It was chosen on SqueezeNet 1.0, LeNet and a ResNet-20 for small pictures, all with
trained weights: see "How much a heatmap shows" in `caffe-lrp help formulas`. For the other nets here it
follows from their layers alone; no maps of theirs were looked at.

| net | config | input | parameters | multiply-adds | weights |
| --- | --- | --- | ---: | ---: | --- |
"""
"""Multiply-adds are those of an image."""


def prototxt(entry: ZooNet) -> str:
    """Return the prototxt of a net."""
    net = Sketch(entry.name, entry.input_shape)
    entry.build(net)
    about = wrapped(f"{entry.title}.") + wrapped(entry.source) + (wrapped(entry.notes) if entry.notes else "")
    return f"{about}\n{net.text}"


def wrapped(text: str) -> str:
    """Return text as lines of comments."""
    return "".join(f"# {line}\n" for line in textwrap.wrap(text, COMMENT_WIDTH - 2))


def config(name: str, entry: ZooNet) -> str:
    """Return the config of a net."""
    folder = f"{entry.folder}/" if entry.folder else ""
    advice = advice_for(prototxt(entry))
    return CONFIG.format(
        title=entry.title,
        weights=entry.weights,
        prototxt=prototxt_path(name, entry),
        model=f"{folder}{entry.weights}",
        labels=entry.labels,
        classes=entry.classes,
        side=entry.side,
        resized=entry.resized,
        mean=", ".join(f"{value:g}" for value in entry.preprocessing.mean),
        scale=entry.preprocessing.scale,
        resize=entry.preprocessing.resize,
        side_name=SIDE_NAMES[entry.preprocessing.resize],
        switch=entry.switch,
        formula=advice.formula,
        formula_comment=wrapped(
            f"Formula: {FORMULAS[advice.formula]}. Why: {advice.reason}; see: caffe-lrp help formulas."
        )
        + wrapped(OTHER_FORMULAS.format(kindred=KINDRED[advice.formula])),
    )


@cache
def advice_for(text: str) -> Advice:
    """Return which formula suits the net of a prototxt."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "deploy.prototxt")
        path.write_text(text, encoding="utf-8")
        net = build_outline(deploy(read_prototxt(path)))
        return suitable_formula(net, net.output_value)


def prototxt_path(name: str, entry: ZooNet) -> str:
    """Return the path of a net's prototxt from the folder of the zoo."""
    return f"{entry.folder}/deploy.prototxt" if entry.folder else f"{name}.prototxt"


def read_me(prototxts: Mapping[str, str]) -> str:
    """Return the table of all nets, given the prototxt of each."""
    rows = []
    for name, entry in ZOO.items():
        net = read_sized_text(prototxts[name])
        sizes = "×".join(map(str, entry.input_shape))
        rows.append(
            f"| {entry.title.split(':')[0]} | [{name}.yaml]({name}.yaml) | {sizes} | "
            f"{net.parameters / 1e6:.2f} M | {net.multiply_adds / 1e6:,.0f} M | {entry.weights} |\n"
        )
    return READ_ME + "".join(rows)


def zoo() -> dict[Path, str]:
    """Return all files of the zoo and their texts."""
    prototxts = {name: prototxt(entry) for name, entry in ZOO.items()}
    files = {FOLDER / "README.md": read_me(prototxts)}
    for name, entry in ZOO.items():
        files[(FOLDER / prototxt_path(name, entry)).resolve()] = prototxts[name]
        files[FOLDER / f"{name}.yaml"] = config(name, entry)
    for name, labels in LABELS.items():
        files[FOLDER / name] = "".join(f"{label}\n" for label in labels)
    return files


def differing(files: Mapping[Path, str]) -> list[Path]:
    """Return the files that are missing or have another text, and those in the zoo that nothing makes."""
    made = [path for path, text in files.items() if not path.is_file() or path.read_bytes() != text.encode()]
    unknown = set(FOLDER.glob("*.*")) - files.keys()
    return made + sorted(path for path in unknown if path.suffix in {".prototxt", ".yaml"})


def main() -> int:
    """Write or check the zoo and return the exit code."""
    parser = argparse.ArgumentParser(description="Write the nets of configs/zoo/ and their configs.")
    parser.add_argument("--check", action="store_true", help="write nothing; name the files that differ")
    files = zoo()
    if not parser.parse_args().check:
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
        print(f"{FOLDER}: {len(ZOO)} nets")
        return 0
    stale = differing(files)
    for path in stale:
        print(f"{path}: is not what make_zoo.py writes; run it without --check", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
