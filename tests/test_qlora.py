"""Training of adapters, on a tiny Gemma 3 with random weights and a tokenizer made here."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

np = pytest.importorskip("numpy")
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")
tokenizers = pytest.importorskip("tokenizers")

from safetensors.torch import load_file  # noqa: E402

from clario.corpus.dataset import GoldDiary  # noqa: E402
from clario.errors import InputError, ModelError  # noqa: E402
from clario.extraction import prompt  # noqa: E402
from clario.ontology.index import Index  # noqa: E402
from clario.training import answers, base_model, batches, checkpoints, examples, prepared, qlora, recipes  # noqa: E402

# PEFT 0.21 asks transformers 5.23 by a name that goes away.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"),
    pytest.mark.usefixtures("one_torch_thread"),
]

DIARIES = (
    ("Mouth like sandpaper again, and my knees ache.", ("Mouth like sandpaper", "HP:0000217", "Xerostomia")),
    ('No "dry mouth" today.', ("dry mouth", "HP:0000217", "Xerostomia")),
    ("Nothing to tell today, nothing at all, which is a good thing, and rare enough to be written down.", None),
)
LINES = 12  # diaries of the tiny corpus
KINDS = ("diaries", "phrases", "sentences")  # diaries of one sentence have no excerpts


def _diary(number: int) -> dict[str, Any]:
    text, told = DIARIES[number % len(DIARIES)]
    found = []
    if told:
        quote, hpo_id, label = told
        start = text.index(quote)
        found = [
            {
                "type": "symptom", "name_colloquial": quote, "start": start, "end": start + len(quote),
                "hpo_id": hpo_id, "hpo_label": label, "alt_ids": [], "assertion": "present",
            }
        ]  # fmt: skip
    return {"id": f"d{number}", "text": text, "entities": found, "disease": None, "writer": "w"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus and a lexicon in one folder."""
    folder = tmp_path_factory.mktemp("corpus")
    rows = [json.dumps(_diary(number)) + "\n" for number in range(LINES)]
    (folder / "train.jsonl").write_text("".join(rows), "utf-8")
    (folder / "validation.jsonl").write_text("".join(rows[:3]), "utf-8")
    lay = {"hpo_id": "HP:0000217", "hpo_label": "Xerostomia", "phrases": ["tongue of felt", 'a "desert" mouth']}
    (folder / "lay_phrases.jsonl").write_text(json.dumps(lay) + "\n", "utf-8")
    said = {
        "hpo_id": "HP:0000217",
        "hpo_label": "Xerostomia",
        "text": "Woke up, tongue of felt.",
        "start": 9,
        "end": 23,
    }
    (folder / "sentences.jsonl").write_text(json.dumps(said) + "\n", "utf-8")
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Gemma 3 of two layers, and a tokenizer of single characters with Gemma's special tokens."""
    folder = tmp_path_factory.mktemp("base")
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"]
    letters = [chr(code) for code in range(32, 127)] + ["\n", "‹", "▁"]
    words = {token: number for number, token in enumerate([*special, *letters])}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(words, [], unk_token="<unk>"))
    tokenizer.add_special_tokens(special)
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(1)
    config = transformers.Gemma3TextConfig(
        vocab_size=len(words), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=8, sliding_window=64, max_position_embeddings=4096,
        initializer_range=0.3,
    )  # fmt: skip
    transformers.Gemma3ForCausalLM(config).save_pretrained(folder)
    return folder


def _recipe(**changes: Any) -> recipes.Recipe:
    record = recipes.load("gemma3-270m").record()
    record["lora"] |= {"r": 2, "alpha": 4}
    record["sources"] = [{**source, "batch": 2} for source in record["sources"] if source["kind"] in KINDS]
    told = {
        "name": "tiny",
        "base": "tiny",
        "length": 4000,
        "epochs": 1,
        "save_every": 2,
        "tokens": 6000,
        "chunk": 50,
    }
    return recipes.from_record({**record, **told, **changes})


