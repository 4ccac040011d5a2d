"""A tiny Gemma 3 as a GGUF file, which llama.cpp loads at once; its tokens are bytes and letters."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

SPECIAL = ("<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>")
LETTERS = "abcdefghijklmnopqrstuvwxyz▁"
TOKENS = [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256)), *LETTERS]
FIRST_LETTER = len(SPECIAL) + 256
HIDDEN, INNER, LAYERS, HEADS, SHARED, HEAD = 64, 96, 7, 4, 2, 32
"""Seven layers: one of them has full attention."""
Shape = tuple[int, ...]


def shapes() -> dict[str, Shape]:
    """The tensors of the tiny model by GGUF's names, outermost dimension first."""
    found: dict[str, Shape] = {"token_embd.weight": (len(TOKENS), HIDDEN), "output_norm.weight": (HIDDEN,)}
    layer = {
        "attn_norm": (HIDDEN,), "post_attention_norm": (HIDDEN,), "ffn_norm": (HIDDEN,),
        "post_ffw_norm": (HIDDEN,), "attn_q_norm": (HEAD,), "attn_k_norm": (HEAD,),
        "attn_q": (HEADS * HEAD, HIDDEN), "attn_k": (SHARED * HEAD, HIDDEN),
        "attn_v": (SHARED * HEAD, HIDDEN), "attn_output": (HIDDEN, HEADS * HEAD),
        "ffn_gate": (INNER, HIDDEN), "ffn_up": (INNER, HIDDEN), "ffn_down": (HIDDEN, INNER),
    }  # fmt: skip
    return found | {f"blk.{n}.{name}.weight": shape for n in range(LAYERS) for name, shape in layer.items()}


def write(path: Path, values: Callable[[Shape], Any], context: int = 8192, **more: str | bool) -> Path:
    """Write the file; `values` gives the weights (float32) of a shape, `more` further metadata."""
    import gguf

    writer = gguf.GGUFWriter(path, "gemma3")
    sizes = {
        "context_length": context, "embedding_length": HIDDEN, "block_count": LAYERS, "feed_forward_length": INNER,
        "attention.head_count": HEADS, "attention.head_count_kv": SHARED, "attention.key_length": HEAD,
        "attention.value_length": HEAD, "attention.sliding_window": 512,
    }  # fmt: skip
    for key, value in sizes.items():
        writer.add_uint32(f"gemma3.{key}", value)
    writer.add_float32("gemma3.attention.layer_norm_rms_epsilon", 1e-6)
    writer.add_float32("gemma3.rope.freq_base", 1e6)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(TOKENS)
    writer.add_token_scores([-float(n) for n in range(len(TOKENS))])
    writer.add_token_types([3] * len(SPECIAL) + [6] * 256 + [1] * len(LETTERS))
    for key, number in (("bos", 2), ("eos", 1), ("unknown", 3), ("padding", 0)):
        writer.add_uint32(f"tokenizer.ggml.{key}_token_id", number)
    for key, value in more.items():
        (writer.add_bool if isinstance(value, bool) else writer.add_string)(key, value)
    for name, shape in shapes().items():
        writer.add_tensor(name, values(shape))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
