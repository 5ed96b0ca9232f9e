"""A model server of two replicas on Ray Serve, in the dialect of OpenAI: what the cluster test puts behind sluice.

    python ray_app.py PORT

Prints READY and serves until its standard input closes. A chat answer of max_tokens words is streamed, or told at once;
each word is PID:NUMBER with the process of its replica, so that a test can see who serves and kill one.
"""

import asyncio
import json
import os
import sys
from typing import Any, AsyncIterator, Optional

import ray
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse
from ray import serve

REPLICAS = 2
WORD_SEC = 0.02  # the pace of a small model

api = FastAPI()


def envelope(kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-ray", "object": kind, "created": 1, "model": "words"}


async def words(n: int) -> AsyncIterator[str]:
    for i in range(n):
        await asyncio.sleep(WORD_SEC)
        yield f"{os.getpid()}:{i} "


async def chunks(n: int) -> AsyncIterator[str]:
    def event(delta: dict[str, str], reason: Optional[str]) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return "data: " + json.dumps({**envelope("chat.completion.chunk"), "choices": [choice]}) + "\n\n"

    yield event({"role": "assistant", "content": ""}, None)
    async for word in words(n):
        yield event({"content": word}, None)
    yield event({}, "stop")
    yield "data: [DONE]\n\n"


@serve.deployment(num_replicas=REPLICAS, max_ongoing_requests=8, ray_actor_options={"num_cpus": 0})
@serve.ingress(api)
class Model:
    @api.post("/v1/chat/completions")
    async def chat(self, request: Request) -> Any:
        body = await request.json()
        n = int(body.get("max_tokens") or 8)
        if body.get("stream"):
            return StreamingResponse(chunks(n), media_type="text/event-stream")
        text = "".join([word async for word in words(n)])
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return JSONResponse({**envelope("chat.completion"), "choices": [choice]})


def main() -> None:
    ray.init(address="local", num_cpus=2, include_dashboard=False, configure_logging=False, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    serve.run(Model.bind(), name="model", route_prefix="/")
    print("READY", flush=True)
    sys.stdin.read()
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    main()
