"""Make a small language model with random weights, as a file that llama.cpp (and Ollama) loads.

Nothing is downloaded, and the same size gives the same bytes: the format (GGUF, version 3) is a
list of named values and arrays. It says one word a token and does not end before `num_predict`.
That is done without a bias, which this architecture does not have: coordinate 0 of what the layers
hand on is positive whatever was read, as every token's embedding has it and no layer writes to it.
In the output matrix that coordinate is strongly negative for each token that must never be said
(the end of the text, bytes, parts of words), and zero for the words.
"""

import random
import struct
from pathlib import Path
from typing import BinaryIO

# Layers, width, width of the feed-forward part, heads, heads of keys and values. On one thread
# `small` says 120-300 words a second (52 MB) and `paced` 24-28, like a real model (261 MB).
SIZES = {"small": (8, 512, 1536, 8, 4), "paced": (10, 1024, 2816, 16, 16)}

TEXT = """
a the of and to in is on it as at by for from with that this one two three four five river stone
light water morning evening garden window letter paper winter summer silver golden mountain valley
forest bridge harbour island engine signal market village city road tower bell clock mirror candle
basket ladder hammer needle thread wheel anchor feather shadow thunder rain snow wind cloud star
moon sun sky earth sea field hill lake leaf tree root seed flower grass bird fish horse fox wolf
bear cat dog mouse owl crow goose bee ant walks runs sings waits opens closes turns falls rises
sleeps wakes writes reads counts carries builds breaks finds loses keeps gives takes makes sees
hears knows thinks asks answers follows leads moves stops begins ends grows shines burns floats
slowly quickly quietly loudly softly always never often seldom again still almost perhaps together
alone above below under over between behind before after along across around near far here there
where when while old new small large tall short warm cold bright dark soft hard deep high long
wide narrow round red green blue white black brown grey yellow
"""

TEMPLATE = (
    "{% for m in messages %}"
    "{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
NORMAL, UNKNOWN, CONTROL, UNUSED, BYTE = 1, 2, 3, 5, 6
F32, F16 = 0, 1
ALIGNMENT = 32


def write(out: Path, size: str) -> None:
    """Write the model."""
    layers, width, inner, heads, kv_heads = SIZES[size]
    head = width // heads
    kinds, tokens, said = _vocabulary()
    values = {
        "general.architecture": "llama",
        "general.name": f"random-{size}",
        "general.file_type": F16,
        "llama.context_length": 32768,
        "llama.embedding_length": width,
        "llama.block_count": layers,
        "llama.feed_forward_length": inner,
        "llama.attention.head_count": heads,
        "llama.attention.head_count_kv": kv_heads,
        "llama.attention.key_length": head,
        "llama.attention.value_length": head,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.dimension_count": head,
        "llama.rope.freq_base": 10000.0,
        "llama.vocab_size": len(tokens),
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": [-float(rank) for rank in range(len(tokens))],
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.ggml.add_eos_token": False,
        "tokenizer.chat_template": TEMPLATE,
    }
    draw = random.Random(1)

    def matrix(rows: int, columns: int, column=None, *, deaf: bool = False):
        """Random numbers: one column may be given, and `deaf` sets the first row to zero."""

        def content() -> bytes:
            data = _randoms(draw, rows * columns, scale=1 if column == CONSTANT else columns)
            if column:
                for byte in (0, 1):
                    data[byte :: 2 * columns] = bytes(
                        struct.pack("<e", column[row % len(column)])[byte] for row in range(rows)
                    )
            if deaf:
                data[: 2 * columns] = bytes(2 * columns)
            return bytes(data)

        return F16, (columns, rows), content

    ones = (F32, (width,), lambda: struct.pack("<f", 1) * width)
    tensors = {"token_embd.weight": matrix(len(tokens), width, CONSTANT)}
    for at in range(layers):
        tensors |= {
            f"blk.{at}.attn_norm.weight": ones,
            f"blk.{at}.attn_q.weight": matrix(width, width),
            f"blk.{at}.attn_k.weight": matrix(kv_heads * head, width),
            f"blk.{at}.attn_v.weight": matrix(kv_heads * head, width),
            f"blk.{at}.attn_output.weight": matrix(width, width, deaf=True),
            f"blk.{at}.ffn_norm.weight": ones,
            f"blk.{at}.ffn_gate.weight": matrix(inner, width),
            f"blk.{at}.ffn_up.weight": matrix(inner, width),
            f"blk.{at}.ffn_down.weight": matrix(width, inner, deaf=True),
        }
    tensors["output_norm.weight"] = ones
    tensors["output.weight"] = matrix(len(tokens), width, [0.0 if say else -100.0 for say in said])
    with out.open("wb") as file:
        _write(file, values, tensors)


CONSTANT = [4.0]


def _vocabulary() -> tuple[list[int], list[str], list[bool]]:
    """The tokens' kinds, texts, and whether they may be said."""
    tokens = [("<unk>", UNKNOWN), ("<s>", CONTROL), ("</s>", CONTROL)]
    tokens += [(f"<0x{byte:02X}>", BYTE) for byte in range(256)]
    tokens += [("<|im_start|>", CONTROL), ("<|im_end|>", CONTROL)]
    words = {"\u2581" + word for word in TEXT.split()}
    # The tokenizer joins pairs, the best first: a word is found in a prompt only if each beginning
    # of it is a token too.
    parts = {word[:end] for word in words for end in range(1, len(word) + 1)}
    parts |= {chr(code) for code in range(33, 127)}
    tokens += [(part, NORMAL) for part in sorted(parts, key=lambda part: (-len(part), part))]
    while len(tokens) % ALIGNMENT:
        tokens.append((f"<|pad{len(tokens)}|>", UNUSED))
    texts = [text for text, _ in tokens]
    return [kind for _, kind in tokens], texts, [text in words for text in texts]


def _randoms(draw: random.Random, count: int, scale: int) -> bytearray:
    """Half-precision numbers of either sign, as large as 1 / sqrt(scale) or up to half of that."""
    exponent = 15 - (scale.bit_length() + 1) // 2
    high = bytes((byte & 0x80) | exponent << 2 | (byte & 3) for byte in range(256))
    data = bytearray(draw.randbytes(2 * count))
    data[1::2] = data[1::2].translate(high)
    return data


def _text(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _value(value: object) -> tuple[int, bytes]:
    """The number of a value's type and the value itself."""
    match value:
        case bool():
            return 7, struct.pack("<?", value)
        case int():
            return (4 if value >= 0 else 5), struct.pack("<I", value)
        case float():
            return 6, struct.pack("<f", value)
        case str():
            return 8, _text(value)
        case list():
            kind, _ = _value(value[0])
            kind = 5 if kind == 4 else kind  # the kinds of tokens are signed
            items = b"".join(_value(each)[1] for each in value)
            return 9, struct.pack("<IQ", kind, len(value)) + items
    raise TypeError(value)


def _write(file: BinaryIO, values: dict, tensors: dict) -> None:
    file.write(b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(values)))
    for name, value in values.items():
        kind, raw = _value(value)
        file.write(_text(name) + struct.pack("<I", kind) + raw)
    at = 0
    for name, (kind, shape, _) in tensors.items():
        dimensions = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
        file.write(_text(name) + dimensions + struct.pack("<IQ", kind, at))
        length = (4 if kind == F32 else 2) * shape[0] * (shape[1] if shape[1:] else 1)
        at += length + -length % ALIGNMENT
    file.write(bytes(-file.tell() % ALIGNMENT))
    for _, _, content in tensors.values():
        raw = content()
        file.write(raw + bytes(-len(raw) % ALIGNMENT))
