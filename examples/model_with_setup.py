"""A processor with state: the model is loaded once, before the first job is claimed.

Run it:     python examples/model_with_setup.py
Its worker: cd examples && microbatch worker model_with_setup:Embed
"""

import asyncio
import hashlib
import math

from microbatch.producer import AsyncClient, JobFailed
from microbatch.worker import Batch, BatchProcessor, BatchResults, Worker, WorkerSettings

Vector = list[float]


class HashingModel:
    """Stand in for an embedding model: hashed words, unit length."""

    dimensions = 16

    def encode(self, texts: list[str]) -> list[Vector]:
        """One vector per text, in one call."""
        return [self._one(text) for text in texts]

    def _one(self, text: str) -> Vector:
        vector = [0.0] * self.dimensions
        for word in text.lower().split():
            vector[hashlib.sha256(word.encode()).digest()[0] % self.dimensions] += 1.0
        length = math.sqrt(sum(value * value for value in vector)) or 1.0
        return [value / length for value in vector]


class Embed(BatchProcessor[str, Vector]):
    """Texts to vectors."""

    queue = "embed"
    max_batch_size = 64
    max_wait_ms = 5

    def setup(self) -> None:
        """Load the model once; readiness waits for it."""
        self.model = HashingModel()

    def process(self, batch: Batch[str]) -> BatchResults[Vector]:
        """Encode the batch in one call; an empty text fails alone."""
        vectors: list[Vector | Exception] = list(self.model.encode(batch.payloads))
        for index, job in enumerate(batch):
            if not job.payload.strip():
                vectors[index] = ValueError("nothing to embed")
        return vectors


async def main() -> None:
    """Embed a few texts, one of them empty."""
    url = "embedded://"
    async with Worker([Embed], settings=WorkerSettings(redis_url=url)), AsyncClient(url) as client:
        jobs = await client.submit_many("embed", ["a text", "another text", "   "])
        async for job in client.as_completed(jobs, timeout_s=10):
            try:
                vector = await job.result()
                print(job.id, "->", [round(value, 2) for value in vector if value], "and zeros")
            except JobFailed as failed:
                print(job.id, "->", failed.error_type, failed.error_message)


if __name__ == "__main__":
    asyncio.run(main())
