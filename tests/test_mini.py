"""The `mini` extractor on a tiny encoder with random weights, made here; what it finds means nothing."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

np = pytest.importorskip("numpy")
pytest.importorskip("onnx")
pytest.importorskip("torch")  # of the training code; see test_shipped_mini.py for what needs neither
pytest.importorskip("onnxruntime")
tokenizers = pytest.importorskip("tokenizers")

from clario.entities import Assertion, EntityType  # noqa: E402
from clario.errors import ModelError  # noqa: E402
from clario.extraction.mini import Found, MiniExtractor, features, probability, spans_of, viterbi  # noqa: E402
from clario.ontology import dense  # noqa: E402
from clario.ontology.dense import Near, Said, TermVectors  # noqa: E402
from clario.ontology.encoder import LINKER, Encoder  # noqa: E402
from clario.ontology.index import Index  # noqa: E402
from clario.ontology.resolver import Resolver  # noqa: E402
from clario.training import export  # noqa: E402

WIDTH, INNER, LAYERS, TAGS, HIDDEN, DIMENSIONS = 24, 48, 2, 11, 8, 16
PIECES = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *"abcdefghijklmnopqrstuvwxyz",
    "mouth",
    "dry",
    "joint",
    ".",
]
PIECES += [f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
TEXTS = ["", " \n\t", "my mouth is dry", "joints ache. " * 150, "🦴é\u200b café ☃ 関節 mouth", "x" * 500, "dry"]


def _tokenizer(path: Path) -> None:
    made = tokenizers.Tokenizer(
        tokenizers.models.WordPiece({p: n for n, p in enumerate(PIECES)}, unk_token="[UNK]")
    )
    made.normalizer = tokenizers.normalizers.BertNormalizer()
    made.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    made.save(str(path))


def _weights() -> dict[str, "np.ndarray"]:
    random = np.random.default_rng(7)
    shapes = {"positions": (384, WIDTH), "norm.weight": (WIDTH,), "norm.bias": (WIDTH,)}
    for n in range(LAYERS):
        maps = {
            "attend": (3 * WIDTH, WIDTH),
            "mix": (WIDTH, WIDTH),
            "wide": (INNER, WIDTH),
            "narrow": (WIDTH, INNER),
        }
        for name, shape in maps.items():
            shapes |= {f"layers.{n}.{name}.weight": shape, f"layers.{n}.{name}.bias": shape[:1]}
        for name in ("norm1", "norm2"):
            shapes |= {f"layers.{n}.{name}.weight": (WIDTH,), f"layers.{n}.{name}.bias": (WIDTH,)}
    return {name: random.normal(0, 0.5, shape).astype(np.float32) for name, shape in shapes.items()}


def _heads() -> dict[str, "np.ndarray"]:
    random = np.random.default_rng(8)
    maps = {
        "tag": (TAGS, WIDTH),
        "hidden": (HIDDEN, WIDTH),
        "assertion": (5, HIDDEN),
        "project": (DIMENSIONS, WIDTH),
    }
    heads = {f"{name}.weight": random.normal(0, 1, shape) for name, shape in maps.items()}
    heads |= {f"{name}.bias": np.zeros(shape[0]) for name, shape in maps.items()}
    heads["tag.bias"][1:3] = 4  # so that it finds symptoms
    moves = np.zeros((TAGS + 1, TAGS))
    for inner in range(2, TAGS, 2):
        moves[[tag for tag in range(TAGS + 1) if tag not in (inner - 1, inner)], inner] = -1e4
    return {name: value.astype(np.float32) for name, value in (heads | {"moves": moves}).items()}


def _model(folder: Path, shared: int) -> Path:
    folder.mkdir()
    weights = _weights()
    if shared:
        (folder / "lower.onnx").write_bytes(export.onnx_of(weights, True, range(shared)))
    for use in ("linker", "tagger"):
        (folder / f"{use}.onnx").write_bytes(export.onnx_of(weights, True, range(shared, LAYERS)))
    words = np.random.default_rng(9).normal(0, 1, (len(PIECES), WIDTH)).astype(np.float32)
    np.savez(folder / "words.npz", **export.words_of(words))
    np.savez(folder / "heads.npz", **_heads())
    _tokenizer(folder / "tokenizer.json")
    even = [0.0, 1.0, 0.0, 0.0]
    calibration = {"term": even, "linked": even, "unlinked": even, "other": even, "least": 0.0}
    (folder / "mini.json").write_text(json.dumps({"version": "tiny", "calibration": calibration}))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _model(tmp_path_factory.mktemp("mini") / "model", shared=1)


@pytest.fixture
def mini(folder: Path, old: Index) -> MiniExtractor:
    encoder = Encoder(folder)
    said = Said(encoder.phrases(["dry mouth"]), ["HP:0000217"])
    dense.build(old, old.sha256, encoder, said).save(folder / dense.FILE)
    record = json.loads((folder / "mini.json").read_text()) | {"index_sha256": old.sha256}
    (folder / "mini.json").write_text(json.dumps(record))
    return MiniExtractor(Resolver(old), folder)


def test_offsets_are_true_and_odd_texts_are_read(mini: MiniExtractor) -> None:
    for text, found in zip(TEXTS, mini.extract(TEXTS), strict=True):
        assert all(text[m.start : m.end] == m.name_colloquial for m in found)
        assert all(a.end <= b.start for a, b in pairwise(found))
    assert mini.extract(["", " \n"]) == [[], []]
    assert any(mini.extract(TEXTS))


def test_a_text_has_one_answer_in_batch_alone_and_in_threads(mini: MiniExtractor) -> None:
    texts = [text for text in TEXTS if len(text) < 600] * 4
    alone = [mini.extract([text])[0] for text in texts]
    assert mini.extract(texts) == alone
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda text: mini.extract([text])[0], texts)) == alone


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=80))
def test_any_text_gives_quotes_of_its_own(mini: MiniExtractor, text: str) -> None:
    for mention in mini.extract([text])[0]:
        assert text[mention.start : mention.end] == mention.name_colloquial


def test_names_that_are_not_the_quote_resolve_and_those_of_the_encoder_are_labels(mini: MiniExtractor) -> None:
    """The lexicon, which adds what stands in plain words, names a mention by the synonym that it found."""
    named = [m for found in mini.extract(TEXTS) for m in found if m.name_canonical != m.name_colloquial]
    names = {m.name_canonical for m in named if m.type is not EntityType.MED}
    assert names, {m.type for found in mini.extract(TEXTS) for m in found}
    assert all(mini.resolver.resolve(name).hpo_id for name in names)
    assert any(mini.resolver.resolve(name).label == name for name in names)


def test_vectors_of_another_release_are_refused(mini: MiniExtractor, new: Index) -> None:
    with pytest.raises(ModelError, match="clario ontology use shipped"):
        MiniExtractor(Resolver(new), mini.encoder.folder)


def test_a_missing_folder_says_so(tmp_path: Path, old: Index) -> None:
    with pytest.raises(ModelError, match="no model in"):
        MiniExtractor(Resolver(old), tmp_path)


def test_shared_layers_change_nothing(folder: Path, tmp_path: Path) -> None:
    apart = Encoder(_model(tmp_path / "apart", shared=0))
    shared = Encoder(folder)
    reading = shared.read("my mouth is dry")
    difference = shared.states(reading, LINKER)[0] - apart.states(reading, LINKER)[0]
    assert np.abs(difference).max() < 1e-5


def test_a_long_text_is_read_in_windows_that_agree_away_from_their_edges(folder: Path) -> None:
    encoder = Encoder(folder)
    reading = encoder.read("dry joint mouth. " * 200)
    states = encoder.states(reading, LINKER)[0]
    assert states.shape == (len(reading.ids), WIDTH)
    assert np.isfinite(states).all()
    first = encoder.states(encoder.read("dry joint mouth. " * 80), LINKER)[0]
    assert np.abs(states[:3] - first[:3]).max() < 1.5


@pytest.mark.parametrize("pieces", [1, 9, 382])
def test_onnx_agrees_with_pytorch_before_quantisation(pieces: int) -> None:
    import onnxruntime
    import torch

    from clario.training.model import from_arrays

    words = np.random.default_rng(5).normal(0, 1, (len(PIECES), WIDTH)).astype(np.float32)
    ids = np.random.default_rng(6).integers(1, len(PIECES), pieces)  # 0 pads
    encoder = from_arrays(_weights() | {"words": words}).eval()
    with torch.no_grad():
        expected = encoder(torch.from_numpy(ids[None])).numpy()[0]
    whole = _run(onnxruntime, export.onnx_of(_weights(), False), words[ids])
    lower = _run(onnxruntime, export.onnx_of(_weights(), False, range(1)), words[ids])
    parts = _run(onnxruntime, export.onnx_of(_weights(), False, range(1, LAYERS)), lower)
    assert np.abs(expected).max() > 0.5
    assert np.abs(whole - expected).max() < 1e-3
    assert np.abs(parts - expected).max() < 1e-3


def _run(onnxruntime: ModuleType, graph: bytes, words: "np.ndarray") -> "np.ndarray":
    return onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"]).run(None, {"words": words})[0]


def test_int8_stays_near_to_float(folder: Path) -> None:
    import onnxruntime

    words = np.random.default_rng(3).normal(0, 1, (9, WIDTH)).astype(np.float32)
    states = [
        onnxruntime.InferenceSession(export.onnx_of(_weights(), q), providers=["CPUExecutionProvider"]).run(
            None, {"words": words}
        )[0]
        for q in (False, True)
    ]
    lengths = [np.linalg.norm(s, axis=1) for s in states]
    assert ((states[0] * states[1]).sum(1) / (lengths[0] * lengths[1])).min() > 0.99


@pytest.fixture
def vectors() -> Callable[..., TermVectors]:
    def make(rows: list[tuple[int, list[float]]], tellings: list[float]) -> TermVectors:
        unit = np.array([v for _, v in rows], np.float32)
        unit /= np.linalg.norm(unit, axis=1, keepdims=True)
        ids = [f"HP:{n + 1:07d}" for n in range(len(tellings))]
        return TermVectors(ids, unit, np.array([t for t, _ in rows]), np.array(tellings, np.float32), "0" * 64)

    return make


def test_the_score_is_half_the_best_and_half_the_mean(vectors: Callable[..., TermVectors], tmp_path: Path) -> None:
    made = vectors([(0, [1, 0]), (0, [0, 1]), (1, [1, 1])], [0, 0])
    (near,) = made.nearest(np.array([[1.0, 0.0]], np.float32))
    assert [one.hpo_id for one in near] == ["HP:0000001", "HP:0000002"]
    assert near[0].score == pytest.approx(0.5 + 0.5 * 2**-0.5)
    made.save(tmp_path / "terms.npz")
    (again,) = dense.load(tmp_path / "terms.npz").nearest(np.array([[1.0, 0.0]], np.float32))
    assert again[0].score == pytest.approx(near[0].score, abs=0.01)


def test_of_two_equal_terms_the_frequent_one_is_first(vectors: Callable[..., TermVectors]) -> None:
    made = vectors([(0, [1, 0]), (1, [1, 0])], [0, 20])
    assert made.nearest(np.array([[1.0, 0.0]], np.float32), 1)[0][0].hpo_id == "HP:0000002"


def test_viterbi_obeys_the_moves() -> None:
    scores = np.zeros((3, TAGS), np.float32)
    scores[:, 2] = 5  # inside a symptom, which nothing may begin with
    scores[0, 1] = 1
    assert viterbi(scores, _heads()["moves"]) == [1, 2, 2]


def test_spans_of_tags() -> None:
    assert spans_of([0, 1, 2, 1, 0, 3, 4]) == [(1, 3, 0), (3, 4, 0), (5, 7, 1)]


def test_confidence_grows_with_the_score() -> None:
    def found(score: float) -> Found:
        return Found(0, 1, EntityType.SYMPTOM, Assertion.PRESENT, 0.9, [Near("HP:0000001", score)])

    weights = [-1.0, 0.2, 3.0, 1.0]
    assert probability(weights, found(0.9)) > probability(weights, found(0.2))
    assert len(features(found(0.5))) == len(weights)
