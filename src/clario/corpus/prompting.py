"""What a teacher is asked: the style of one diary, drawn from the seed and the profile, and the words for it.

The rules are those of docs/ANNOTATION.md and docs/CORPUS.md, shortened.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from clario.corpus.profiles import Phenotype, Profile
from clario.entities import Assertion, EntityType

# Who writes, about a patient of which age in years; how often.
VOICES: Final = (
    ("the patient, an adult", (18, 85), 10),
    ("the patient, a teenager", (12, 17), 3),
    ("a mother or father, about the child", (0, 11), 6),
    ("a grandparent who looks after the child", (1, 12), 1),
    ("a husband, wife or partner, about the patient", (25, 85), 2),
    ("a grown-up son or daughter, about the parent", (55, 92), 2),
    ("a carer or care worker on shift, about the person in their care", (18, 92), 1),
    ("a brother, sister or friend, about the patient", (14, 60), 1),
)
REGISTERS: Final = (
    ("a plain diary entry", 5),
    ("terse notes, few verbs, no full sentences", 4),
    ("dictated to the phone: run-on, hardly any commas", 3),
    ("typed in a hurry: lower case, typing errors, missing apostrophes", 3),
    ("British, with slang", 3),
    ("American, with slang", 3),
    ("a post in an online forum that asks others", 3),
    ("a text message to a relative or friend", 2),
    ("notes for the next appointment, in the writer's own order", 2),
    ("two or three days in one entry, each with its day or date", 2),
    ("a review of a medicine on a web site", 1),
    ("a list of complaints, one under another", 1),
    ("dry and formal, a person who dislikes a fuss", 1),
    ("somebody whose first language is not English", 1),
)
# Words of the diary, how many phenotypes it tells of, and how often.
LENGTHS: Final = (
    ((12, 29), (2, 2), 3),
    ((30, 59), (2, 4), 6),
    ((60, 95), (3, 5), 5),
    ((96, 150), (3, 6), 2),
)
# How often each is asked for, beside what is present: a little less than in the corpus, since teachers overdo it.
ASSERTIONS: Final = (
    (Assertion.ABSENT, 0.35, "something the patient expressly does not have"),
    (Assertion.PAST, 0.3, "something that is told as over for good"),
    (Assertion.OTHER, 0.15, "a symptom of somebody else, such as a relative"),
    (Assertion.HYPOTHETICAL, 0.15, "something feared, asked about, or only warned of"),
)
TYPES: Final = (
    (EntityType.MED, 0.25, "a medicine by name"),
    (EntityType.LAB_MARKER, 0.2, "a laboratory test or a measured value"),
    (EntityType.TRIGGER, 0.2, "what brings a symptom on"),
    (EntityType.BEHAVIOR, 0.2, "what the person does or gives up because of it"),
)
# Disorders whose patients are no grown-ups, as far as their names tell.
_OF_CHILDREN: Final = re.compile(r"\b(neonatal|perinatal|infantile|childhood|juvenile|lethal)\b", re.IGNORECASE)
BLANK: Final = 0.03  # share of diaries that tell of no symptom
_GROWN_UP: Final = 18  # years
_EXTRAS: Final = 3  # assertions and types asked for at most; one in the shortest diaries
_DEFINITION: Final = 160  # code points

SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {
        "text": {"type": "string"},
        "entities": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "quote": {"type": "string"},
                    "type": {"type": "string", "enum": [str(t) for t in EntityType]},
                    "assertion": {"type": "string", "enum": [str(a) for a in Assertion]},
                    "name": {"type": "string"},
                },
                "required": ["quote", "type", "assertion", "name"],
                "additionalProperties": False,
            },
        },
    },
    "required": ["text", "entities"],
    "additionalProperties": False,
}
"""What servers are asked to keep to. Flat and without limits: what all of them understand."""

EXAMPLE: Final = (
    "Third pair of school shoes since Easter, he wears the toes through. Stairs are a bum shuffle now. "
    "Calves like a rugby player's on a boy of six! No fits, thank God, his cousin has those."
)
_EXAMPLE_ENTITIES: Final = (
    ("wears the toes through", EntityType.SYMPTOM, Assertion.PRESENT, "Tip-toe gait"),
    ("Stairs are a bum shuffle now", EntityType.SYMPTOM, Assertion.PRESENT, "Difficulty climbing stairs"),
    ("Calves like a rugby player's", EntityType.SYMPTOM, Assertion.PRESENT, "Calf muscle pseudohypertrophy"),
    ("fits", EntityType.SYMPTOM, Assertion.ABSENT, "Seizure"),
    ("those", EntityType.SYMPTOM, Assertion.OTHER, "Seizure"),
)

SYSTEM: Final = f"""You write diaries of patients in their own everyday words, and annotate what you wrote.

The diary
- sounds like a real person who is no clinician. No medical vocabulary for what is felt or seen: tell it by what \
happens ("the buttons beat me again", "he sleeps with one eye half open"). Prefer indirect wording.
- never names the disorder, and never says that there is one with a name.
- holds concrete everyday detail, no stock phrases, no moral at the end, no greeting unless the form has one, \
no words of the examples here.

