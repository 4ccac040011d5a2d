"""The one prompt, schema and chat rendering of extraction: what a model is trained on is what it is asked.

Turns: Gemma 3 as https://ai.google.dev/gemma/docs/core/prompt-structure has them, where the system text stands
in the first user turn; Gemma 4 as https://ai.google.dev/gemma/docs/core/prompt-formatting-gemma4 has them, with
other markers and a system turn. Everything before the diary is the same for every diary, so that it can be cached.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

from clario.entities import Assertion, EntityType

END: Final = "<end_of_turn>"
"""Ends a turn of Gemma 3."""
END_WITH_SYSTEM: Final = "<turn|>"
"""Ends a turn of Gemma 4, the one with a system turn."""

LONGEST_QUOTE, LONGEST_NAME, MOST_ENTITIES = 200, 100, 40
"""Limits of the schema. In the corpus the longest quote has 117 code points, the longest label 82; a diary at most
21 entities."""

SYSTEM: Final = """Extract the clinical entities of the patient's diary as JSON.
name_colloquial: the shortest verbatim quote of the diary that tells it.
name_canonical: of a symptom or an abnormal lab_marker the clinical name, as the Human Phenotype Ontology words \
it, no more specific than the diary; otherwise the quote again.
type: symptom (abnormal sign, complaint or finding), lab_marker (test or measured value), med (medicine or \
treatment), trigger (what brings a symptom on), behavior (what the patient does or gives up because of it).
assertion: present, past (over long ago), absent (denied; quote without the denial), other (somebody else's), \
hypothetical (feared, asked about, possible).
Metaphors and hints count. No diagnosis, no guess, nothing that the diary does not tell."""

_ENTITY_KEYS: Final = ("name_colloquial", "name_canonical", "type", "assertion")
SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {
        "entities": {
            "type": "array",
            "maxItems": MOST_ENTITIES,
            "items": {
                "type": "object",
                "properties": {
                    "name_colloquial": {"type": "string", "minLength": 1, "maxLength": LONGEST_QUOTE},
                    "name_canonical": {"type": "string", "minLength": 1, "maxLength": LONGEST_NAME},
                    "type": {"type": "string", "enum": [str(t) for t in EntityType]},
                    "assertion": {"type": "string", "enum": [str(a) for a in Assertion]},
                },
                "required": list(_ENTITY_KEYS),
                "additionalProperties": False,
            },
        }
    },
    "required": ["entities"],
    "additionalProperties": False,
}
"""JSON schema of an answer."""

# Special tokens of Gemma's vocabulary: in a diary they would be read as turns of the conversation.
_MARKER: Final = re.compile(r"<(?=\|?(?:\w{1,30}|\")\|?>)")
_WITH_TERMS: Final = frozenset({EntityType.SYMPTOM, EntityType.LAB_MARKER})


class Told(Protocol):
    """An annotated entity, as the corpus and the results of Clario have it."""

    @property
    def type(self) -> EntityType: ...
    @property
    def name_colloquial(self) -> str: ...
    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...
    @property
    def hpo_label(self) -> str | None: ...
    @property
    def assertion(self) -> Assertion: ...


class _Shown(NamedTuple):
    """An entity of a demonstration."""

    name_colloquial: str
    start: int
    type: EntityType
    hpo_label: str | None
    assertion: Assertion

    @property
    def end(self) -> int:
        return self.start + len(self.name_colloquial)


def _shot(text: str, *rows: tuple[str, str, str | None, str]) -> tuple[str, tuple[_Shown, ...]]:
    """A diary and its entities; each row: quote, type, label, assertion."""
    return text, tuple(
        _Shown(quote, text.index(quote), EntityType(type), label, Assertion(assertion))
        for quote, type, label, assertion in rows
    )


# Signs of lupus, told indirectly. The labels are of HP:0025300 and HP:0025143; HP:0000992 and HP:0002315.
SHOTS: Final = (
    _shot(
        "Woke up with the red mask again, one hot stripe from cheek to cheek over the bridge of my nose, and "
        "everyone thinks I fell asleep on a beach. No chattering teeth. Plaquenil with breakfast.",
        ("one hot stripe from cheek to cheek over the bridge of my nose", "symptom", "Malar rash", "present"),
        ("chattering teeth", "symptom", "Chills", "absent"),
        ("Plaquenil", "med", None, "present"),
    ),
    _shot(
        "Quarter of an hour pegging out the washing and wherever the daylight touched me it was as if I had been "
        "ironed. I only garden after dusk these days. My sister gets the thumping heads, not me.",
        ("pegging out the washing", "trigger", None, "present"),
        (
            "wherever the daylight touched me it was as if I had been ironed",
            "symptom",
            "Cutaneous photosensitivity",
            "present",
        ),
        ("only garden after dusk", "behavior", None, "present"),
        ("thumping heads", "symptom", "Headache", "other"),
    ),
)
"""Demonstrations: diaries with their entities. No quote of theirs stands in the open test diaries."""


def answer(entities: Iterable[Told]) -> str:
    """What a model is to write: strict, compact JSON, without ids, in the order of the text.

    `name_canonical` is the label of a symptom or laboratory marker that has a term, else the quote.
    """
    ordered = sorted(entities, key=lambda entity: (entity.start, entity.end))
    rows = [dict(zip(_ENTITY_KEYS, _values(entity), strict=True)) for entity in ordered]
    return json.dumps({"entities": rows}, ensure_ascii=False, separators=(",", ":"))


def _values(entity: Told) -> tuple[str, str, str, str]:
    label = entity.hpo_label if entity.type in _WITH_TERMS else None
    return entity.name_colloquial, label or entity.name_colloquial, str(entity.type), str(entity.assertion)


def messages(text: str, shots: bool = True) -> list[dict[str, str]]:
    """The conversation that asks for the entities of a diary: "role" (system, user, assistant) and "content".

    Args:
        text: the diary. What looks like a special token in it loses its "<", one code point for another, so that
            a diary cannot end its own turn; offsets stay as they are.
        shots: with the two demonstrations, or for a model that was trained on the task without.
    """
    turns = [{"role": "system", "content": SYSTEM}]
    for shown, entities in SHOTS if shots else ():
        turns.append({"role": "user", "content": _diary(shown)})
        turns.append({"role": "assistant", "content": answer(entities)})
    return [*turns, {"role": "user", "content": _diary(_MARKER.sub("‹", text))}]


def _diary(text: str) -> str:
    return f"Diary:\n{text}"


def render(messages: Sequence[Mapping[str, str]], system_turn: bool) -> str:
    """The conversation as Gemma reads it, up to the turn that it is to write; without <bos>, which tokenizers add.

    Args:
        messages: as `messages` gives them; for training, append `answer(...)` and `END` to the rendered text.
        system_turn: as Gemma 4 has it (turns end with `END_WITH_SYSTEM`), else as Gemma 3 does (`END`).
    """
    start, end = ("<|turn>", END_WITH_SYSTEM) if system_turn else ("<start_of_turn>", END)
    turns = list(messages) if system_turn else _folded(messages)
    roles = {"assistant": "model"}
    told = [f"{start}{roles.get(t['role'], t['role'])}\n{t['content'].strip()}{end}\n" for t in turns]
    return "".join(told) + f"{start}model\n"


def _folded(messages: Sequence[Mapping[str, str]]) -> list[Mapping[str, str]]:
    """The system text in the first user turn."""
    if not messages or messages[0]["role"] != "system":
        return list(messages)
    system, first, *others = messages
    return [
        {"role": first["role"], "content": f"{system['content'].strip()}\n\n{first['content'].strip()}"},
        *others,
    ]
