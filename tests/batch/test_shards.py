"""Parts of a list, and how a Slurm array asks for them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caffe_lrp.batch.shards import Shard, parse_shard, shard_of_array
from caffe_lrp.errors import UsageError


@given(st.integers(0, 1000), st.integers(1, 70))
def test_parts_are_the_whole_list_in_order_and_differ_by_one_line_at_most(length: int, count: int) -> None:
    parts = [Shard(index, count).part_of(length) for index in range(count)]
    assert [line for part in parts for line in part] == list(range(length))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_the_whole_list_is_one_part() -> None:
    assert Shard().part_of(7) == range(7)
    assert Shard().label == "0of1"


def test_a_part_is_written_as_index_and_count() -> None:
    assert parse_shard("3/64") == Shard(3, 64)
    assert parse_shard("0/1") == Shard()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("64/64", "asks for part 64, but 64 parts are numbered from 0 to 63"),
        ("0/0", "N at least 1"),
        ("1", "must be I/N"),
        ("-1/4", "must be I/N"),
        ("1/2/3", "must be I/N"),
        ("", "must be I/N"),
    ],
)
def test_what_is_no_part_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_shard(text)


def array(task: int, first: int, last: int, step: int, count: int) -> dict[str, str]:
    values = {"ID": task, "MIN": first, "MAX": last, "STEP": step, "COUNT": count}
    return {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in values.items()}


@pytest.mark.parametrize(
    ("environment", "shard"),
    [
        (array(0, 0, 63, 1, 64), Shard(0, 64)),
        (array(63, 0, 63, 1, 64), Shard(63, 64)),
        (array(1, 1, 4, 1, 4), Shard(0, 4)),
        (array(4, 0, 6, 2, 4), Shard(2, 4)),
        (array(5, 5, 5, 1, 1), Shard(0, 1)),
    ],
)
def test_tasks_of_an_array_are_its_parts(environment: dict[str, str], shard: Shard) -> None:
    assert shard_of_array(environment) == shard


@pytest.mark.parametrize(
    "environment", [array(7, 1, 7, 1, 3), array(3, 0, 9, 3, 3), array(9, 0, 3, 1, 4), array(1, 0, 4, 2, 3)]
)
def test_an_array_with_gaps_is_refused(environment: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="leaves out indices"):
        shard_of_array(environment)


@pytest.mark.parametrize("missing", ["ID", "MIN", "MAX", "STEP", "COUNT"])
def test_nothing_but_an_array_is_taken_for_one(missing: str) -> None:
    environment = array(1, 0, 3, 1, 4)
    del environment[f"SLURM_ARRAY_TASK_{missing}"]
    with pytest.raises(UsageError, match="not a task of a Slurm array job"):
        shard_of_array(environment)