@pytest.fixture(scope="module")
def made(data: Path, base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared folder with the base in pieces."""
    folder = tmp_path_factory.mktemp("prepared")
    prepared.prepare(_recipe(), data, data, str(base), folder, carry=True, log=lambda line: None)
    return folder


def _quiet(line: str) -> None:
    pass


@pytest.fixture(scope="module")
def whole(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an uninterrupted run of six steps."""
    folder = tmp_path_factory.mktemp("whole")
    qlora.train(made, folder, log=_quiet)
    return folder


def _weights(output: Path) -> dict[str, Any]:
    found: dict[str, Any] = load_file(output / "adapter" / "adapter_model.safetensors")
    return found


def _same(one: Path, other: Path) -> bool:
    left, right = _weights(one), _weights(other)
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def test_recipes_state_the_values_of_the_reference() -> None:
    recipe = recipes.load("clario-v2")
    assert (recipe.lora.r, recipe.lora.alpha, recipe.lora.dropout) == (16, 32, 0.05)
    assert (recipe.optimizer.name, recipe.optimizer.rate) == ("adamw_8bit", 5e-5)
    assert (recipe.epochs, recipe.length, recipe.quantization) == (1, 1536, "nf4")
    assert recipe.lora.modules == ("q", "k", "v", "o", "gate", "up", "down")
    assert recipes.from_record(json.loads(json.dumps(recipe.record()))) == recipe


def _changed(key: str, value: object, part: str | None = None) -> dict[str, Any]:
    record = recipes.load("gemma3-270m").record()
    (record[part] if part else record)[key] = value
    return record


@pytest.mark.parametrize(
    ("record", "told"),
    [
        (_changed("name", "paged_adamw_8bit", "optimizer"), "paged optimiser hung"),
        (_changed("name", "sgd", "optimizer"), "optimizer 'sgd' is unknown"),
        (_changed("rate", "fast", "optimizer"), "rate is not of the kind float"),
        (_changed("epochs", 0), "must be 1 or more"),
        (_changed("colour", 1), "colour is unknown"),
        (_changed("sources", []), "first source must be the diaries"),
        (_changed("lora", 3), "a table is missing"),
        (_changed("modules", ["lm_head"], "lora"), "modules 'lm_head' is unknown"),
    ],
)
def test_a_recipe_that_cannot_work_is_refused(record: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        recipes.from_record(record)


def test_an_unknown_recipe_names_those_that_there_are() -> None:
    with pytest.raises(InputError, match="clario-v2, gemma3-270m"):
        recipes.load("nothing")


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("model.layers.0.self_attn.q_proj", True),
        ("model.language_model.layers.41.mlp.down_proj", True),
        ("model.vision_tower.encoder.layers.3.self_attn.q_proj", False),
        ("model.audio_tower.layers.3.self_attn.q_proj", False),
        ("model.language_model.layers.4.per_layer_projection", False),
        ("lm_head", False),
        ("model.embed_tokens", False),
    ],
)
def test_only_projections_of_the_language_model_are_changed(name: str, changed: bool) -> None:
    import re

    assert bool(re.fullmatch(recipes.load("clario-v2").lora.targets(), name)) is changed


def _told(made: Path, base: Path, kind: str) -> list[tuple[str, str]]:
    """What stands before the first answer token of each example, and from it on."""
    tokenizer = base_model.tokenizer_of(str(base))
    found = prepared.read(made).examples[kind]
    assert all(ids[0] == tokenizer.token_to_id("<bos>") for ids in found.ids)

    def text(ids: Any) -> str:
        return "".join(tokenizer.id_to_token(int(one)) for one in ids)

    return [(text(ids[1:first]), text(ids[first:])) for ids, first in zip(found.ids, found.answers, strict=True)]


def test_the_loss_of_a_diary_is_on_its_answer_and_the_end_of_the_turn(made: Path, base: Path) -> None:
    before, answer = _told(made, base, "diaries")[1]
    assert before == prompt.render(prompt.messages(DIARIES[1][0], shots=False), False)
    assert answer.endswith("}]}<end_of_turn>")
    assert json.loads(answer.removesuffix(prompt.END))["entities"] == [
        {"name_colloquial": "dry mouth", "name_canonical": "Xerostomia", "type": "symptom", "assertion": "present"}
    ]


@pytest.mark.parametrize(
    ("kind", "text"), [("phrases", 'a "desert" mouth'), ("sentences", "Woke up, tongue of felt.")]
)
def test_the_loss_of_naming_is_on_the_label(made: Path, base: Path, kind: str, text: str) -> None:
    before, answer = _told(made, base, kind)[-1]
    quote = text.removeprefix("Woke up, ").removesuffix(".")
    assert answer == 'Xerostomia"}<end_of_turn>'
    assert text in before
    assert before.endswith(f'{{"name_colloquial":{json.dumps(quote)},"name_canonical":"')


def test_synonyms_lead_to_the_label(old: Index) -> None:
    found = list(examples.naming("synonyms", Path(), old, _recipe()))
    assert any('"Dry mouth"' in e.before and e.answer.startswith('Xerostomia"') for e in found)


