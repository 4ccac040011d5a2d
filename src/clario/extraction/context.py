"""Who has it, when, and whether at all: the assertion of a mention, told from the words around it.

After ConText (Harkema, Dowling, Thornblade and Chapman, J Biomed Inform 2009;42:839-851): cues with a side
and a scope, borders that end a scope, and pseudo-cues that look like cues. Diaries differ from clinical notes
in two ways that the rules here follow. A denial passes over light words and enumerations only, because
patients put denials and complaints side by side without stops ("no fever cough worse"). And whose symptom it
is follows the subject of the clause, because relatives report as often as they suffer ("mum says I snore").
"""

import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import NamedTuple

from clario.entities import Assertion
from clario.extraction import context_cues as cues

_SEPARATORS = frozenset({",", "or", "nor", "and", "/", "&", "+"})
_ITEM_ENDS = re.compile(r"[,/&+]|\b(?:or|nor|and)\b")
_COLLECTIVE = frozenset("any denies denied denying without of from".split())  # "without pain and swelling"
_LONGER = frozenset({"more", "longer", "", ".", ",", "!"})  # after "any"
_FAR = 40  # words from a mention to the furthest cue that may speak of it
_BORDER_WORDS = cues.BORDERS | {",", "and"}
_MODALS = frozenset("might may could".split())
_MONTH_BEFORE = frozenset("in since last until til till by from of next".split())


def assertions(text: str, spans: Sequence[tuple[int, int]]) -> list[Assertion]:
    """The assertion of each mention, as docs/ANNOTATION.md defines them; `present` where nothing else is told.

    Args:
        text: one diary.
        spans: (start, end) of each mention, in code points of `text`, `end` exclusive.

    Returns:
        One assertion a span, in the order of `spans`. A span without a word in it is `present`.

    Example:
        >>> assertions("No fever but my mum has a cough", [(3, 8), (25, 30)])
        [<Assertion.ABSENT: 'absent'>, <Assertion.OTHER: 'other'>]
    """
    if not spans:
        return []
    words = cues.Words(text)
    scopes, experiencer = _Scopes(words), _Experiencer(words)
    return [_assertion(scopes, experiencer, *words.touched(start, end)) for start, end in spans]


def _assertion(scopes: "_Scopes", experiencer: "_Experiencer", first: int, last: int) -> Assertion:
    if first >= last:
        return Assertion.PRESENT
    if experiencer.is_other(first, last):
        return Assertion.OTHER
    kinds = scopes.kinds(first, last)
    if "hypothetical" in kinds:
        return Assertion.ABSENT if "answer" in kinds else Assertion.HYPOTHETICAL
    if kinds & {"absent", "normal"}:
        return Assertion.ABSENT
    return Assertion.PAST if "past" in kinds else Assertion.PRESENT


class _Mark(NamedTuple):
    """A cue in a text: words `start` to `end`, the last not included."""

    start: int
    end: int
    cue: cues.Cue


