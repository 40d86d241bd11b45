"""Engines that are lent to threads."""

import threading

from caffe_lrp.engines.pool import EnginePool


def test_all_engines_of_a_pool_compute_convolutions_as_it_was_told() -> None:
    pool = EnginePool([1, 1], "direct")
    with pool.borrowed() as first, pool.borrowed() as second:
        assert [vars(engine)["_workspace"].convolution for engine in (first, second)] == ["direct"] * 2
    pool.close()


def test_who_waits_for_an_engine_of_a_closed_pool_gets_one_and_no_thread_is_left() -> None:
    before = set(threading.enumerate())
    pool = EnginePool([3])
    with pool.borrowed() as lent:
        pool.close()
    with pool.borrowed() as engine:
        assert engine is not lent
    with pool.borrowed():
        pass
    assert set(threading.enumerate()) <= before
