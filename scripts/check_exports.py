"""Runs the lines of the manual that export nets as ONNX, imports the files, and compares the scores.

    python scripts/check_exports.py --torch VENV/bin/python --keras VENV/bin/python

The interpreters have torch and torchvision, and tensorflow and tf2onnx; this one has caffe-lrp with the
extra ``onnx``. Nets have random weights.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

CHAPTER = Path(__file__).parents[1] / "caffe_lrp/manual/import.md"
#: Framework -> what the manual leaves to the reader.
NETS = {
    "PyTorch": "",
    "Keras": "from keras.applications import MobileNetV2\n"
    "model = MobileNetV2(weights=None, classifier_activation=None)\n",
}
#: Larger differences of scores, compared with the largest score, are a fault.
LARGEST = 1e-4


def lines_for(framework: str) -> str:
    """Return the lines of the manual that export a net of a framework."""
    text = CHAPTER.read_text(encoding="utf-8")
    block = re.search(rf"^## {framework}.*?\n\n((?:    [^\n]*\n)+)", text, re.MULTILINE | re.DOTALL)
    if block is None:
        raise SystemExit(f"{CHAPTER}: has no lines that export from {framework}")
    lines = re.sub("^    ", "", block[1], flags=re.MULTILINE)
    return lines.replace('weights="DEFAULT"', "weights=None")  # nothing is downloaded


def difference_of(framework: str, python: Path, folder: Path) -> float:
    """Return by how much the scores of an exported net differ after the import, of the largest one."""
    subprocess.run([python, "-c", NETS[framework] + lines_for(framework)], cwd=folder, check=True)
    (exported,) = folder.glob("*.onnx")
    command = [sys.executable, "-m", "caffe_lrp", "import", str(exported), str(folder / "new")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    print(done.stdout, done.stderr, sep="", end="")
    found = re.search(r"by at most ([\d.e+-]+) of the largest", done.stdout)
    if done.returncode or found is None:
        raise SystemExit(f"{framework}: the net was not imported, or not compared")
    return float(found[1])


def main() -> None:
    """Check the frameworks whose interpreters are given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--torch", type=Path, metavar="PYTHON", help="interpreter with torch and torchvision")
    parser.add_argument("--keras", type=Path, metavar="PYTHON", help="interpreter with tensorflow, tf2onnx")
    options = parser.parse_args()
    for framework, python in (("PyTorch", options.torch), ("Keras", options.keras)):
        if python is not None:
            with tempfile.TemporaryDirectory() as folder:
                difference = difference_of(framework, python, Path(folder))
            if not difference <= LARGEST:
                raise SystemExit(f"{framework}: scores differ by {difference:g}")
            print(f"{framework}: scores agree to {difference:g}")


if __name__ == "__main__":
    main()