def test_what_is_too_long_is_left_out_and_counted(data: Path, base: Path) -> None:
    found = list(examples.diaries(data / "train.jsonl", _recipe()))
    longest = max(len(e.before + e.answer) for e in found)
    tokens, left_out = examples.tokenize(found, base_model.tokenizer_of(str(base)), longest - 100)
    assert 0 < left_out < len(found)
    assert len(tokens) + left_out == len(found)


def test_losses_and_gradients_are_those_of_the_whole_logits(base: Path) -> None:
    model = base_model.load(str(base), torch.float32).eval()
    draw = np.random.default_rng(3)
    ids = [draw.integers(6, 90, size) for size in (30, 17)]
    first, weights = [20, 5], [0.5, 2.0]
    batch = answers.collate(ids, first, weights)
    own, each = answers.loss_of(model, batch, chunk=7)
    own.backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    expected = torch.zeros(())
    for row, start, weight in zip(ids, first, weights, strict=True):
        logits = model(torch.from_numpy(row[None])).logits[0]
        told = torch.nn.functional.cross_entropy(
            logits[start - 1 : -1], torch.from_numpy(row[start:]), reduction="sum"
        )
        expected = expected + weight * told
    expected.backward()
    assert len(each) == 10 + 12
    assert torch.allclose(own, expected, rtol=1e-5)
    other = {name: p.grad for name, p in model.named_parameters() if "layers" in name}
    assert all(torch.allclose(gradients[name], other[name], atol=1e-5) for name in other)


def test_logits_are_capped_where_the_model_caps_them(base: Path) -> None:
    model = base_model.load(str(base), torch.float32).eval()
    model.config.final_logit_softcapping = 0.5
    with torch.no_grad():
        model.lm_head.weight *= 50
    ids = np.arange(6, 40)
    capped = answers.loss_of(model, answers.collate([ids], [10], [1.0]), 100)[0].item()
    told = model.model(torch.from_numpy(ids[None])).last_hidden_state[0, 9:-1]
    logits = 0.5 * torch.tanh(model.lm_head(told) / 0.5)
    expected = torch.nn.functional.cross_entropy(logits, torch.from_numpy(ids[10:]), reduction="sum").item()
    plain = torch.nn.functional.cross_entropy(
        model.lm_head(told), torch.from_numpy(ids[10:]), reduction="sum"
    ).item()
    assert capped == pytest.approx(expected, rel=1e-4)
    assert capped != pytest.approx(plain, rel=1e-2)


def test_every_epoch_takes_each_example_once_in_another_order() -> None:
    stream = batches.Stream(np.arange(50) % 7, 8, 1, 0)
    taken = np.concatenate([stream.at(step) for step in range(25)])
    epochs = taken.reshape(4, 50)
    assert all(sorted(epoch) == list(range(50)) for epoch in epochs)
    assert not np.array_equal(epochs[0], epochs[1])
    assert np.array_equal(batches.Stream(np.arange(50) % 7, 8, 1, 0).at(17), taken[17 * 8 : 18 * 8])


def test_passes_hold_all_and_no_more_than_they_may() -> None:
    lengths = [5, 90, 40, 41, 39, 7, 200]
    found = list(batches.passes(lengths, 100))
    assert sorted(n for own in found for n in own) == list(range(7))
    assert all(len(own) == 1 or len(own) * max(lengths[n] for n in own) <= 100 for own in found)


def test_training_writes_an_adapter_its_record_and_card(whole: Path, base: Path) -> None:
    folder = whole / "adapter"
    record = json.loads((folder / "training.json").read_text("utf-8"))
    assert record["steps"] == record["planned_steps"] == 6
    assert record["base"]["sha256"] == base_model.sha256_of(base / "model.safetensors")
    assert record["data"]["sources"].keys() == {
        "train.jsonl", "validation.jsonl", "lay_phrases.jsonl", "sentences.jsonl",
    }  # fmt: skip
    card = (folder / "README.md").read_text("utf-8")
    assert record["adapter_sha256"] in card
    assert "tiny" in card
    assert all(weight.dtype == torch.bfloat16 for weight in _weights(whole).values())
    assert json.loads((folder / "clario.json").read_text("utf-8"))["shots"] is False
    assert any(weight.abs().sum() > 0 for name, weight in _weights(whole).items() if "lora_B" in name)
    model = peft.PeftModel.from_pretrained(base_model.load(str(base), torch.float32), folder)
    assert len(list(model.named_modules())) > 14
    assert not any("lm_head" in name or "embed" in name for name in _weights(whole))


