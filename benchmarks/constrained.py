"""What constrained decoding costs, and whether its answers are sound whatever the text.

Cost: diaries are read with the constraint, then the same number of steps is made without it (each token the
likeliest of the whole vocabulary). Told are the share that the constraint itself takes of the time, and by how
much reading took longer, by the clock and in processor time: on a busy machine only the latter tells, with a GPU
only the former.
Soundness: 500 hostile texts, with choices at random instead of a model's, at limits that let answers end by
themselves and at others that do not; with --hostile N the model itself reads the first N of them.
"""

import argparse
import json
import random
from collections.abc import Iterator, Sequence
from time import perf_counter, process_time, thread_time
from typing import Any

import numpy as np
from numpy.typing import NDArray

import common
from clario.corpus import dataset
from clario.extraction import gemma, gemma_model, prompt
from clario.extraction.constrain import Constraint, Tokens, Writer
from clario.extraction.gemma import GemmaExtractor
from clario.extraction.nearby import nearby
from clario.extraction.parse import strictly
from clario.ontology import release as releases
from clario.ontology.resolver import Resolver

VALIDATION = common.ROOT / "data" / "corpus" / "validation.jsonl"
HOSTILE = 500
CLOCKS = ("clock", "processor")
PIECES = (
    '"', "\\", '\\"', "{}", '{"entities":[]}', '{"name_colloquial":"pain","name_canonical":"Pain"', "]}",
    "```json", "<end_of_turn>", "<start_of_turn>model", "\x00", "\x07", "\x1b[31m", "\x7f", "\u2028", "\u200b",
    "\r\n", "\t",
    "頭痛がする", "صداع شديد", "मुझे सिरदर्द है", "кружится голова", "ปวดหัว", "🤕", "👩‍👩‍👧", "e\u0301", "\ufeff",
    "my head hurts", "no fever", "Headache", "’quoted’", "a" * 300, "x_y", "₿", "𝔥𝔢𝔞𝔡", "<0x0A>", "▁head",
)  # fmt: skip


class Timed:
    """A writer, and the time that it takes."""

    seconds = 0.0

    def __init__(self, writer: Writer) -> None:
        self.writer, self.steps = writer, 0

    @property
    def done(self) -> bool:
        """Whether the answer is written."""
        return self.writer.done

    def allowed(self) -> Tokens:
        """See `Writer.allowed`."""
        begun = thread_time()
        found = self.writer.allowed()
        Timed.seconds += thread_time() - begun
        return found

    def write(self, token: int, probability: float = 1.0) -> None:
        """See `Writer.write`."""
        begun = thread_time()
        self.writer.write(token, probability)
        self.steps += 1
        Timed.seconds += thread_time() - begun


class Steps:
    """An answer of a number of tokens, whichever."""

    def __init__(self, steps: int) -> None:
        self._left, self.done = steps, False

    def allowed(self) -> None:
        """Any token."""

    def write(self, token: int, probability: float = 1.0) -> None:
        """Count a token."""
        self._left -= 1
        self.done = self._left <= 0


def _writer(made: GemmaExtractor, text: str, limit: int) -> Writer:
    """As the extractor makes it, with the terms of the index where it takes them."""
    return made.writer(text, limit, nearby(made.resolver, text, made.candidates))


def cost(made: GemmaExtractor, texts: Sequence[str], batch: int, limit: int) -> dict[str, float]:
    """Seconds with and without the constraint, those of the constraint itself, and tokens."""
    prompts = sorted((made.tokens(text), text) for text in texts)
    seconds = {"with": np.zeros(2), "without": np.zeros(2)}
    made.generator.write([prompts[0][0]], [Steps(2)])  # the prefix is computed
    Timed.seconds, steps = 0.0, 0
    for first in range(0, len(prompts), batch):
        asked = [ids for ids, _ in prompts[first : first + batch]]
        begun = _clocks()
        timed = [Timed(_writer(made, text, limit)) for _, text in prompts[first : first + batch]]
        made.generator.write(asked, timed)
        seconds["with"] += _clocks() - begun
        begun = _clocks()
        made.generator.write(asked, [Steps(one.steps) for one in timed])
        seconds["without"] += _clocks() - begun
        steps += sum(one.steps for one in timed)
    longer = seconds["with"] / seconds["without"] - 1
    told = {f"{name}, {clock}": float(s[n]) for name, s in seconds.items() for n, clock in enumerate(CLOCKS)}
    return {
        **told, "constraint, processor": Timed.seconds, "tokens": float(steps),
        "share, processor": Timed.seconds / float(seconds["with"][1]),
        **{f"longer, {clock}": float(longer[n]) for n, clock in enumerate(CLOCKS)},
    }  # fmt: skip


