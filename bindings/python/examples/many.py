#!/usr/bin/env python3
"""Many questions at a time with asyncio, as background work: whoever waits for an answer goes first.

many.py MODEL QUESTION...
"""

import asyncio
import sys

import sluice


async def ask(client: sluice.AsyncClient, model: str, question: str) -> str:
    for _ in range(3):
        try:
            answer = await client.chat.completions.create(
                model=model,
                messages=[{"role": "user", "content": question}],
                class_="background",
                deadline=600,
            )
            return answer.choices[0].message.content or ""
        except sluice.APIError as e:
            if not e.is_retryable:
                raise
            await asyncio.sleep(e.retry_after or 1)  # the daemon says when it makes sense
    return "no answer"


async def main(model: str, questions: "list[str]") -> None:
    async with sluice.AsyncClient() as client:
        answers = await asyncio.gather(*(ask(client, model, q) for q in questions))
    for question, answer in zip(questions, answers):
        print(f"{question}: {answer}")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2:]))