class _Scopes:
    """The cues of a text and which mentions they reach."""

    def __init__(self, words: cues.Words) -> None:
        self._words = words
        borders = [word in _BORDER_WORDS and self._is_border(n) for n, word in enumerate(words.all)]
        self._borders = list(accumulate(borders, initial=0))
        self._marks = self._find(cues.cue_finder())
        self._starts = [mark.start for mark in self._marks]
        self._answers: list[_Mark] | None = None

    def _is_border(self, n: int) -> bool:
        word = self._words.all[n]
        if word in (",", "and"):
            return self._words[n + 1] in cues.SUBJECTS
        return word != "which" or "," not in self._words.all[n + 2 : n + 9]  # ", which nobody expected,"

    def _find(self, finder: cues.CueFinder) -> list[_Mark]:
        return [
            _Mark(start, end, cue)
            for start, end, found in finder.find(self._words.all)
            if not self._is_month(start) and not any(cue.kind == "pseudo" for cue in found)
            for cue in found
        ]

    def _is_month(self, n: int) -> bool:
        words, before = self._words, self._words[n - 1]
        return words[n] == "may" and (before in _MONTH_BEFORE or (words.is_name(n) and before not in (".", "")))

    def kinds(self, first: int, last: int) -> set[cues.Kind]:
        """The kinds of cues that reach the mention of words `first` to `last`."""
        near = slice(bisect_left(self._starts, first - _FAR), bisect_left(self._starts, last + _FAR))
        reaching = [mark for mark in self._marks[near] if self._reaches(mark, first, last)]
        kinds: set[cues.Kind] = {mark.cue.kind for mark in reaching}
        if any(self._overrules_doubt(mark, first, last) for mark in reaching):
            kinds.discard("hypothetical")
        if "absent" in kinds and self._words[last] in ("any", "anymore") and self._words[last + 1] in _LONGER:
            kinds = {"past"}  # "it isn't itchy any more"
        if cues.EXCEPT.intersection(self._words.all[last : last + 3]):
            kinds -= {"absent", "normal"}  # "doesn't hurt unless I run"
        if "hypothetical" in kinds and self._is_answered(last):
            kinds.add("answer")
        return kinds

    def _overrules_doubt(self, mark: _Mark, first: int, last: int) -> bool:
        """ "Could the rash I had at six", "should I worry that there's no pain" """
        if mark.cue.kind == "past":
            return mark.start == last
        return mark.cue.kind == "absent" and mark.end == first and self._words[first - 1] in ("no", "any")

    def _reaches(self, mark: _Mark, first: int, last: int) -> bool:
        if mark.start >= last:
            return mark.cue.side != "before" and self._reaches_back(mark, first, last)
        if mark.start >= first:
            return self._speaks_inside(mark, first, last) if mark.end <= last else self._runs_out(mark, first)
        if mark.cue.side == "after" or self._words.sentence[mark.start] != self._words.sentence[first]:
            return False
        return mark.end > first or self._reaches_forward(mark, first, last)

    def _speaks_inside(self, mark: _Mark, first: int, last: int) -> bool:
        words = self._words.all[first:last]
        if mark.cue.kind == "hypothetical":
            if words[mark.start - first] in _MODALS:
                return True
            opens = mark.start == first or (mark.start == first + 1 and words[0] in cues.FIRST_PERSON)
            return mark.cue.reach == "clause" and opens
        if mark.cue.kind == "past":
            starts = mark.start == first and mark.cue.side == "before" and mark.cue.reach == "clause"
            return (starts or mark.cue.side == "both") and not cues.STILL.intersection(words)
        return mark.cue.kind == "normal" and mark.end == last and not self._is_test(first, last)

    def _runs_out(self, mark: _Mark, first: int) -> bool:
        """ "Fever gone by Sunday", where the mention is "fever gone"; a lost faculty is a complaint."""
        tells = mark.cue.kind == "past" and mark.cue.side == "after" and mark.cue.reach == "near"
        return tells and mark.start == first + 1 and not self._is_faculty(first, mark.start)

    def _reaches_forward(self, mark: _Mark, first: int, last: int) -> bool:
        if mark.cue.reach == "clause":
            return self._borders[mark.end] == self._borders[first]
        gap = self._words.all[mark.end : first]
        if mark.cue.kind == "absent" and self._is_faculty(first, last) and not cues.TROUBLE.intersection(gap):
            return False
        if all(word in cues.DENIAL_FILLERS for word in gap):
            return True
        return mark.cue.reach == "list" and self._is_listed(mark, first, last)

    def _reaches_back(self, mark: _Mark, first: int, last: int) -> bool:
        gap = self._words.all[last : mark.start]
        if mark.cue.kind == "normal":
            return cues.NORMAL_FILLERS.issuperset(gap) and not self._is_test(first, last)
        if self._is_faculty(first, last):
            return False  # "my voice has gone"
        if mark.cue.kind == "absent" and cues.NEGATIONS.intersection(self._words.all[first:last]):
            return False  # "can't sleep, not at all"
        if mark.cue.reach == "clause":
            same = self._words.sentence[last - 1] == self._words.sentence[mark.start]
            return same and self._borders[last] == self._borders[mark.start]
        if mark.cue.reach == "sentence":
            return len(gap) <= 14 and self._follows(mark, last)
        if gap[:1] == ["and"] and len(gap) <= 4 and cues.SUBJECTS.isdisjoint(gap):
            return True  # "sneezing and streaming eyes stopped"
        return len(gap) <= 8 and all(word in cues.AFTER_FILLERS or _is_number(word) for word in gap)

    def _is_test(self, first: int, last: int) -> bool:
        return any(word in cues.TESTS or word[:-1] in cues.TESTS for word in self._words.all[first:last])

    def _is_faculty(self, first: int, last: int) -> bool:
        words = self._words.all[first:last]
        return not cues.FACULTIES.isdisjoint(words) and cues.FACULTY_WORDS.issuperset(words)

    def _is_listed(self, mark: _Mark, first: int, last: int) -> bool:
        """Whether only items of an enumeration lie between a denial and a mention, and an "or" ties them."""
        gap = self._words.all[mark.end : first]
        if not cues.TROUBLE.isdisjoint(gap):
            gap = [word for word in gap if word != "with"]
        ties = [word for word in gap if word in _SEPARATORS]
        if not ties or not cues.LIST_STOPS.isdisjoint(gap):
            return False
        if any(len(item.split()) > 4 for item in _ITEM_ENDS.split(" ".join(gap))):
            return False
        if mark.cue.kind != "absent":
            return ties[-1] != "," or self._tie_follows(last, ("and", "or"))
        if ties[-1] == "and":
            return self._words.all[mark.end - 1] in _COLLECTIVE or "any" in gap
        return ties[-1] in ("or", "nor") or self._tie_follows(last, ("or", "nor"))

    def _tie_follows(self, last: int, ties: tuple[str, str]) -> bool:
        for word in self._words.all[last : last + 12]:
            if word in ties:
                return True
            if word in cues.LIST_STOPS or word in (".", "!", "?"):
                return False
        return False

    def _is_answered(self, last: int) -> bool:
        """Whether a "no" follows what was asked or feared, in its sentence or at the start of the next."""
        if self._answers is None:
            self._answers = self._find(cues.cue_finder(answers=True))
        return any(last <= mark.start < last + 14 and self._follows(mark, last) for mark in self._answers)

    def _follows(self, mark: _Mark, last: int) -> bool:
        """Whether a cue stands in the sentence of the mention before it, or opens the next."""
        sentence = self._words.sentence
        apart = sentence[mark.start] - sentence[last - 1]
        return apart == 0 or (apart == 1 and sentence[mark.start - 1] < sentence[mark.start])


