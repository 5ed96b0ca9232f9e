#!/usr/bin/env python3
"""A conversation on the terminal: each answer appears as it comes, Ctrl-C stops it and not the program.

chat.py MODEL
"""

import sys

import sluice


def main(model: str) -> None:
    messages = []
    with sluice.Client() as client:
        for line in sys.stdin:
            messages.append({"role": "user", "content": line.strip()})
            said = ""
            try:
                with client.chat.completions.create(
                    model=model, messages=messages, stream=True
                ) as stream:
                    for chunk in stream:
                        piece = chunk.choices[0].delta.content or ""
                        said += piece
                        print(piece, end="", flush=True)
            except KeyboardInterrupt:
                pass  # the call has ended in the daemon as well
            except sluice.APIError as e:
                print(f"{e.message} ({e.code})", file=sys.stderr)
                messages.pop()
                continue
            print()
            messages.append({"role": "assistant", "content": said})


if __name__ == "__main__":
    main(sys.argv[1])
