"""The `gemma` extractor: Gemma with a Clario adapter through transformers and PEFT, its decoding constrained.

`gemma:WHAT` names an adapter or a base model; `gemma_model` tells where they are looked for, and what a small
model leaves to others: which term a quote has to the dense index, and assertions to the rules. Texts are read in
batches of like length. The prompt's constant beginning is computed once: each row of a batch gets its keys and
values moved to where, after its padding on the left, they stand. Decoding is greedy.
"""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

from clario.entities import Mention
from clario.errors import ModelError
from clario.extraction import prompt
from clario.extraction.base import Extractor, Mentions
from clario.extraction.constrain import Constraint, Writer, Written
from clario.extraction.gemma_model import Loaded, load, out_of_memory
from clario.extraction.greedy import Free, Generator
from clario.extraction.grounding import CONFIDENCE, read
from clario.extraction.nearby import Nearby, evidence, nearby, version
from clario.extraction.vocabulary import Vocabulary, token_bytes
from clario.ontology.meaning import logistic
from clario.ontology.resolver import Resolver

LIMIT: Final = 2048
"""Tokens of an answer; 40 entities take about 1,700."""
BATCH, CONSTRAINED = "CLARIO_BATCH", "CLARIO_CONSTRAINED"
"""Variables of the environment: texts at once; "no" for free decoding, whose quotes are aligned afterwards."""
_AT_ONCE: Final = {"cuda": 32, "cpu": 8}
_CUT: Final = "the answer reached its limit; the last entities may be missing"