def _is_number(word: str) -> bool:
    return word in cues.NUMBERS or word[0].isdecimal()


_HEADS = cues.KIN | cues.STRANGERS | cues.CROWDS


def _written_forms() -> Iterable[tuple[str, str, bool]]:
    """How a person's word may be written, the word, and whether the form is a possessive (or "is" or "has")."""
    for word in _HEADS:
        for head in (word, word + "-in-law"):
            yield head + "s", word, word not in cues.PLURALS and word + "s" not in _HEADS
            yield head + "'s", word, True
            yield head, word, False


_PERSONS = {form: word for form, word, _ in _written_forms()} | {word: word for word in _HEADS}
_BARE = cues.KIN | cues.CROWDS
_OWNERS = frozenset(form for form, _, owner in _written_forms() if owner)
_PRONOUNS = cues.FIRST_PERSON | cues.THIRD_PERSON | cues.POSSESSIVES
_OPENERS = _PRONOUNS | cues.ARTICLES | cues.TURNS | {"family", "fam"}
_IN_NO_PHRASE = cues.POSSESSIVES | frozenset(", . : and or is was has had".split())


class _Experiencer:
    """Whose story each word tells: somebody else's from the moment a relative is its subject."""

    def __init__(self, words: cues.Words) -> None:
        self._words = words
        self._person = [_PERSONS.get(raw, "") for raw in words.raw]
        self._carer = is_carers(words.all, self._person)
        self._patient = self._patient_kin() if self._carer else ""
        self._other, self._named = [False] * len(words), [False] * len(words)
        self._walk()

    def is_other(self, first: int, last: int) -> bool:
        """Whether the mention of words `first` to `last` is somebody else's."""
        if self._named[first] or any(self._named[first + 1 : min(last, first + 3)]):
            return True
        return self._other[first] and self._words[first - 1] != "my"

    def _patient_kin(self) -> str:
        """In a carer's diary: the word for the patient, where the first sentences name a relative."""
        for n, person in enumerate(self._person[:25]):
            if person in cues.KIN:
                return "" if self._words[n - 1] in ("his", "her", "their") else person
        return ""

    def _walk(self) -> None:
        words, other, relative, done = self._words, False, False, 0
        for at in self._turning_points():
            if at < done:
                continue  # inside a noun phrase
            self._other[done:at] = [other] * (at - done)
            if at and words.sentence[at] != words.sentence[at - 1]:
                other = relative = other and not self._carer and words.all[at] in cues.THIRD_PERSON
            head = self._head(at)
            other, relative = self._turn(at, head, other, relative)
            done = (at if head is None else head) + 1
            self._other[at:done] = [other] * (done - at)
        self._other[done:] = [other] * (len(words) - done)

    def _turning_points(self) -> list[int]:
        """Where the story may turn: at persons, pronouns and the like, and where a sentence begins."""
        sentence = self._words.sentence
        return [
            n
            for n, word in enumerate(self._words.all)
            if word in _OPENERS or self._person[n] or sentence[n] != sentence[n - 1]
        ]

    def _turn(self, at: int, head: int | None, other: bool, relative: bool) -> tuple[bool, bool]:
        """Whether the story is somebody else's from here, and whether a relative is its subject."""
        if head is None:
            return self._after_word(at, other, relative), relative
        verdict = self._role(at, head)
        if verdict is None:
            return other, relative
        self._named[at : head + 1] = [verdict] * (head + 1 - at)
        return verdict, verdict

    def _after_word(self, at: int, other: bool, relative: bool) -> bool:
        word, before = self._words.all[at], self._words[at - 1]
        starts = before in (",", "and") or before in cues.BORDERS
        if word in cues.TURNS or (starts and word in (cues.THIRD_PERSON if self._carer else cues.FIRST_PERSON)):
            return self._carer and self._is_own(at)
        if relative and not self._carer and word in ("he", "she", "hes", "shes"):
            return True
        return other or self._is_family_history(at) or (self._carer and self._is_own(at))

    def _is_family_history(self, at: int) -> bool:
        """ "Family history of", "fam hx:", "runs in the family:" """
        return self._words[at] in ("family", "fam") and self._words[at + 1] in ("history", "hx", ":")

    def _is_own(self, at: int) -> bool:
        """In a carer's diary: the writer tells of a complaint of their own."""
        word, following, then = self._words[at], self._words[at + 1], self._words[at + 2]
        if word == "my":
            return following == "own"
        if word == "mine":
            return self._words[at - 1] in ("do", "does", "did", "are", "is", "were")
        has = word in ("i", "ive", "id") and following in ("have", "had", "got", "get", "caught")
        return has and then not in cues.NOT_OWN and self._words[at + 3] not in cues.LOOKS

    def _head(self, at: int) -> int | None:
        """The head of the noun phrase for a person that begins at a word; None where none begins."""
        word, n = self._words.all[at], at
        if word in cues.POSSESSIVES or word in cues.ARTICLES:
            allowed = cues.KIN if word in cues.POSSESSIVES else cues.STRANGERS
            n = next((n for n in range(at + 1, min(at + 4, len(self._words))) if self._person[n] in allowed), at)
            if n == at or not _IN_NO_PHRASE.isdisjoint(self._words.all[at + 1 : n]):
                return self._named_relative(at)
        elif self._person[n] not in _BARE or self._words[at - 1] in cues.ARTICLES:
            return None
        while self._owns(n) and n + 1 < len(self._words) and self._person[n + 1] in cues.KIN:
            n += 1
        return n

    def _owns(self, n: int) -> bool:
        return self._words.raw[n] in _OWNERS

    def _named_relative(self, at: int) -> int | None:
        """ "Our Frank" """
        ours = self._words.all[at] == "our" and at + 1 < len(self._words) and self._words.is_name(at + 1)
        return at + 1 if ours and not self._carer else None

    def _role(self, at: int, head: int) -> bool | None:
        """True: the person has it; False: only reports, helps or is the patient; None: is not the subject."""
        words, n = self._words, self._skip(head + 1)
        if self._is_patient(at, head):
            return False
        if self._owns(head):
            return self._role_of_owner(at, head, n)
        if words[n] == "who":
            return words[n + 1] not in cues.REPORTS
        if words[at - 1] == "(" and words[n] == ")":
            self._flag_back(at)
            return None
        if not self._is_subject(at, head, n):
            return None
        if self._reports(n):
            told = n + 2 if words[n + 1] in ("me", "us", "that") else n + 1
            return not self._carer and words[told] in ("he", "she", "her", "his", "shes", "hes")
        return True

    def _role_of_owner(self, at: int, head: int, n: int) -> bool | None:
        """ "My aunt's psoriasis", "mum's got gout", "mum's worried" """
        if self._words[at] in cues.ARTICLES or self._person[head] in cues.CROWDS:
            return None
        return None if self._words[at - 1] in ("at", "to", "from", "by") else self._words[n] not in cues.REPORTS

    def _is_subject(self, at: int, head: int, n: int) -> bool:
        words, before = self._words, self._words[at - 1]
        counted = before == "of" and (_is_number(words[at - 2] or "-") or words[at - 2] in ("some", "most", "all"))
        if (before in cues.PREPOSITIONS and not counted) or words[n] in cues.AFTER_OBJECTS:
            return False
        if words[n] in ("", ".", ",", ")", "?", "!", "and", "or"):
            return False
        if self._person[head] in cues.CROWDS and words[head + 1] not in ("in", "at", "on"):
            return False
        if words[at] in cues.ARTICLES or (at == head and self._person[head] in cues.LOOSE):
            return words[n] in cues.HAS and (at < head or before == "and" or not before[:1].isalnum())
        return True

    def _is_patient(self, at: int, head: int) -> bool:
        person, whose = self._person[head], self._words[at]
        if person and self._patient == person and whose not in ("his", "her", "their"):
            return True
        ours = whose in ("my", "our") and not self._patient and not any(map(self._owns, range(at, head)))
        ours = ours and self._words[at + 1] not in cues.ELDER
        return self._carer and ours and person in cues.DEPENDENTS

    def _reports(self, n: int) -> bool:
        following, then = self._words[n], self._words[n + 1]
        if following in cues.REPORTS or then in ('"', "“"):
            return True
        return following in cues.AUXILIARIES and (then in cues.REPORTS or then == "to")

    def _skip(self, n: int) -> int:
        """Past names, ages, places, adverbs and further relatives, to the verb."""
        words = self._words
        end = min(n + 10, len(words))
        while n < end:
            word = words.all[n]
            if word in ("and", ",") and (head := self._head(n + 1) if n + 1 < len(words) else None) is not None:
                n = head + 1
            elif word == "(" and ")" in words.all[n : n + 4]:
                n = words.all.index(")", n) + 1
            elif word in ("in", "at", "on"):
                n += 3 if words[n + 1] in ("my", "the", "our", "his", "her") else 2
            elif word in cues.ADVERBS or words.is_name(n) or self._is_aside(n):
                n += 1
            else:
                break
        return n

    def _is_aside(self, n: int) -> bool:
        return self._words.all[n][0].isdecimal() or self._words.all[n : n + 2] == [",", "who"]

    def _flag_back(self, at: int) -> None:
        """ "Breast cancer (mum)": what stands before the bracket is hers."""
        n = at - 2
        while n >= max(0, at - 12) and self._words.all[n] not in (",", ".", ";", ":", "\n"):
            self._other[n] = True
            n -= 1


