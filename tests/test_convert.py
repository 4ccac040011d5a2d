"""Converting adapters: nothing is skipped, and llama.cpp says what PEFT says, on a tiny Gemma 3 made here."""

import json
import math
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

np = pytest.importorskip("numpy")
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")
gguf = pytest.importorskip("gguf")

import tiny_gguf  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from tiny_gguf import HEAD, HEADS, HIDDEN, INNER, LAYERS, SHARED, TOKENS  # noqa: E402

from clario.errors import InputError, ModelError  # noqa: E402
from clario.extraction import prompt  # noqa: E402
from clario.extraction.gguf_header import read_header  # noqa: E402
from clario.extraction.llama_model import BASE_SHA256, SHOTS  # noqa: E402
from clario.paths import sha256_of  # noqa: E402
from clario.training import convert, merge  # noqa: E402

# PEFT 0.21 asks transformers 5.23 by a name that goes away.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")

RANK, ALPHA = 4, 8
PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
TEXT = [2, *range(262, 280), 288, *range(270, 250, -1)]
"""Tokens: letters, a space, bytes."""


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _tiny() -> Any:
    torch.manual_seed(1)
    config = transformers.Gemma3TextConfig(
        vocab_size=len(TOKENS), hidden_size=HIDDEN, intermediate_size=INNER, num_hidden_layers=LAYERS,
        num_attention_heads=HEADS, num_key_value_heads=SHARED, head_dim=HEAD, query_pre_attn_scalar=HEAD,
        sliding_window=512, max_position_embeddings=1024, bos_token_id=2, eos_token_id=1, pad_token_id=0,
    )  # fmt: skip
    model = transformers.Gemma3ForCausalLM(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.normal_(0, 0.3 if "norm" in name else 0.15)
    return model


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the base: weights of 16 bits, in safetensors."""
    folder = tmp_path_factory.mktemp("base")
    _tiny().to(torch.bfloat16).save_pretrained(folder / "hf")
    return Path(folder) / "hf"


@pytest.fixture(scope="module")
def skeleton(base: Path) -> Path:
    """A GGUF file with the base's settings, tokenizer and tensors, all of them zero."""
    return tiny_gguf.write(base.parent / "skeleton.gguf", lambda shape: np.zeros(shape, np.float32))


@pytest.fixture(scope="module")
def adapter(base: Path) -> Path:
    """A random adapter of PEFT, strong enough to change what is said; one module has an alpha of its own."""
    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    config = peft.LoraConfig(
        r=RANK, lora_alpha=ALPHA, target_modules=PROJECTIONS, task_type="CAUSAL_LM",
        alpha_pattern={"layers.2.mlp.up_proj": 2 * ALPHA},
    )  # fmt: skip
    wrapped = peft.get_peft_model(model, config)
    torch.manual_seed(2)
    with torch.no_grad():
        for name, weight in wrapped.named_parameters():
            if "lora_" in name:
                weight.normal_(0, 0.15)
    wrapped.save_pretrained(base.parent / "adapter")
    return base.parent / "adapter"


def _said(base: Path, adapter: Path | None = None) -> Any:
    """Log-probabilities [places, tokens] of transformers, with PEFT's adapter."""
    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    if adapter:
        model = peft.PeftModel.from_pretrained(model, adapter)
    with torch.no_grad():
        return model.eval()(torch.tensor([TEXT])).logits[0].log_softmax(-1).numpy()


def _difference(said: Any, model: Path, adapter: Path | None = None) -> float:
    """The largest difference of a log-probability that llama.cpp gives from those said, over some places."""
    from clario.extraction.llama_process import Llama, Settings

    llama, worst = Llama(Settings(model, adapter, slots=1, context=256, threads=1)), 0.0
    try:
        for place in (1, 5, 12, len(TEXT)):
            # Only of a token that is shown are the others told; the bias is not in what is told.
            given = {"n_predict": 1, "n_probs": 50, "logit_bias": [[TEXT[1], 1000.0]], "temperature": 0}
            reply = llama.ask({"prompt": TEXT[:place], **given})
            told = reply["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
            assert len(told) == 50
            worst = max(worst, *(abs(one["logprob"] - said[place - 1][one["id"]]) for one in told))
    finally:
        llama.close()
    return float(worst)


def _changed(adapter: Path, folder: Path, config: Mapping[str, Any], **tensors: Any) -> Path:
    """A copy of an adapter with other settings and tensors; None takes a tensor away."""
    copy = Path(shutil.copytree(adapter, folder / "changed"))
    told = json.loads((copy / convert.CONFIG).read_text("utf-8")) | config
    (copy / convert.CONFIG).write_text(json.dumps(told), "utf-8")
    found = {**load_file(copy / convert.WEIGHTS), **tensors}
    save_file({name: t for name, t in found.items() if t is not None}, copy / convert.WEIGHTS)
    return copy


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("base_model.model.model.layers.3.self_attn.q_proj", "blk.3.attn_q.weight"),
        ("model.language_model.layers.11.mlp.down_proj", "blk.11.ffn_down.weight"),
        ("model.layers.0.pre_feedforward_layernorm", "blk.0.ffn_norm.weight"),
        ("model.norm", "output_norm.weight"),
        ("model.embed_tokens", "token_embd.weight"),
        ("model.vision_tower.layers.0.self_attn.q_proj", None),
        ("model.layers.0.norm", None),
        ("model.self_attn.q_proj", None),
        ("lm_head", None),
    ],
)
def test_names_of_gguf(module: str, name: str | None) -> None:
    assert convert.gguf_name(module) == name


