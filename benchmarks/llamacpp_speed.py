"""How fast `gemma3-270m` reads diaries through llama.cpp, on the processors named.

Measured, on diaries evenly drawn from the validation part, in one process:
  load         seconds until the first diary was read
  alone        seconds of one diary given alone: median and 95th percentile (target of the median: 3)
  batch        seconds a diary where all are given at once
  tokens       that the model wrote itself and that were given to it, a diary; what is cached is not counted

With --gold the answers are the annotators': the model computes as many tokens as a model that is right would, and
is then told what to have said. That measures the time of a good answer whatever the weights are; it counts each
string twice, once written and once told, and leaves out the grammars. The load of the machine stands in the
report: llama.cpp's threads wait for each other, so that other work slows it more than its share.
"""

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import common
from clario.corpus import dataset
from clario.errors import ModelError
from clario.extraction import prompt
from clario.extraction.llama_process import Llama, Reply, Settings
from clario.extraction.llamacpp import LlamaCppExtractor
from clario.ontology import release as releases
from clario.ontology.resolver import Resolver

VALIDATION = common.ROOT / "data" / "corpus" / "validation.jsonl"
TARGET = 3.0  # seconds, median of a diary alone
_USER, _TURN = "<start_of_turn>user\n", "<start_of_turn>model\n"


class Counting(Llama):
    """Counts the tokens that were written and that were given; with answers, tells those instead of its own."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.written = self.given = 0
        self.answers: dict[str, str] = {}
        self._lengths: dict[str, int] = {}

    def ask(self, body: Mapping[str, Any]) -> Reply:
        rest = self._rest(str(body["prompt"])) if self.answers else None
        if rest is None:
            return self._counted(super().ask(body))
        text = rest.partition(body["stop"][0])[0] if body["stop"] else rest[:3]
        tokens = self._lengths[text] if body["stop"] else 1
        free = {"grammar": "", "stop": [], "n_predict": tokens, "ignore_eos": True}
        reply = self._counted(super().ask({**body, **free}))
        return {**reply, "choices": [{"text": text}]}

    def learn(self, text: str, answer: str) -> None:
        """Know an answer, and how many tokens each of its strings has, with the one that ends it."""
        self.answers[_question(text)] = answer
        for entity in json.loads(answer)["entities"]:
            for name in ("name_colloquial", "name_canonical"):
                string = json.dumps(entity[name], ensure_ascii=False)[1:-1]
                reply = super().ask({"prompt": string, "n_predict": 1, "temperature": 0})
                self._lengths[string] = reply["usage"]["prompt_tokens"]  # <bos> counts as the end

    def _rest(self, told: str) -> str | None:
        question, _, begun = told.rpartition(_TURN)
        answer = self.answers.get(question.rpartition(_USER)[2])
        return answer[len(begun) :] if answer else None

    def _counted(self, reply: Reply) -> Reply:
        self.written += reply["timings"]["predicted_n"]
        self.given += reply["timings"]["prompt_n"]
        return reply


def _question(text: str) -> str:
    """What stands in a diary's user turn, and the end of that turn."""
    told = prompt.render(prompt.messages(text, shots=False), system_turn=False)
    return told.removeprefix(_USER).removesuffix(_TURN)


class Measured(LlamaCppExtractor):
    """Asks a llama.cpp that counts; with `answers` [text: answer], one that tells those."""

    answers: Mapping[str, str] = {}
    counting: Counting

    def _start(self) -> Llama:
        self.counting = Counting(self._settings)
        for text, answer in self.answers.items():
            self.counting.learn(text, answer)
        if self.answers:
            self.model = replace(self.model, shots=False)
        return self.counting


def measure(extractor: Measured, texts: Sequence[str]) -> dict[str, float]:
    """All figures; see the module."""
    start = time.perf_counter()
    _read(extractor, texts[:1])
    figures = {"load_seconds": time.perf_counter() - start}
    counting = extractor.counting
    counting.written = counting.given = 0
    alone = [_read(extractor, [text])[0] for text in texts]
    figures |= {"alone_median_seconds": median(alone), "alone_p95_seconds": quantiles(alone, n=20)[-1]}
    figures |= {"written_tokens": counting.written / len(texts), "given_tokens": counting.given / len(texts)}
    seconds, entities = _read(extractor, texts)
    return figures | {"batch_seconds": seconds / len(texts), "entities": entities / len(texts)}


def _read(extractor: Measured, texts: Sequence[str]) -> tuple[float, int]:
    """Seconds, and the number of entities that were found."""
    start = time.perf_counter()
    found = extractor.extract(texts)
    seconds = time.perf_counter() - start
    failed = [one for one in found if isinstance(one, ModelError)]
    if failed:
        raise failed[0]
    return seconds, sum(len(one) for one in found if not isinstance(one, ModelError))


def sections(results: Mapping[str, Any]) -> list[common.Section]:
    """The results as a table."""
    targets = {"alone_median_seconds": f"{TARGET:g}"}
    rows = [(n.replace("_", " "), f"{v:.2f}", targets.get(n, "")) for n, v in results.items() if n != "model"]
    return [common.Section(results["model"], ("", "measured", "target"), rows)]


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark and print its report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--gold", action="store_true", help="answers as the annotators gave them")
    parser.add_argument("--diaries", type=int, default=30, help="how many are read")
    parser.add_argument("--threads", type=int, default=2, help="of llama.cpp")
    parser.add_argument("--slots", type=int, default=2, help="diaries read side by side in the batch")
    parser.add_argument("--base", type=Path, help="a GGUF file; the extra `local` brings the usual one")
    parser.add_argument("--adapter", type=Path, help="its adapter")
    given = parser.parse_args(argv)
    everyone = dataset.load(VALIDATION)
    diaries = everyone[:: max(1, len(everyone) // given.diaries)][: given.diaries]
    resolver = Resolver(releases.load(common.RELEASE))
    extractor = Measured(resolver, given.base, given.adapter, slots=given.slots, threads=given.threads)
    if given.gold:
        extractor.answers = {diary.text: prompt.answer(diary.entities) for diary in diaries}
    try:
        figures = measure(extractor, [diary.text for diary in diaries])
    finally:
        extractor.close()
    told = f"{extractor.name} {extractor.version}, {given.threads} threads" + ", gold answers" * given.gold
    results = {"model": told, **figures}
    common.show(given.json, common.provenance([VALIDATION], {}), results, sections(results))


if __name__ == "__main__":
    common.run(main)
