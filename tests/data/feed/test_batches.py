"""Batches are made ahead of time, in the order that they are asked for."""

import threading

import pytest

from msk_jax.data.feed.batches import made_ahead


def _numbers(upto, made=None, third=None):
    for number in range(upto):
        if made is not None:
            made.append(number)
            if number == 2:
                third.set()
        yield number


def test_two_are_made_ahead_and_no_more():
    made, third, before = [], threading.Event(), threading.enumerate()
    batches = made_ahead(_numbers(9, made, third))
    assert made == [], "nothing is made before somebody asks"
    assert next(batches) == 0
    assert third.wait(timeout=10), "two more are made while the first is worked on"
    threads = [thread for thread in threading.enumerate() if thread not in before]
    assert len(threads) == 1
    batches.close()
    threads[0].join(timeout=10)
    assert not threads[0].is_alive() and made == [0, 1, 2]


def test_what_is_made_ahead_comes_in_order_with_its_fault():
    assert list(made_ahead(_numbers(5))) == [0, 1, 2, 3, 4]
    assert list(made_ahead(iter(()))) == []

    def damaged():
        yield 1
        raise OSError("a shard")

    batches = made_ahead(damaged())
    assert next(batches) == 1
    with pytest.raises(OSError, match="a shard"):
        next(batches)