def _clocks() -> NDArray[np.float64]:
    return np.array([perf_counter(), process_time()])


def hostile(count: int) -> Iterator[str]:
    """Texts that would break a careless reader: each piece alone, then several in disorder; some are long."""
    numbers = random.Random(common.SEED)
    yield from ["", " ", *PIECES][:count]
    for number in range(count - len(PIECES) - 2):
        pieces = numbers.choices(PIECES, k=numbers.choice((2, 5, 12, 40)))
        yield (numbers.choice((" ", "", "\n")).join(pieces) * (20 if number % 50 == 0 else 1))[:4000]


def sound(text: str, raw: str, names: frozenset[str]) -> bool:
    """Whether an answer keeps to the schema, quotes the text, and invents no term."""
    output = strictly(raw)
    return output is not None and len(output.entities) <= prompt.MOST_ENTITIES and all(
        entity.name_colloquial in text
        and len(entity.name_colloquial) <= prompt.LONGEST_QUOTE
        and len(entity.name_canonical) <= prompt.LONGEST_NAME
        and (entity.name_canonical == entity.name_colloquial or entity.name_canonical in names)
        for entity in output.entities
    )  # fmt: skip


def at_random(constraint: Constraint, text: str, limit: int, seed: int) -> Writer:
    """An answer of which each token is any allowed one; entities are begun where they may be."""
    writer, numbers = constraint.writer(text, limit), random.Random(seed)
    content = constraint.vocabulary.content
    while not writer.done:
        allowed = writer.allowed().tolist()
        on = [t for t in allowed if b"]" not in content.get(t, b"]")] if numbers.random() < 0.9 else allowed
        writer.write(numbers.choice(on or allowed))
    return writer


def soundness(made: GemmaExtractor, names: frozenset[str], by_model: int) -> dict[str, int]:
    """How many answers were sound, of how many, and how many entities they told."""
    texts = list(hostile(HOSTILE))
    counts = {"texts": len(texts), "sound": 0, "entities": 0, "read by the model": by_model, "of these sound": 0}
    for number, text in enumerate(texts):
        writer = at_random(made.constraint, text, (60, 200, 400, 1000)[number % 4], number)
        counts["sound"] += sound(text, writer.output.decode(), names)
        counts["entities"] += len(json.loads(writer.output)["entities"])
    asked = [text for text in texts if text.strip()][:by_model]
    for first in range(0, len(asked), 8):
        part = asked[first : first + 8]
        writers = [_writer(made, text, gemma.LIMIT) for text in part]
        made.generator.write([made.tokens(text) for text in part], writers)
        counts["of these sound"] += sum(
            sound(t, w.output.decode(), names) for t, w in zip(part, writers, strict=True)
        )
    return counts


def _arguments() -> argparse.Namespace:
    options = common.parser(__doc__)
    options.add_argument("model", help="an adapter or base, as after 'gemma:'")
    options.add_argument(
        "--diaries", type=int, default=16, help="validation diaries to read (default: 16; 0: none)"
    )
    options.add_argument("--batch", type=int, default=8, help="diaries at once (default: 8)")
    options.add_argument("--limit", type=int, default=gemma.LIMIT, help="tokens of an answer")
    options.add_argument("--hostile", type=int, default=0, help="hostile texts for the model itself (default: 0)")
    return options.parse_args()


def main() -> None:
    """Print both tables."""
    given = _arguments()
    index = releases.load(common.RELEASE)
    loaded = gemma_model.load(given.model)
    made = GemmaExtractor(Resolver(index), given.model, loaded)
    results: dict[str, Any] = {"soundness": soundness(made, frozenset(n.text for n in index.names), given.hostile)}
    sections = [
        common.Section("Hostile texts", ("", "number"), [(k, str(v)) for k, v in results["soundness"].items()])
    ]
    texts = [diary.text for diary in dataset.load(VALIDATION)[: given.diaries]]
    if texts:
        found = results["cost"] = cost(made, texts, given.batch, given.limit)
        sections.append(common.Section("Cost", ("", "figure"), [(k, f"{v:.3f}") for k, v in found.items()]))
    made_with = common.provenance([VALIDATION], {}) | {"model": made.version, "device": str(loaded.model.device)}
    common.show(given.json, made_with, results, sections)


if __name__ == "__main__":
    common.run(main)
