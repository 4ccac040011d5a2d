"""The `gemma3-270m` extractor: Gemma 3 270M with Clario's LoRA through llama.cpp, on any processor.

The model writes only what is for it to tell: quotes, whether they have a term, and types. The skeleton of the JSON
around them is given, so that more than half of an answer's tokens cost no step of their own, and the answer always
parses; a grammar lets it quote nothing but stretches of the diary. Which term a quote has is the dense index's to
say, and what is asserted, the rules': a model of this size knows less of both (docs/LOG.md). What is the same for
every diary stays in the cache of each slot.
"""

import json
import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Lock
from time import perf_counter
from typing import Final

from clario.entities import Assertion, EntityType, Mention
from clario.errors import ModelError
from clario.extraction import prompt
from clario.extraction.base import Extractor, Mentions
from clario.extraction.context import assertions
from clario.extraction.grounding import CONFIDENCE, find, ground
from clario.extraction.llama_model import find_model
from clario.extraction.llama_process import Llama, LlamaDiedError, Settings
from clario.extraction.nearby import Nearby, Span, nearby, version
from clario.extraction.parse import Answer, Proposed
from clario.ontology.encoder import workers
from clario.ontology.meaning import logistic
from clario.ontology.resolver import Resolver

CONTEXT: Final = 4096  # tokens a slot: the prompt 550 with demonstrations, a diary 400, the longest answer 1,600
CANDIDATES: Final = 1
_RESERVE: Final = 400  # tokens that must be left for one entity more
_NAME_TOKENS: Final = 40  # of a name; the longest label of HPO has fewer
_QUOTE_TOKENS: Final = 120
# Seconds a request, on average, that are usual at a tenth of it. llama.cpp's threads wait for each other in loops:
# where other work has a processor, two of them are thirty times slower than one.
_SLOW: Final = 1.5
_CLOSE: Final = '","'  # ends a string of the answer; inside of one a backslash stands before each quotation mark
# Words, white space, other characters; those of scripts without spaces between words one by one.
_CHUNK: Final = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]"
    r"|[^\W\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]+|\s+|.",
    re.DOTALL,
)
_NAME: Final = r'root ::= [^"\\\x00-\x1f\x7f-\x9f]+ "\",\""'
# How often a candidate's name was right, by its score and its lead, and how often everything else: fitted on what
# the adapter 469832a3 told of the validation diaries, by `clario train calibrate`.
_NAMED: Final = (-18.797, 19.9353, 10.775)
_OTHER: Final = 0.465
_HALF, _CHARACTER = "\ufffd", 4  # what stands for a part of a character; tokens that make a whole one
_TYPES, _ASSERTIONS = tuple(EntityType), tuple(Assertion)