def is_carers(words: Sequence[str], persons: Sequence[str]) -> bool:
    """Whether a carer writes: the text opens with a dependant, or tells of he and she more than of I.

    A relative who is no dependant is the patient only where he or she clearly outnumbers I.

    Args:
        words: the words of a diary, in lower case and without apostrophes.
        persons: for each word, the relative or other person that it names, else empty.
    """
    kin = next((n for n, person in enumerate(persons[:12]) if person in cues.KIN), None)
    first = sum(word in cues.FIRST_PERSON and not any(persons[n + 1 : n + 2]) for n, word in enumerate(words))
    third = sum(word in cues.THIRD_PERSON for word in words)
    if any(_tells_age(words, persons, n) for n in range(min(len(words), 12))):
        third += 3
    elif kin is not None:
        third += _weight_of_kin(words, persons, kin, first)
    return third > first


def _weight_of_kin(words: Sequence[str], persons: Sequence[str], n: int, first: int) -> int:
    """How much the first relative named speaks for a carer's diary, in pronouns."""
    if persons[n] in cues.DEPENDENTS and (n == 0 or words[n - 1] in ("my", "our", "little")):
        return 2
    if n <= 1 and not first and len(words) > 15:
        return 1
    return 0 if n and words[n - 1] in ("his", "her") else -2


def _tells_age(words: Sequence[str], persons: Sequence[str], n: int) -> bool:
    """ "She's 4", "my husband is 71" """
    if words[n] not in ("he", "she", "hes", "shes") and persons[n] not in cues.KIN:
        return False
    at = n + 1 + (words[n + 1 : n + 2] == ["is"])
    tells = at > n + 1 or words[n][-1] == "s"
    return tells and at < len(words) and _is_number(words[at])
