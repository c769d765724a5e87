"""Calls that are made again when the cluster says that this helps."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

import grpc

Answer = TypeVar("Answer")
# What may pass: a shard without a primary for a moment, a full queue, a shard that has just moved.
PASSING = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.ABORTED}
SHORTEST, LONGEST = 0.02, 2.0


class NeedletailError(Exception):
    """What the cluster answered. `code` is the gRPC status, `str()` says what to do."""

    def __init__(self, code: grpc.StatusCode, message: str):
        super().__init__(f"{code.name}: {message}")
        self.code = code
        self.message = message


def calling(call: Callable[[float], Answer], seconds: float) -> Answer:
    """`call(timeout)` until it answers, something cannot pass, or the time is over. What is called must be safe to do twice: reads, and writes
    that carry an operation id."""
    end = time.monotonic() + seconds
    pause = SHORTEST
    while True:
        left = end - time.monotonic()
        try:
            return call(max(left, 0.001))
        except grpc.RpcError as error:
            told = _pushback(error)
            # Each waits a random part of its pause, so that those who failed together do not come back together.
            wait = told if told is not None else pause * random.uniform(0.5, 1)
            if error.code() not in PASSING or end - time.monotonic() <= wait:
                raise NeedletailError(error.code(), error.details() or "") from None
            time.sleep(wait)
            pause = min(2 * pause, LONGEST)


def _pushback(error: grpc.RpcError) -> float | None:
    """Seconds after which the server wants to be asked again, if it said so."""
    for key, text in error.trailing_metadata() or ():
        if key == "grpc-retry-pushback-ms" and text.isdigit():
            return int(text) / 1000
    return None