class LlamaCppExtractor(Extractor):
    """Reads texts with Gemma 3 270M, in a process of its own that the first text starts; threads may share it.

    Args:
        base: the GGUF file of the base; None is `CLARIO_BASE` if that is one, else that of the extra `local`.
        adapter: the GGUF file of the adapter, or its folder; None is `CLARIO_ADAPTER`, else the adapter in the
            data folder or checkout. With none, as `CLARIO_ADAPTER=none` asks for, the base reads, with
            demonstrations, and `version` says so.
        slots: texts read side by side.
        threads: of llama.cpp; None is one for each processor that this process may use, and only one as soon as
            other work is seen to slow them.
        candidates: terms of the dense index among which the model names a quote; with 0, or where the index has
            no vectors for the release, it names freely.

    Raises:
        ModelError: a package or file is missing or broken, or the adapter is another base's.
    """

    name = "gemma3-270m"
    max_chars = 1_500
    batch_size = 16

    def __init__(
        self,
        resolver: Resolver,
        base: Path | None = None,
        adapter: Path | None = None,
        *,
        slots: int = 2,
        threads: int | None = None,
        candidates: int = CANDIDATES,
    ) -> None:
        super().__init__(resolver)
        self._candidates = candidates
        self.model = find_model(base, adapter)
        self.version = self.model.version + version(resolver, candidates)
        self._settings = Settings(self.model.base, self.model.adapter, slots, CONTEXT, threads or usual_threads())
        self._may_lower = threads is None
        self._slots: SimpleQueue[int] = SimpleQueue()
        for slot in range(slots):
            self._slots.put(slot)
        self._lock = Lock()
        self._llama: Llama | ModelError | None = None

    def extract(self, texts: Sequence[str]) -> list[list[Mention] | ModelError]:
        """The mentions of each text; see `Extractor.extract`. Ctrl-C ends the model's process, then this."""
        read = self._side_by_side(texts)
        # Whichever of them ended llama.cpp: alone, each of the others is read by the next process.
        return [
            self._read(text) if isinstance(one, LlamaDiedError) else one
            for text, one in zip(texts, read, strict=True)
        ]

    def close(self) -> None:
        """End the model's process; the next text starts another."""
        with self._lock:
            if isinstance(self._llama, Llama):
                self._llama.close()
            self._llama = None

    def _side_by_side(self, texts: Sequence[str]) -> list[list[Mention] | ModelError]:
        given_up = Event()
        with ThreadPoolExecutor(self._settings.slots) as pool:
            futures = [pool.submit(self._read, text, given_up) for text in texts]
            try:
                return [future.result() for future in futures]
            except BaseException:
                given_up.set()
                pool.shutdown(wait=False, cancel_futures=True)
                self.close()
                raise

    def _read(self, text: str, given_up: Event | None = None) -> list[Mention] | ModelError:
        if not text.strip():
            return Mentions()
        slot = self._slots.get()
        try:
            near = nearby(self.resolver, text, self._candidates)
            reading = Reading(self._started(given_up), slot, text, self.model.shots, near)
            found = reading.mentions()
            self._mind_the_pace(reading)
            return found
        except ModelError as error:
            return error
        finally:
            self._slots.put(slot)

    def _started(self, given_up: Event | None) -> Llama:
        """The running process, else a new one. A model that could not be loaded is not tried again."""
        with self._lock:
            if given_up and given_up.is_set():
                raise ModelError("reading was interrupted")
            if isinstance(self._llama, ModelError):
                raise self._llama
            if self._llama is None or not self._llama.alive:
                if self._llama:
                    self._llama.close()
                self._llama = self._start()
            return self._llama

    def _mind_the_pace(self, reading: "Reading") -> None:
        """Go on with one thread where several are too slow; whoever was being read is read again."""
        with self._lock:
            slow = reading.seconds > _SLOW * reading.requests and reading.llama is self._llama
            if slow and self._may_lower and self._settings.threads > 1:
                self._settings = replace(self._settings, threads=1)
                reading.llama.close()

    def _start(self) -> Llama:
        try:
            return Llama(self._settings)
        except ModelError as error:
            self._llama = error
            raise