def test_every_pair_is_written_and_marked(adapter: Path, skeleton: Path, tmp_path: Path) -> None:
    count = convert.write_gguf_adapter(adapter, tmp_path / "a.gguf", skeleton)
    header = read_header(tmp_path / "a.gguf")
    assert count == LAYERS * len(PROJECTIONS)
    assert len(header.tensors) == 2 * count == len(load_file(adapter / convert.WEIGHTS))
    assert header.tensors["blk.0.attn_q.weight.lora_a"] == (64, RANK)
    assert header.tensors["blk.0.attn_q.weight.lora_b"] == (RANK, 128)
    assert header.metadata["adapter.lora.alpha"] == ALPHA
    assert header.metadata[BASE_SHA256] == sha256_of(skeleton)
    assert header.metadata[SHOTS] is False


def test_rank_stabilised_scales(adapter: Path, tmp_path: Path) -> None:
    changed = _changed(adapter, tmp_path, {"use_rslora": True})
    pairs = convert.read_adapter(changed).pairs
    assert pairs["blk.0.attn_q.weight"].scale == pytest.approx(ALPHA / math.sqrt(RANK))
    assert pairs["blk.2.ffn_up.weight"].scale == pytest.approx(2 * ALPHA / math.sqrt(RANK))


def test_what_has_no_place_is_refused(adapter: Path, tmp_path: Path) -> None:
    odd = {"base_model.model.model.vision_tower.layers.0.q_proj.lora_A.weight": torch.zeros(2, 2)}
    with pytest.raises(ModelError, match="has no place"):
        convert.write_gguf_adapter(_changed(adapter, tmp_path, {}, **odd), tmp_path / "a.gguf")
    assert not (tmp_path / "a.gguf").exists()


def test_half_a_pair_is_refused(adapter: Path, tmp_path: Path) -> None:
    lone = {next(name for name in load_file(adapter / convert.WEIGHTS) if "lora_B" in name): None}
    with pytest.raises(ModelError, match="lacks a half"):
        convert.read_adapter(_changed(adapter, tmp_path, {}, **lone))


@pytest.mark.parametrize("config", [{"use_dora": True}, {"bias": "all"}, {"modules_to_save": ["lm_head"]}])
def test_more_than_lora_is_refused(adapter: Path, tmp_path: Path, config: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="more than LoRA pairs"):
        convert.read_adapter(_changed(adapter, tmp_path, config))


def test_a_cut_adapter_is_refused(adapter: Path, tmp_path: Path) -> None:
    cut = Path(shutil.copytree(adapter, tmp_path / "cut"))
    (cut / convert.WEIGHTS).write_bytes((cut / convert.WEIGHTS).read_bytes()[:-10])
    with pytest.raises(InputError, match="no whole adapter"):
        convert.read_adapter(cut)
    with pytest.raises(InputError, match="no whole adapter"):
        convert.read_adapter(tmp_path / "nothing")


def test_an_adapter_of_another_size_is_refused(adapter: Path, base: Path, skeleton: Path, tmp_path: Path) -> None:
    name = "base_model.model.model.layers.0.mlp.up_proj.lora_A.weight"
    other = _changed(adapter, tmp_path, {}, **{name: torch.zeros(RANK, 32)})
    with pytest.raises(ModelError, match="another base"):
        convert.write_gguf_adapter(other, tmp_path / "a.gguf", skeleton)
    assert not (tmp_path / "a.gguf").exists()


