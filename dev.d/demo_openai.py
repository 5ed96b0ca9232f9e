"""The official OpenAI client with sluice's address: prints an answer as it comes.

    demo_openai.py http://localhost:4000 MODEL QUESTION
"""
import sys

import openai

base_url, model, question = sys.argv[1:4]
client = openai.OpenAI(api_key="anything", base_url=base_url)
stream = client.chat.completions.create(
    model=model, messages=[{"role": "user", "content": question}], max_tokens=200, stream=True
)
for chunk in stream:
    if chunk.choices and chunk.choices[0].delta.content:
        print(chunk.choices[0].delta.content, end="", flush=True)
print()
