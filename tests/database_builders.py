"""Databases of maps for tests: each made of explanations that follow from a number."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np

from caffe_lrp.imaging.original import Original
from caffe_lrp.imaging.place import Place
from caffe_lrp.model.explanation import Explanation
from caffe_lrp.outputs.database import AttributionDatabase, DatabaseShape
from caffe_lrp.outputs.encoding import Dtype
from caffe_lrp.relevance.ranking import Ranking

SHAPE = DatabaseShape(rows=6, channels=3, height=4, width=5, classes=7)
SETTINGS = '{"formula": 100, "net": "größer"}'


def explanation_of(number: int, shape: DatabaseShape = SHAPE) -> Explanation:
    random_numbers = np.random.default_rng(number)
    scores = random_numbers.random(shape.classes, np.float32)
    height, width = size = shape.input_size or (shape.height, shape.width)
    return Explanation(
        relevance=random_numbers.standard_normal((shape.channels, shape.height, shape.width), np.float32),
        input=random_numbers.integers(0, 256, (*size, 3), np.uint8),
        scores=scores,
        target=(number % shape.classes, 0),
        formula=100,
        source="picture.png",
        place=Place(height, width, 0, 0, height, width),
        original=Original("picture.png"),
        ranking=Ranking(np.argsort(-scores)[:2], -np.sort(-scores)[:2]),
    )


def make(
    path: Path,
    numbers: Sequence[int],
    shape: DatabaseShape = SHAPE,
    dtype: Dtype = "float32",
    *,
    with_input: bool = False,
    description: str = SETTINGS,
) -> Path:
    """A database whose first rows are those of the images of these numbers."""
    with AttributionDatabase(path, shape, dtype, with_input, description) as maps:
        for row, number in enumerate(numbers):
            maps.write(row, explanation_of(number, shape), number)
    return path


def check_row(path: Path, row: int, number: int, dtype: str = "float32") -> None:
    expected = explanation_of(number)
    with h5py.File(path, "r") as file:
        np.testing.assert_array_equal(file["attribution"][row], expected.relevance.astype(dtype))
        np.testing.assert_array_equal(file["prediction"][row], expected.scores)
        assert (file["label"][row], file["index"][row]) == (number % 7, number)


def shards(folder: Path, numbers: Sequence[Sequence[int]], *, with_input: bool = True) -> list[Path]:
    return [
        make(folder / f"shard{place}.h5", part, replace(SHAPE, rows=len(part)), with_input=with_input)
        for place, part in enumerate(numbers)
    ]