The entities: everything in the diary that a careful clinician would note down, one object each.
- quote: the shortest contiguous stretch of the diary that expresses it, copied to the letter.
- type: symptom (an abnormal phenomenon, sign or finding), lab_marker (a named test or measured value), med (a \
drug as named), trigger (what brings a symptom on or makes it worse), behavior (what the person does or gives \
up because of the illness).
- assertion: present (now, or again and again), past (over long ago), absent (denied; the quote leaves the "no" \
out), other (somebody else has it), hypothetical (feared, asked about, possible).
- name: of a symptom, the phenotype's medical name: the one given to you, else the label that the Human Phenotype \
Ontology has for it; no more specific than the diary. Of a lab_marker, likewise if it is abnormal. Otherwise "". \
No identifiers.
The same thing told twice is one entity. A wish or a mood about life is none.

Answer with one JSON object, {{"text": ..., "entities": [{{"quote", "type", "assertion", "name"}}, ...]}}, and \
nothing else. For example:
{
    json.dumps(
        {
            "text": EXAMPLE,
            "entities": [
                dict(zip(("quote", "type", "assertion", "name"), e, strict=True)) for e in _EXAMPLE_ENTITIES
            ],
        }
    )
}
"""


@dataclass(frozen=True, slots=True)
class Style:
    """How one diary is to be: who writes about whom and how, and what it tells of.

    `words` are the fewest and the most; `tell` phenotypes of the profile; `extras` what else is asked for, in
    words. A `blank` diary tells of no symptom, and has no `tell`.
    """

    voice: str
    age: int
    register: str
    words: tuple[int, int]
    tell: tuple[Phenotype, ...]
    extras: tuple[str, ...]
    blank: bool


def style(profile: Profile, seed: int) -> Style:
    """The style of the diary of a profile with a seed: same arguments, same style."""
    chance = Random(f"{seed} {digest(profile)}")
    blank = chance.random() < BLANK
    voices = [row for row in VOICES if row[1][1] < _GROWN_UP] if _OF_CHILDREN.search(profile.name) else VOICES
    voice, ages, _ = chance.choices(voices, [row[-1] for row in voices])[0]
    register, _ = chance.choices(REGISTERS, [row[-1] for row in REGISTERS])[0]
    words, phenotypes, _ = chance.choices(LENGTHS, [row[-1] for row in LENGTHS])[0]
    age, number = chance.randint(*ages), min(chance.randint(*phenotypes), len(profile.phenotypes))
    wanted = [in_words for _, share, in_words in (*ASSERTIONS, *TYPES) if chance.random() < share]
    chance.shuffle(wanted)
    extras = wanted[: 1 if words == LENGTHS[0][0] else _EXTRAS]
    tell = () if blank else tuple(chance.sample(profile.phenotypes, number))
    return Style(voice, age, register, words, tell, () if blank else tuple(extras), blank)


def digest(profile: Profile) -> str:
    """SHA-256 of what a profile says, in hexadecimal digits."""
    terms = [[phenotype.hpo_id, phenotype.label] for phenotype in profile.phenotypes]
    return hashlib.sha256(json.dumps([profile.disease, profile.name, terms]).encode()).hexdigest()


def messages(
    profile: Profile, style: Style, definitions: Mapping[str, str], reasons: Sequence[str] = ()
) -> list[dict[str, str]]:
    """What the teacher is asked.

    Args:
        definitions: of terms by HPO id; the model sees them, and no ids.
        reasons: why its answers so far were refused.
    """
    parts = [_about(style), _blank(profile) if style.blank else _told(profile, style, definitions)]
    if reasons:
        parts.append("Answers so far were refused:\n" + _listed(reasons) + "\nWrite a new diary.")
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": "\n\n".join(parts)}]


def prompt_digest(messages: Sequence[Mapping[str, str]]) -> str:
    """SHA-256 of messages and schema, in hexadecimal digits."""
    return hashlib.sha256(json.dumps([list(messages), SCHEMA], sort_keys=True).encode()).hexdigest()


def _about(style: Style) -> str:
    age = f"{style.age} years old" if style.age else "a baby of a few months"
    return (
        f"Write one diary of {style.words[0]} to {style.words[1]} words.\n"
        f"Writer: {style.voice}. The patient is {age}.\nForm: {style.register}."
    )


def _told(profile: Profile, style: Style, definitions: Mapping[str, str]) -> str:
    named = [_named(p, definitions.get(p.hpo_id, "")) for p in style.tell]
    others = [p.label for p in profile.phenotypes if p not in style.tell]
    lines = ["It tells of these, each in lay words and as fits the age:", _listed(named)]
    if others:
        lines.append(f"Names of others, should they come up: {'; '.join(others)}.")
    if style.extras:
        lines += ["Also in it, once each:", _listed(style.extras)]
    lines.append(f"The disorder behind it, never to be named: {profile.name}.")
    return "\n".join(lines)


def _blank(profile: Profile) -> str:
    return (
        "Today it tells of an ordinary day: errands, people, food, an appointment that only changed its date. No "
        "symptom of anybody is told, denied or feared; the entities are an empty list, or the medicines named.\n"
        f"The disorder behind it, never to be named: {profile.name}."
    )


def _named(phenotype: Phenotype, definition: str) -> str:
    definition = " ".join(definition.split())
    if len(definition) > _DEFINITION:
        definition = definition[:_DEFINITION].rsplit(" ", 1)[0] + " ..."
    return f"{phenotype.label}: {definition}" if definition else phenotype.label


def _listed(items: Sequence[str]) -> str:
    return "\n".join(f"- {item}" for item in items)
