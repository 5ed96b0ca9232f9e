#!/usr/bin/env python3
"""A model that asks for the time: one round of tool calls.

tools.py MODEL
"""

import datetime
import json
import sys

import sluice

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "now",
            "description": "The date and the time of day",
            "parameters": {"type": "object", "properties": {}},
        },
    }
]


def main(model: str) -> None:
    messages = [{"role": "user", "content": "What time is it?"}]
    with sluice.Client() as client:
        answer = client.chat.completions.create(model=model, messages=messages, tools=TOOLS)
        message = answer.choices[0].message
        if message.tool_calls:
            messages.append(message)
            for call in message.tool_calls:
                result = json.dumps({"now": datetime.datetime.now().isoformat(timespec="seconds")})
                messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
            answer = client.chat.completions.create(model=model, messages=messages, tools=TOOLS)
    print(answer.choices[0].message.content)


if __name__ == "__main__":
    main(sys.argv[1])