def _merged(adapter: Path, base: Path, folder: Path) -> Path:
    with pytest.MonkeyPatch.context() as patch:  # this base has no tokenizer
        patch.setattr(merge, "_save_tokenizer", lambda base, folder: None)
        assert merge.merge(adapter, str(base), folder / "merged") == LAYERS * len(PROJECTIONS)
    return folder / "merged"


def test_merging_is_what_peft_merges(adapter: Path, base: Path, tmp_path: Path) -> None:
    ours = load_file(_merged(adapter, base, tmp_path) / "model.safetensors")
    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    theirs = peft.PeftModel.from_pretrained(model, adapter).merge_and_unload().state_dict()
    before = load_file(base / "model.safetensors")
    moved = [name for name, weight in ours.items() if not torch.equal(weight, before[name])]
    assert len(moved) == LAYERS * len(PROJECTIONS)
    for name, weight in ours.items():
        assert weight.dtype == torch.bfloat16
        torch.testing.assert_close(weight.float(), theirs[name].float(), rtol=0.01, atol=1e-6)


def test_nothing_stands_where_merging_failed(adapter: Path, base: Path, tmp_path: Path) -> None:
    name = "base_model.model.model.layers.6.mlp.up_proj.lora_{}.weight"
    far = {name.format("A").replace(".6.", ".9."): torch.zeros(RANK, 64)}
    far |= {name.format("B").replace(".6.", ".9."): torch.zeros(96, RANK)}
    with pytest.raises(ModelError, match="1 modules that this one lacks"):
        merge.merge(_changed(adapter, tmp_path, {}, **far), str(base), tmp_path / "merged")
    assert [path.name for path in tmp_path.iterdir()] == ["changed"]


def test_llama_cpp_says_what_peft_says(adapter: Path, base: Path, skeleton: Path, tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp")
    merge.write_gguf(base, skeleton, tmp_path / "base.gguf", "f16")
    convert.write_gguf_adapter(adapter, tmp_path / "a.gguf", tmp_path / "base.gguf")
    plain, adapted = _said(base), _said(base, adapter)
    assert abs(plain - adapted).max() > 1  # the adapter does change what is said
    assert _difference(plain, tmp_path / "base.gguf") < 0.03
    assert _difference(adapted, tmp_path / "base.gguf", tmp_path / "a.gguf") < 0.03


@pytest.mark.parametrize(("kind", "most"), [("f16", 0.1), ("bf16", 0.1), ("q8_0", 0.5)])
def test_the_merged_file_says_it_too(
    adapter: Path, base: Path, skeleton: Path, tmp_path: Path, kind: str, most: float
) -> None:
    pytest.importorskip("xllamacpp")
    merge.write_gguf(_merged(adapter, base, tmp_path), skeleton, tmp_path / "merged.gguf", kind)
    assert read_header(tmp_path / "merged.gguf").metadata[SHOTS] is False
    assert _difference(_said(base, adapter), tmp_path / "merged.gguf") < most


def test_another_base_gives_no_merged_file(base: Path, skeleton: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(base, tmp_path / "other"))
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.norm.weight"]
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(ModelError, match="differ in 1 tensors"):
        merge.write_gguf(folder, skeleton, tmp_path / "m.gguf", "f16")
    with pytest.raises(InputError, match="f16, bf16, q8_0"):
        merge.write_gguf(base, skeleton, tmp_path / "m.gguf", "q4_k")
    assert not (tmp_path / "m.gguf").exists()


def test_the_folder_for_ollama(base: Path, skeleton: Path, tmp_path: Path) -> None:
    merge.write_ollama(base, skeleton, tmp_path / "ollama", "q8_0")
    told = (tmp_path / "ollama" / "Modelfile").read_text("utf-8")
    assert told.startswith("FROM ./model.gguf\n")
    assert prompt.SYSTEM in told
    assert f"PARAMETER stop {prompt.END}\n" in told
    assert "MESSAGE" not in told
    shown = merge.modelfile("m.gguf", shots=True)
    assert shown.count("MESSAGE user") == shown.count("MESSAGE assistant") == len(prompt.SHOTS)
    assert read_header(tmp_path / "ollama" / "model.gguf").tensors["token_embd.weight"] == (64, len(TOKENS))


def test_the_command(adapter: Path, skeleton: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from clario.cli.export_model import Format, export

    export(adapter, Format.GGUF_ADAPTER, tmp_path / "a.gguf", base=str(skeleton))
    assert capsys.readouterr().out == f"{tmp_path / 'a.gguf'}: {LAYERS * len(PROJECTIONS)} LoRA pairs\n"
