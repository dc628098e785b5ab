"""Processors of several kinds at the top of a module, where child processes find them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from pydantic import BaseModel

from microbatch.worker import Batch, BatchProcessor, batch_processor


class Pair(TypedDict):
    a: int
    b: int


@dataclass
class Answer:
    value: int


class Point(BaseModel):
    x: int


@batch_processor(queue="math", kind="sum")
def add(pairs: list[Pair]) -> list[Answer]:
    return [Answer(pair["a"] + pair["b"]) for pair in pairs]


class Scale(BatchProcessor[Point, Point]):
    queue = "math"
    kind = "scale"

    def process(self, batch: Batch[Point]) -> list[Point | Exception]:
        return [Point(x=point.x * 10) for point in batch.payloads]
