// The official openai package for Node against sluice: one check at a time, as test_http_node.py asks for it.
//
//   node openai_client.mjs BASE_URL CHECK
//
// A check throws, or prints "ok". The package is the one that testenv/node.py has installed beside this file's copy.

import assert from "node:assert/strict";
import OpenAI from "openai";

const [baseURL, check] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: "k", maxRetries: 0, timeout: 20_000 });
const messages = [{ role: "user", content: "hello" }];
const weather = {
  type: "function",
  function: {
    name: "weather",
    strict: true,
    parameters: {
      type: "object",
      properties: { city: { type: "string" } },
      required: ["city"],
      additionalProperties: false,
    },
  },
};

async function refusal(promise, kind) {
  try {
    await promise;
  } catch (error) {
    assert.ok(error instanceof kind, `${error}`);
    return error;
  }
  assert.fail("no error");
}

const checks = {
  async chat() {
    const answer = await client.chat.completions.create({ model: "m", messages });
    assert.equal(answer.choices[0].message.content, "Hello world");
    assert.equal(answer.choices[0].finish_reason, "stop");
    assert.equal(answer.usage.total_tokens, 9);
    assert.ok(answer._request_id);
  },

  async raw_response() {
    const { data, response, request_id } = await client.chat.completions
      .create({ model: "m", messages }, { headers: { "x-request-id": "mine" } })
      .withResponse();
    assert.equal(request_id, "mine");
    assert.equal(response.headers.get("x-litellm-call-id"), "mine");
    assert.equal(response.headers.get("x-litellm-model-group"), "m");
    assert.equal(data.model, "m");
  },

  async stream() {
    const stream = await client.chat.completions.create({
      model: "m",
      messages,
      stream: true,
      stream_options: { include_usage: true },
    });
    let text = "";
    let usage = null;
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta?.content ?? "";
      usage = chunk.usage ?? usage;
    }
    assert.equal(text, "Hello world");
    assert.equal(usage.completion_tokens, 2);
  },

  async stream_helper() {
    const runner = client.chat.completions.stream({ model: "m", messages });
    const pieces = [];
    runner.on("content", (piece) => pieces.push(piece));
    const last = await runner.finalChatCompletion(); // throws without finish_reason or role
    assert.equal(pieces.join(""), "Hello world");
    assert.equal(last.choices[0].message.role, "assistant");
    assert.equal(last.choices[0].finish_reason, "stop");
  },

  async tool_call() {
    const answer = await client.chat.completions.create({ model: "m", messages, tools: [weather] });
    assert.equal(answer.choices[0].finish_reason, "tool_calls");
    const [call] = answer.choices[0].message.tool_calls;
    assert.equal(call.function.name, "weather");
    assert.deepEqual(JSON.parse(call.function.arguments), { city: "Köln" });
  },

  async tool_stream() {
    const runner = client.chat.completions.stream({ model: "m", messages, tools: [weather] });
    const last = await runner.finalChatCompletion();
    const [call] = last.choices[0].message.tool_calls;
    assert.ok(call.id);
    assert.equal(call.function.name, "weather");
    assert.deepEqual(call.function.parsed_arguments, { city: "Köln" });
  },

  async structured_output() {
    const schema = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
    const answer = await client.chat.completions.parse({
      model: "m",
      messages,
      response_format: { type: "json_schema", json_schema: { name: "place", strict: true, schema } },
    });
    assert.deepEqual(answer.choices[0].message.parsed, { city: "Köln" });
  },

  async completions() {
    const answer = await client.completions.create({ model: "m", prompt: "say" });
    assert.equal(answer.choices[0].text, "Hello world");
    let text = "";
    for await (const chunk of await client.completions.create({
      model: "m",
      prompt: "say",
      stream: true,
    })) {
      text += chunk.choices[0]?.text ?? "";
    }
    assert.equal(text, "Hello world");
  },

  async embeddings() {
    const wanted = [1, 97, 0.5, -0.25];
    // asks for base64, and decodes whatever comes
    const packed = await client.embeddings.create({ model: "m", input: ["a", "bbb"] });
    assert.deepEqual(Array.from(packed.data[0].embedding), wanted);
    assert.equal(packed.data[1].index, 1);
    const floats = await client.embeddings.create({
      model: "m",
      input: "a",
      encoding_format: "float",
    });
    assert.deepEqual(floats.data[0].embedding, wanted);
    const base64 = await client.embeddings.create({
      model: "m",
      input: "a",
      encoding_format: "base64",
    });
    assert.equal(typeof base64.data[0].embedding, "string");
  },

  async models() {
    const ids = [];
    for await (const model of client.models.list()) {
      ids.push(model.id);
    }
    assert.deepEqual(ids, ["m", "org/name:tag"]);
    assert.equal((await client.models.retrieve("org/name:tag")).id, "org/name:tag");
    const error = await refusal(client.models.retrieve("nobody"), OpenAI.NotFoundError);
    assert.equal(error.code, "model_not_found");
  },

  async errors() {
    const missing = client.chat.completions.create({ model: "nobody", messages });
    const notFound = await refusal(missing, OpenAI.NotFoundError);
    assert.equal(notFound.code, "model_not_found");
    assert.ok(notFound.requestID);
    const wrong = client.chat.completions.create({ model: "m", messages: [] });
    const bad = await refusal(wrong, OpenAI.BadRequestError);
    assert.equal(bad.param, "messages");
    const unserved = client.responses.create({ model: "m", input: "x" });
    const no = await refusal(unserved, OpenAI.InternalServerError);
    assert.equal(no.status, 501);
  },

  async error_in_mid_stream() {
    const stream = await client.chat.completions.create({ model: "m", messages, stream: true });
    let text = "";
    await refusal(
      (async () => {
        for await (const chunk of stream) {
          text += chunk.choices[0]?.delta?.content ?? "";
        }
      })(),
      OpenAI.APIError,
    );
    assert.equal(text, "half");
  },

  async heartbeats() {
    let text = "";
    for await (const chunk of await client.chat.completions.create({
      model: "m",
      messages,
      stream: true,
    })) {
      text += chunk.choices[0]?.delta?.content ?? "";
    }
    assert.equal(text, "late");
  },

  async abort() {
    const stream = await client.chat.completions.create({ model: "m", messages, stream: true });
    for await (const chunk of stream) {
      if (chunk.choices[0]?.delta?.content) {
        break; // closes the connection
      }
    }
  },
};

await checks[check]();
console.log("ok");