class Reading:
    """One text, read in one slot."""

    def __init__(self, llama: Llama, slot: int, text: str, shots: bool, near: Nearby | None = None) -> None:
        self.llama, self.seconds, self.requests = llama, 0.0, 0
        self._slot, self._text, self._near, self._taught = slot, text, near, not shots
        self._taken = set[Span]()
        messages = prompt.messages(text, shots)
        self._told, self._tokens = prompt.render(messages, system_turn=False), 0
        shown = messages[-1]["content"][-len(text) :]  # without special tokens, as the model sees it
        self._quotes = quote_grammar(shown)

    def mentions(self) -> Mentions:
        """What the model tells of the text.

        Raises:
            ModelError: llama.cpp ended, or refused the text.
        """
        found, warnings = list[Proposed](), list[str]()
        more = self._choose('{"entities', '":[{"name_colloquial":"', '":[]}') == 0
        while more:
            entity = self._entity()
            if found.count(entity) >= max(1, self._text.count(entity.name_colloquial)):
                warnings.append("the model began to repeat itself; what it had told before is kept")
                break
            found.append(entity)
            if len(found) == prompt.MOST_ENTITIES or self._tokens > CONTEXT - _RESERVE:
                warnings.append(f"the model's answer was too long; the first {len(found)} entities are kept")
                break
            # A token holds all of `"},{"`. After a quotation mark of its own, models end: only ends have one.
            more = self._choose("", '"},{"name_colloquial":"', '"}]}') == 0
        told = ground(Answer(found, warnings, not warnings), self._text)
        return Mentions([self._surer(mention) for mention in told], told.warnings)

    def _surer(self, mention: Mention) -> Mention:
        """A mention as sure as those of its kind were right; of a model that was not taught nothing is known."""
        span = mention.start, mention.end
        if self._near is None or not self._taught:
            return mention
        sure = _OTHER
        if mention.name_canonical in self._near.labels(span):
            sure = logistic(_NAMED, (1.0, *self._near.lead(span)))
        return mention.model_copy(update={"confidence": round(sure * mention.confidence / CONFIDENCE, 4)})

    def _entity(self) -> Proposed:
        quote = self._write(self._quotes, _QUOTE_TOKENS)
        self._told += '","name_canonical":"'
        place = find(quote, self._text, self._taken)
        span = (place.start, place.end) if place else None
        name = self._name(quote, span)
        kind = _TYPES[self._choose('","type":"', *_TYPES)]
        return Proposed(quote, name, kind, self._assertion(span))

    def _name(self, quote: str, span: Span | None) -> str:
        """The quote again, or a candidate of the index; any name where there is none."""
        labels = self._near.labels(span) if self._near and span else []
        if not labels:
            return self._write(_NAME, _NAME_TOKENS).strip() or quote
        options = list(dict.fromkeys([*labels, quote]))
        # With what ends them: of two options one may begin as the other.
        chosen = options[self._choose("", *(_escaped(option) + _CLOSE for option in options))]
        self._told = self._told.removesuffix(_CLOSE)
        return chosen

    def _assertion(self, span: Span | None) -> Assertion:
        """What the rules say, told to the model as if it had said it; its own word where a quote has no place."""
        if span is None:
            return _ASSERTIONS[self._choose('","assertion":"', *_ASSERTIONS)]
        self._taken.add(span)
        (found,) = assertions(self._text, [span])
        self._told += f'","assertion":"{found}'
        return found

    def _write(self, grammar: str, tokens: int) -> str:
        """Let the model write a string of JSON; it counts as told, and is given without its escapes."""
        raw = self._ask(grammar, tokens, _CLOSE)
        self._told += raw
        try:
            return str(json.loads(f'"{raw}"'))
        except ValueError:  # ended by the limit, within an escape
            return str(json.loads(f'"{raw.rpartition(chr(92))[0]}"'))

    def _choose(self, given: str, *options: str) -> int:
        """Let the model choose how what is given goes on; one token tells, unless options begin alike."""
        self._told += given
        start, written, left = len(self._told), "", list(options)
        while len(left) > 1:
            rests = " | ".join(_literal(option[len(written) :]) for option in left)
            more = self._ask(f"root ::= {rests}", 1)
            if not more or _HALF in more:  # a token may be a part of a character
                more = self._ask(f"root ::= {rests}", _CHARACTER).rstrip(_HALF)
            written += more
            left = [option for option in left if option.startswith(written)]
            if not more or not left:
                raise ModelError("llama.cpp did not keep to its grammar; try another version of xllamacpp")
            self._told = self._told[:start] + written
        self._told = self._told[:start] + left[0]
        return options.index(left[0])

    def _ask(self, grammar: str, tokens: int, stop: str | None = None) -> str:
        start = perf_counter()
        reply = self.llama.ask({
            "prompt": self._told, "grammar": grammar, "n_predict": tokens, "stop": [stop] if stop else [],
            "temperature": 0, "id_slot": self._slot, "cache_prompt": True,
        })  # fmt: skip
        self.seconds, self.requests = self.seconds + perf_counter() - start, self.requests + 1
        self._tokens = reply["usage"]["total_tokens"]
        text: str = reply["choices"][0]["text"]
        return text


def usual_threads() -> int:
    """One for each processor that this process may use and that other work leaves."""
    busy = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return max(1, workers() - round(busy))


def quote_grammar(text: str) -> str:
    """A grammar (GBNF) of the JSON strings that are a stretch of a text, from a word's begin to a word's end.

    https://github.com/ggml-org/llama.cpp/blob/master/grammars/README.md; what follows such a string ends it.
    """
    chunks = _CHUNK.findall(text.strip())
    rules = [f"root ::= {' | '.join(f'c{n}' for n, chunk in enumerate(chunks) if not chunk.isspace())}"]
    for n, chunk in enumerate(chunks):
        after = [f"c{n + 1}"] * (n + 1 < len(chunks)) + [_literal(_CLOSE)] * (not chunk.isspace())
        rules.append(f"c{n} ::= {_literal(_escaped(chunk))} ({' | '.join(after)})")
    return "\n".join(rules)


def _escaped(chunk: str) -> str:
    return json.dumps(chunk, ensure_ascii=False)[1:-1]


def _literal(text: str) -> str:
    """A text as a literal of GBNF."""
    return '"' + "".join(f"\\x{ord(c):02X}" if c < " " or c in '"\\\x7f' else c for c in text) + '"'