class GemmaExtractor(Extractor):
    """Reads texts with Gemma and an adapter.

    Args:
        named: an adapter or a base; see `gemma_model.load`.
        loaded: a model made by hand, instead of what the name says.

    Raises:
        ModelError: the model cannot be loaded, or its tokenizer cannot be used.
    """

    argument: ClassVar[str | None] = "the adapter or base model (a folder, a GGUF file or a hub id)"
    max_chars = 4_000
    batch_size = 128

    def __init__(self, resolver: Resolver, named: str, loaded: Loaded | None = None) -> None:
        super().__init__(resolver)
        self._loaded = loaded = loaded or load(named)
        self.candidates = int(loaded.facts.get("candidates", 0))
        self._by_rules = loaded.facts.get("assertions") == "rules"
        self._tokenizer = loaded.tokenizer
        written = token_bytes(_described(loaded.tokenizer))
        vocabulary = self._tokenizer.get_vocab()
        self._system_turn = "<|turn>" in vocabulary
        end = prompt.END_WITH_SYSTEM if self._system_turn else prompt.END
        self._ends = [vocabulary[end]] if end in vocabulary else []
        self.constraint = Constraint(Vocabulary(written, self._ends), (n.text for n in resolver.index.names))
        self.constrained = os.environ.get(CONSTRAINED, "").strip().lower() not in {"no", "0", "false"}
        self.generator = Generator(loaded.model, self._common(), self._usual())
        self.name = f"gemma:{Path(named).name if Path(named).expanduser().exists() else named}"
        way = version(resolver, self.candidates) if self.constrained else "+free"
        self.version = f"{loaded.version}+prompt.{self._digest()}{way}"

    def tokens(self, text: str) -> list[int]:
        """The prompt for a text."""
        asked = prompt.render(prompt.messages(text, shots=self._loaded.shots), self._system_turn)
        ids: list[int] = self._tokenizer(asked, add_special_tokens=False)["input_ids"]
        return [self._tokenizer.bos_token_id, *ids]

    def _common(self) -> list[int]:
        """The tokens with which every prompt begins; where a diary's first letters merge with them, less."""
        first, second = self.tokens("a"), self.tokens("I")
        return first[: next(n for n, (a, b) in enumerate(zip(first, second, strict=False)) if a != b)]

    def _usual(self) -> list[int]:
        """An answer as answers are: those of the demonstrations."""
        ids: list[int] = []
        for _, told in prompt.SHOTS:
            ids += self._tokenizer(prompt.answer(told), add_special_tokens=False)["input_ids"]
        return ids

    def _digest(self) -> str:
        asked = prompt.render(prompt.messages("", shots=self._loaded.shots), self._system_turn)
        return hashlib.sha256(asked.encode()).hexdigest()[:8]

    def extract(self, texts: Sequence[str]) -> list[list[Mention] | ModelError]:
        """The mentions of each text, or why there are none; see `Extractor.extract`."""
        results: list[list[Mention] | ModelError] = [Mentions() for _ in texts]
        prompts = {place: self.tokens(text) for place, text in enumerate(texts) if text.strip()}
        waiting = sorted(prompts, key=lambda place: len(prompts[place]), reverse=True)
        size = _at_once(self._loaded.model)
        while waiting:
            batch = waiting[:size]
            found = self._tried([texts[place] for place in batch], [prompts[place] for place in batch])
            if found is None:
                size = len(batch) // 2
                _free_memory()
                continue
            for place, result in zip(batch, found, strict=True):
                results[place] = result
            waiting = waiting[size:]
        return results

    def _tried(
        self, texts: Sequence[str], prompts: Sequence[list[int]]
    ) -> Sequence[list[Mention] | ModelError] | None:
        """The results of a batch, errors included; None where it is too large for the memory."""
        try:
            return self._read(texts, prompts)
        except RuntimeError as error:
            if out_of_memory(error) and len(texts) > 1:
                return None
            return [_failure(error)] * len(texts)

    def _read(self, texts: Sequence[str], prompts: Sequence[list[int]]) -> Sequence[list[Mention] | ModelError]:
        if self.constrained:
            near = [nearby(self.resolver, text, self.candidates) for text in texts]
            writers = [self.writer(text, LIMIT, own) for text, own in zip(texts, near, strict=True)]
            self.generator.write(prompts, writers)
            return [self._mentions(*told) for told in zip(texts, writers, near, strict=True)]
        answers = [Free(self._ends, LIMIT) for _ in texts]
        self.generator.write(prompts, answers)
        return [self._aligned(text, answer) for text, answer in zip(texts, answers, strict=True)]

    def writer(self, text: str, limit: int, near: Nearby | None = None) -> Writer:
        """The answer about a text, yet to be written, in at most `limit` tokens."""
        return self.constraint.writer(text, limit, near.labels if near else None)

    def _aligned(self, text: str, answer: Free) -> list[Mention] | ModelError:
        """What a free answer tells."""
        try:
            return read(self._tokenizer.decode(answer.tokens, skip_special_tokens=True), text)
        except ModelError as error:
            return error

    def _mentions(self, text: str, writer: Writer, near: Nearby | None) -> Mentions:
        found = [
            Mention(
                type=one.type,
                name_colloquial=text[one.start : one.end],
                start=one.start,
                end=one.end,
                name_canonical=one.name,
                assertion=None if self._by_rules else one.assertion,
                confidence=self._confidence(one, near),
            )
            for one in writer.entities()
        ]
        found.sort(key=lambda mention: (mention.start, mention.end))
        return Mentions(found, [] if writer.cut is None else [_CUT])

    def _confidence(self, one: Written, near: Nearby | None) -> float:
        """The mean probability of the tokens that chose, calibrated where the adapter brings weights."""
        mean = sum(one.sure) / len(one.sure) if one.sure else CONFIDENCE
        kind, told = evidence(mean, one.name, (one.start, one.end), near)
        if weights := self._loaded.facts.get("confidence", {}).get(kind):
            mean = logistic(weights, told)
        return round(min(max(mean, 0.0), 1.0), 4)


def _described(tokenizer: Any) -> dict[str, Any]:
    import json

    described: dict[str, Any] = json.loads(tokenizer.backend_tokenizer.to_str())
    return described


def _at_once(model: Any) -> int:
    asked = os.environ.get(BATCH, "").strip()
    if asked and not (asked.isascii() and asked.isdecimal() and int(asked)):
        raise ModelError(
            f"{BATCH} is {asked[:20]!r}; set it to how many texts are to be read at once, or leave it"
        )
    return int(asked) if asked else _AT_ONCE.get(model.device.type, 8)


def _failure(error: RuntimeError) -> ModelError:
    """Without the message of the failure itself, which may be long and of no help."""
    if out_of_memory(error):
        return ModelError(
            "not enough memory to read this text, alone; free memory, use a smaller model, or set "
            "CLARIO_PRECISION=4bit on a CUDA GPU"
        )
    return ModelError(
        f"gemma failed while it read ({type(error).__name__}); try again, and if it stays so, on a CPU"
    )


def _free_memory() -> None:
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