def test_training_lowers_the_loss(made: Path, data: Path, base: Path, tmp_path: Path) -> None:
    optimizer = {**_recipe().record()["optimizer"], "rate": 0.02}
    recipe = _recipe(epochs=3, optimizer=optimizer, save_every=1)
    prepared.prepare(recipe, data, data, str(base), tmp_path / "prepared", log=_quiet)
    record = qlora.train(tmp_path / "prepared", tmp_path, log=_quiet)
    assert record["validation"][-1]["loss"] < record["validation"][0]["loss"] - 0.3


KILLED = """
import os, signal, sys, torch
from pathlib import Path
from clario.training import qlora
torch.set_num_threads(1)
def log(line):
    if line.startswith("step 4, validation"):  # after the checkpoint of step 2, before that of step 4
        os.kill(os.getpid(), signal.SIGKILL)
qlora.train(Path(sys.argv[1]), Path(sys.argv[2]), log=log)
"""


def test_a_killed_run_goes_on_to_the_same_adapter(made: Path, whole: Path, tmp_path: Path) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(made), str(tmp_path)], capture_output=True, check=False
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()[-500:]
    assert not (tmp_path / "adapter").exists()
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-0000002"]
    told: list[str] = []
    record = qlora.train(made, tmp_path, resume=True, log=told.append)
    assert "resumed after step 2" in told
    assert record["steps"] == 6
    assert _same(tmp_path, whole)


def _interrupted(made: Path, output: Path, line: str) -> None:
    class StopError(Exception):
        pass

    def log(told: str) -> None:
        if told.startswith(line):
            raise StopError

    with pytest.raises(StopError):
        qlora.train(made, output, log=log)


def _cut(path: Path) -> None:
    os.truncate(path / checkpoints.TENSORS, 100)


def _without_state(path: Path) -> None:
    (path / checkpoints.STATE).unlink()


