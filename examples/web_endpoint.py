"""A web endpoint that awaits its result: each request holds one text, the model sees batches.

Serve it:   pip install fastapi uvicorn, then: cd examples && uvicorn web_endpoint:app
Its worker: cd examples && microbatch worker web_endpoint:sentiment
Ask it:     curl 'localhost:8000/sentiment?text=what+a+lovely+day'
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import FastAPI, HTTPException, Query, Request

from microbatch.producer import AsyncClient, JobFailed, QueueFull, ResultTimeout
from microbatch.worker import batch_processor

PLEASANT = {"lovely", "good", "great", "nice", "happy"}


@batch_processor(queue="sentiment", max_batch_size=128, max_wait_ms=5)
def sentiment(texts: list[str]) -> list[float]:
    """Stand in for a model: the share of pleasant words. A plain function runs in a thread."""
    return [
        sum(word in PLEASANT for word in text.lower().split()) / max(1, len(text.split())) for text in texts
    ]


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """One client per process: all requests share its connections and its round trips."""
    async with AsyncClient() as client:
        app.state.client = client
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/sentiment")
async def ask(request: Request, text: Annotated[str, Query(max_length=10_000)]) -> dict[str, float]:
    """Submit one text and await its score."""
    client: AsyncClient = request.app.state.client
    try:
        return {"score": await client.call("sentiment", text, timeout_s=5)}
    except QueueFull as full:
        raise HTTPException(
            503, "busy", headers={"Retry-After": str(round(full.retry_after_s) + 1)}
        ) from full
    except ResultTimeout as late:
        raise HTTPException(504, "no answer in time") from late
    except JobFailed as failed:
        raise HTTPException(500, failed.error_type) from failed