@pytest.mark.parametrize("harm", [_cut, _without_state])
def test_a_checkpoint_that_is_not_whole_is_passed_over(
    made: Path, whole: Path, tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    _interrupted(made, tmp_path, "step 6/6")
    harm(tmp_path / "checkpoints" / "step-0000004")
    told: list[str] = []
    qlora.train(made, tmp_path, resume=True, log=told.append)
    assert "step-0000004 is not whole: passed over" in told
    assert "resumed after step 2" in told
    assert _same(tmp_path, whole)


def test_another_seed_trains_another_adapter_and_takes_no_checkpoint_of_this_one(
    made: Path, whole: Path, tmp_path: Path
) -> None:
    _interrupted(made, tmp_path, "step 4, validation")
    with pytest.raises(InputError, match="another folder"):
        qlora.train(made, tmp_path, resume=True, seed=1, log=_quiet)
    qlora.train(made, tmp_path, seed=1, log=_quiet)
    assert not _same(tmp_path, whole)


def test_the_clock_ends_the_schedule_early(made: Path, tmp_path: Path) -> None:
    record = qlora.train(made, tmp_path, minutes=1e-6, log=_quiet)
    assert (record["steps"], record["planned_steps"]) == (1, 6)
    assert (tmp_path / "adapter" / "adapter_model.safetensors").is_file()


def test_another_recipe_may_take_the_same_examples_only(made: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="needs other examples"):
        qlora.train(made, tmp_path, recipe="clario-v2", log=_quiet)
    own = (recipes.FOLDER / "gemma3-270m.toml").read_text("utf-8")
    for old, new in (('"google/gemma-3-270m"', '"tiny"'), ("length = 1024", "length = 4000"), ("6e-4", "1e-3")):
        assert old in own
        own = own.replace(old, new)
    head, *parts = own.split("[[sources]]")
    parts = [part for part in parts if "excerpts" not in part and "synonyms" not in part]  # were not prepared
    own = "[[sources]]".join([head, *parts])
    (tmp_path / "other.toml").write_text(own, "utf-8")
    record = qlora.train(made, tmp_path, smoke=True, recipe=str(tmp_path / "other.toml"), log=_quiet)
    assert record["recipe"]["optimizer"]["rate"] == 1e-3


def test_a_smoke_run_takes_two_steps_and_says_so(made: Path, tmp_path: Path) -> None:
    record = qlora.train(made, tmp_path, smoke=True, log=_quiet)
    assert record["steps"] == 2
    assert "smoke run" in (tmp_path / "adapter" / "README.md").read_text("utf-8")


def test_a_kind_without_examples_is_told_of(data: Path, base: Path, tmp_path: Path) -> None:
    sources = [{"kind": kind, "batch": 2, "weight": 1.0} for kind in ("diaries", "excerpts")]
    recipe = recipes.from_record({**_recipe().record(), "sources": sources})
    with pytest.raises(InputError, match="no excerpts"):
        prepared.prepare(recipe, data, data, str(base), tmp_path, log=_quiet)


def test_excerpts_keep_their_entities_whole() -> None:
    text = "Slept badly. Head aches, says Dr. Smith of mine. It hurts! Went out. All better now."
    quote = "says Dr. Smith"
    start = text.index(quote)
    entity = {
        "type": "symptom", "name_colloquial": quote, "start": start, "end": start + len(quote), "hpo_id": None,
        "hpo_label": None, "alt_ids": [], "assertion": "present",
    }  # fmt: skip
    found = set[tuple[int, int]]()
    for number in range(50):
        diary = {"id": str(number), "text": text, "entities": [entity], "disease": None, "writer": "w"}
        found |= set(examples._stretches(GoldDiary.model_validate_json(json.dumps(diary))))
    assert len(found) > 5
    assert (0, len(text)) not in found
    assert all(text[first:last].strip() for first, last in found)
    inside = {place for pair in found for place in pair if start < place < start + len(quote)}
    assert not inside
    starts = {0, *(match.end() for match in re.finditer(r"[.!] ", text)), len(text)}
    assert {place for pair in found for place in pair} <= starts


def test_checkpointing_finds_the_same_loss(data: Path, base: Path, tmp_path: Path) -> None:
    recipe = _recipe(checkpointing=True)
    prepared.prepare(recipe, data, data, str(base), tmp_path / "prepared", log=_quiet)
    assert qlora.train(tmp_path / "prepared", tmp_path, smoke=True, log=_quiet)["steps"] == 2


def test_a_piece_that_was_cut_is_named(made: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(made / "base", tmp_path / "base")
    os.truncate(tmp_path / "base" / "weights.000", 10)
    with pytest.raises(ModelError, match=r"weights\.000 is missing or was cut"):
        base_model.find(tmp_path / "base", tmp_path / "joined")
    assert not (tmp_path / "joined" / "model.safetensors").exists()


def test_pieces_are_joined_to_what_they_were(made: Path, base: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(base_model, "PIECE", 3000)
    base_model.describe(str(base), tmp_path / "cut", carry=True)
    assert len(list((tmp_path / "cut").glob("weights.*"))) > 3
    found = Path(base_model.find(tmp_path / "cut", tmp_path / "joined"))
    assert (found / "model.safetensors").read_bytes() == (base / "model.safetensors").read_bytes()


def test_a_tokenizer_that_is_not_gemmas_is_refused(data: Path, base: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not Gemma 3's"):
        prepared.prepare(_recipe(base=base_model.GEMMA3_270M), data, data, str(base), tmp_path, log=_quiet)
    assert not (tmp_path / prepared.RECORD).exists()


def test_weights_that_are_not_gemmas_are_refused(base: Path) -> None:
    model = base_model.load(str(base), torch.float32)
    model.resize_token_embeddings(base_model.SENTENCE_IDS[-1] + 1, mean_resizing=False)
    with pytest.raises(ModelError, match="not the weights of google/gemma-3-270m"):
        base_model.check_loss(model)


def test_a_base_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be loaded"):
        base_model.load(str(tmp_path), torch.float32)
    with pytest.raises(ModelError, match="is not there"):
        base_model.load(str(tmp_path / "no.gguf"), torch.float32)


def test_four_bits_need_a_gpu(base: Path) -> None:
    with pytest.raises(ModelError, match="needs a CUDA GPU"):
        base_model.load(str(base), torch.float32, "nf4", "cpu")


def test_a_prepared_folder_that_was_changed_is_refused(made: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(made, tmp_path / "p")
    with np.load(made / prepared.EXAMPLES) as file:
        arrays = dict(file)
    arrays["diaries.ids"] = arrays["diaries.ids"] + 1
    np.savez(tmp_path / "p" / prepared.EXAMPLES, **arrays)
    with pytest.raises(InputError, match="prepare it again"):
        prepared.read(tmp_path / "p")
    with pytest.raises(InputError, match="not prepared wholly"):
        prepared.read(tmp_path)


def test_training_loads_nothing_of_clario_that_needs_more_packages() -> None:
    code = "import sys, clario.training.qlora; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(run.stdout.split())
    assert not {"clario.entities", "clario.ontology", "clario.corpus", "platformdirs", "typer"} & loaded
