"""Decoding that cannot lie: which tokens may come next, so that every answer parses and every quote stands there.

What may be written, byte by byte, is a set of branches, each a small state; a token may be written if its bytes
lead on from a branch. The skeleton, types and assertions are forced. A quote begins and ends with words of the
diary, and quotes keep to its order, which also tells of several places the one that is meant. A name is one of the
ontology, or the quote again; a name that is no quote makes a symptom or a laboratory marker. Whoever knows more of
a quote may narrow its names to candidates.

Where the tokens of the answer run out, only those stay allowed from which the shortest end is still in reach,
counted in bytes: each byte has a token of its own.
"""

import json
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clario.entities import Assertion, EntityType
from clario.extraction.prompt import LONGEST_NAME, LONGEST_QUOTE, MOST_ENTITIES, SCHEMA
from clario.extraction.quotable import Text, escaped
from clario.extraction.vocabulary import Trie, Vocabulary

Tokens = NDArray[np.int64]
RESERVE: Final = 160
"""Tokens that must be left for another entity to begin; one of the corpus takes about 40."""
_SAME_START: Final = 2  # entities that begin at one place: no diary of the corpus has more, and loops end
_MOST_CACHED: Final = 200_000  # states

_SKELETON, _BEFORE_QUOTE, _QUOTE, _NAME, _COPY, _END = range(6)  # kinds of branches
_START, _START_EMPTY, _KEY, _TYPE_ANY, _TYPE_TERM, _ASSERT, _NEXT, _NEXT_LAST = range(8)  # parts of the skeleton
_INTO_QUOTE, _INTO_NAME, _INTO_ASSERT, _INTO_NEXT, _INTO_END = range(5)  # what follows a part
_CLOSE: Final = 0x22  # the quotation mark that ends a string

_WITH_TERMS: Final = (EntityType.SYMPTOM, EntityType.LAB_MARKER)

Span = tuple[int, int]
Narrow = Callable[[Span], Collection[str]]
"""Gives the names that a quote may have; none for all."""


class Branch(NamedTuple):
    """A way in which the answer may go on.

    `place` is a node of a part of the skeleton or of the names, or a byte of the text; `origin` the part of the
    skeleton, or the byte where the quote began; `past` the places of the quotes so far, in code points.
    """

    kind: int
    place: int
    origin: int
    past: tuple[Span, ...]


class Written(NamedTuple):
    """An entity of an answer: `sure` are the probabilities of the tokens that chose its name and type."""

    start: int
    end: int
    name: str
    type: EntityType
    assertion: Assertion
    sure: tuple[float, ...]


class Allowed(NamedTuple):
    """Tokens, how many more the answer takes at least after each, and where tokens reach words of the diary: nodes
    of the vocabulary's tree, each with the kind of branch.
    """

    tokens: Tokens
    costs: Tokens
    gates: tuple[tuple[int, int], ...]


class Part:
    """A part of the skeleton: texts of which one is to be written, each with what follows it."""

    def __init__(self, texts: dict[str, int], costs: dict[int, int]) -> None:
        encoded = {text.encode(): follows for text, follows in texts.items()}
        ordered = sorted(encoded)
        self.trie = Trie({text: number for number, text in enumerate(ordered)})
        self.follows = [encoded[text] for text in ordered]
        self.costs: dict[int, int] = {}
        """By node: bytes until the end of the answer, on the shortest way."""
        self._measure(0, costs)

    def _measure(self, node: int, costs: dict[int, int]) -> int:
        number = self.trie.value[node]
        if number >= 0:
            cost = costs[self.follows[number]]
        else:
            cost = 1 + min(self._measure(child, costs) for child in self.trie.children(node).values())
        self.costs[node] = cost
        return cost


class Constraint:
    """The rules for one tokenizer and one ontology; `writer` applies them to a diary.

    Args:
        vocabulary: of the tokenizer.
        names: of the ontology; those too long for the schema are left out.
    """

    def __init__(self, vocabulary: Vocabulary, names: Iterable[str]) -> None:
        self.vocabulary = vocabulary
        self.names = _tree(names)
        self.parts = self._parts()
        self.cached: dict[tuple[int, int, int, bool, bool], Allowed] = {}
        """What states allow in which no word of a diary is written, whichever diary they were met in."""

    def _parts(self) -> list[Part]:
        quote, name, kind, state = (f'"{key}":"' for key in SCHEMA["properties"]["entities"]["items"]["required"])
        costs = {_INTO_END: 1, _INTO_QUOTE: RESERVE}
        after = [Part({f",{{{quote}": _INTO_QUOTE, "]}": _INTO_END}, costs), Part({"]}": _INTO_END}, costs)]
        costs[_INTO_NEXT] = after[0].costs[0]
        told = Part({f'{assertion}"}}': _INTO_NEXT for assertion in Assertion}, costs)
        costs[_INTO_ASSERT] = told.costs[0]
        types = [
            Part({f',{kind}{t}",{state}': _INTO_ASSERT for t in of}, costs) for of in (EntityType, _WITH_TERMS)
        ]
        costs[_INTO_NAME] = self.names.to_end[0] + 1 + types[1].costs[0]
        head = '{"entities":['
        start = {f"{head}{{{quote}": _INTO_QUOTE, f"{head}]}}": _INTO_END}
        begins = [Part(start, costs), Part({f"{head}]}}": _INTO_END}, costs)]
        return [*begins, Part({f",{name}": _INTO_NAME}, costs), *types, told, *after]

    @property
    def least(self) -> int:
        """The fewest tokens that an answer may be limited to."""
        return self.parts[_START].costs[0]

    def writer(self, text: str, limit: int, narrow: Narrow | None = None) -> "Writer":
        """The answer about a text, yet to be written, in at most `limit` tokens, that of the end included.

        Args:
            narrow: tells the names that each quote may have, by its place in code points.

        Raises:
            ValueError: `limit` is below `least`.
        """
        if limit < self.least:
            raise ValueError(f"an answer takes at least {self.least} tokens")
        spare = RESERVE - 1 - self.parts[_KEY].costs[0]
        return Writer(self, Text(text, spare), limit, narrow)


class Writer:
    """An answer while it is written: `allowed` tells the next tokens, `write` takes one of them."""

    def __init__(self, constraint: Constraint, text: Text, limit: int, narrow: Narrow | None = None) -> None:
        self._rules, self._text, self.left, self._narrow = constraint, text, limit, narrow
        self._narrowed: dict[tuple[Span, ...], Trie] = {}
        self._quotes: dict[Branch, Allowed] = {}
        self._sure: dict[int, list[float]] = {}
        self.output = bytearray()
        self.done = False
        self.cut: int | None = None
        """The entity, from 0 on, at which the limit began to take choices away; None where it did not."""
        self._branches = [Branch(_SKELETON, 0, _START_EMPTY if self._full(()) else _START, ())]

    def allowed(self) -> Tokens:
        """The ids of the tokens that may be written next, each once; none when the answer is done."""
        if self.done:
            return np.empty(0, np.int64)
        found = [self._fitting(branch, self._allowed(branch)) for branch in self._branches]
        if len(found) == 1:
            return found[0]
        together = np.sort(np.concatenate(found))
        return together[_changes(together)]

    def write(self, token: int, probability: float = 1.0) -> None:
        """Take one of the allowed tokens; `probability` is what the model gave it among them.

        Raises:
            ValueError: the token is not allowed.
        """
        self.left -= 1
        if token in self._rules.vocabulary.ends and self._branches[0].kind == _END:
            self.done = True
            return
        entity, chosen = len(self._branches[0].past) - 1, self._branches[0].kind in (_NAME, _COPY)
        branches, content = self._branches, self._rules.vocabulary.content.get(token, b"")
        for byte in content:
            chosen = chosen or any(map(self._chooses_type, branches))
            branches = self._merged(after for one in branches for on, after in self._moves(one) if on == byte)
        if not content or not branches:
            raise ValueError("this token is not allowed here")
        self._branches = branches
        self.output += content
        if chosen:
            self._sure.setdefault(entity, []).append(probability)

    def entities(self) -> list[Written]:
        """What a finished answer tells, without what the limit forced upon it; what is told twice, once."""
        rows = json.loads(self.output)["entities"][: self.cut]
        told = dict[tuple[object, ...], Written]()
        for number, ((start, end), row) in enumerate(zip(self._branches[0].past, rows, strict=False)):
            kind, name = EntityType(row["type"]), row["name_canonical"]
            sure = tuple(self._sure.get(number, ()))
            one = Written(start, end, name, kind, Assertion(row["assertion"]), sure)
            told.setdefault((start, end, kind, name), one)
        return list(told.values())

    # Tokens of a branch

    def _fitting(self, branch: Branch, one: Allowed) -> Tokens:
        """The tokens after which the end is still in reach."""
        fits = one.costs < self.left
        if fits.all():
            return one.tokens
        if self.cut is None:
            between = branch.kind in (_BEFORE_QUOTE, _QUOTE, _END) or branch.origin in (_START, _NEXT)
            self.cut = len(branch.past) - (not between)
        return one.tokens[fits]

    def _allowed(self, branch: Branch) -> Allowed:
        if branch.kind == _END:
            ends = self._rules.vocabulary.ends
            return Allowed(ends, np.zeros(len(ends), np.int64), ())
        if branch.kind == _BEFORE_QUOTE:
            starts = [self._text.byte[place] for place in self._starts(branch.past)]
            return _united([self._of_quote(Branch(_QUOTE, byte, byte, ())) for byte in starts])
        if branch.kind in (_QUOTE, _COPY) or (branch.kind == _NAME and self._narrow):
            return self._of_quote(branch)
        key = branch.kind, branch.place, branch.origin, self._full(branch.past), self._narrow is not None
        cached = self._rules.cached
        if key not in cached:
            if len(cached) >= _MOST_CACHED:
                cached.clear()
            found, gates = dict[int, int](), list[tuple[int, int]]()
            self._walk(0, branch, found, gates)
            cached[key] = _gathered(found, gates)
        one = cached[key]
        return self._through_gates(one, branch.past) if one.gates else one

    def _of_quote(self, branch: Branch) -> Allowed:
        if branch not in self._quotes:
            found = dict[int, int]()
            self._walk(0, branch, found, None)
            self._quotes[branch] = _gathered(found, ())
        return self._quotes[branch]

    def _through_gates(self, one: Allowed, past: tuple[Span, ...]) -> Allowed:
        """What a state allows in any diary, and its tokens that end within words of this one."""
        found = dict(zip(one.tokens.tolist(), one.costs.tolist(), strict=True))
        for node, kind in one.gates:
            for branch in self._after(_INTO_QUOTE if kind == _BEFORE_QUOTE else _INTO_NAME, past):
                if branch.kind == kind:
                    self._found(node, branch, found)
                    self._walk(node, branch, found, None)
        return _gathered(found, ())

    def _walk(self, node: int, branch: Branch, found: dict[int, int], gates: list[tuple[int, int]] | None) -> None:
        """Collect the tokens below a tree node that lead on from a branch, each with its least cost.

        With `gates`, stop where the words of this diary begin, and collect those places, too. Without, stop where
        another entity's quote would begin: no token has so many keys in it.
        """
        trie = self._rules.vocabulary.trie
        children = trie.children(node)
        for byte, after in self._moves(branch) if children else ():
            child = children.get(byte)
            if child is None:
                continue
            words = after.kind == _BEFORE_QUOTE or (branch.kind == _SKELETON and self._is_of_diary(after))
            if words and gates is not None:  # what the rest costs is of this diary, too
                gates.append((child, after.kind))
                continue
            self._found(child, after, found)
            if after.kind != _BEFORE_QUOTE:
                self._walk(child, after, found, gates)

    def _found(self, node: int, branch: Branch, found: dict[int, int]) -> None:
        """Collect the token that ends at a tree node, if one does, where it leads to a branch."""
        token = self._rules.vocabulary.trie.value[node]
        if token >= 0:
            cost = self._cost(branch)
            found[token] = min(cost, found.get(token, cost))

    def _is_of_diary(self, branch: Branch) -> bool:
        """Whether a branch writes what other diaries do not know."""
        return branch.kind == _COPY or (branch.kind == _NAME and self._narrow is not None)

    def _names(self, past: tuple[Span, ...]) -> Trie:
        """The names that the last quote may have. Near the limit all of them, so that a short one is among them;
        that is settled once for each entity, when its name is about to begin.
        """
        if self._narrow is None:
            return self._rules.names
        if past not in self._narrowed:
            names = self._narrow(past[-1]) if self.left > 2 * RESERVE else ()
            short = [name for name in names if len(escaped(name)) < RESERVE]
            self._narrowed[past] = _tree(short) if short else self._rules.names
        return self._narrowed[past]

    # The rules

    def _moves(self, branch: Branch) -> Iterator[tuple[int, Branch]]:
        """The bytes that may come next, each with where it leads."""
        kind, place, origin, past = branch
        if kind == _SKELETON:
            part = self._rules.parts[origin]
            for byte, node in part.trie.children(place).items():
                if part.trie.value[node] < 0:
                    yield byte, Branch(_SKELETON, node, origin, past)
                else:
                    yield from ((byte, after) for after in self._after(part.follows[part.trie.value[node]], past))
        elif kind == _NAME:
            trie = self._names(past)
            for byte, node in trie.children(place).items():
                yield byte, Branch(_NAME, node, 0, past)
            if trie.value[place] >= 0:
                yield _CLOSE, Branch(_SKELETON, 0, _TYPE_TERM, past)
        elif kind == _COPY:
            if place < self._text.byte[past[-1][1]]:
                yield self._text.data[place], Branch(_COPY, place + 1, 0, past)
            else:
                yield _CLOSE, Branch(_SKELETON, 0, _TYPE_ANY, past)
        elif kind != _END:
            yield from self._moves_of_quote(branch)

    def _moves_of_quote(self, branch: Branch) -> Iterator[tuple[int, Branch]]:
        text, (kind, place, origin, past) = self._text, branch
        if kind == _BEFORE_QUOTE:
            for byte in (text.byte[start] for start in self._starts(past)):
                yield text.data[byte], Branch(_QUOTE, byte + 1, byte, past)
            return
        here, start = text.place.get(place), text.place[origin]
        if here is not None and here > start and text.ends[here]:
            yield _CLOSE, Branch(_SKELETON, 0, _KEY, (*past, (start, here)))
        if here is None or text.reaches(here + 1, start + LONGEST_QUOTE):
            yield text.data[place], Branch(_QUOTE, place + 1, origin, past)

    def _after(self, follows: int, past: tuple[Span, ...]) -> list[Branch]:
        """The branches after a part of the skeleton."""
        if follows == _INTO_QUOTE:
            return [Branch(_BEFORE_QUOTE, 0, 0, past)]
        if follows == _INTO_NAME:
            start, end = past[-1]
            copy = [Branch(_COPY, self._text.byte[start], 0, past)] if end - start <= LONGEST_NAME else []
            return [Branch(_NAME, 0, 0, past), *copy]
        if follows == _INTO_ASSERT:
            return [Branch(_SKELETON, 0, _ASSERT, past)]
        if follows == _INTO_NEXT:
            return [Branch(_SKELETON, 0, _NEXT_LAST if self._full(past) else _NEXT, past)]
        return [Branch(_END, 0, 0, past)]

    def _cost(self, branch: Branch) -> int:
        """Tokens that the shortest end of the answer takes, if each byte takes one."""
        kind, place, origin, past = branch
        parts = self._rules.parts
        if kind == _SKELETON:
            return parts[origin].costs[place]
        if kind == _NAME:
            return self._names(past).to_end[place] + 1 + parts[_TYPE_TERM].costs[0]
        if kind == _COPY:
            return self._text.byte[past[-1][1]] - place + 1 + parts[_TYPE_ANY].costs[0]
        if kind == _QUOTE:
            return self._text.bytes_to_end(place) + 1 + parts[_KEY].costs[0]
        return RESERVE if kind == _BEFORE_QUOTE else 1

    def _full(self, past: tuple[Span, ...]) -> bool:
        """Whether there can be no entity more."""
        starts = self._text.starts
        return len(past) >= MOST_ENTITIES or not starts or starts[-1] < _least_start(past)

    def _starts(self, past: tuple[Span, ...]) -> list[int]:
        starts = self._text.starts
        return starts[bisect_left(starts, _least_start(past)) :]

    def _chooses_type(self, branch: Branch) -> bool:
        typing = branch.kind == _SKELETON and branch.origin in (_TYPE_ANY, _TYPE_TERM)
        return typing and len(self._rules.parts[branch.origin].trie.children(branch.place)) > 1

    @staticmethod
    def _merged(branches: Iterable[Branch]) -> list[Branch]:
        """Each state once: of several places of a quote, the first that was not quoted yet, else the first."""
        found = dict[tuple[int, int, int], Branch]()
        for one in branches:
            state = one.kind, one.place, one.origin
            other = found.get(state)
            if other is None or (other.past[-1] in other.past[:-1] and one.past[-1] not in one.past[:-1]):
                found[state] = one
        return list(found.values())


def _tree(names: Iterable[str]) -> Trie:
    """Names as they stand in JSON; those too long for the schema are left out."""
    kept = dict.fromkeys(escaped(name) for name in names if 0 < len(name) <= LONGEST_NAME)
    return Trie({name: number for number, name in enumerate(kept)})


def _least_start(past: tuple[Span, ...]) -> int:
    """Where the next quote may begin: quotes keep to the order of the text."""
    if not past:
        return 0
    start = past[-1][0]
    return start + 1 if [one[0] for one in past[-_SAME_START:]] == [start] * _SAME_START else start


def _gathered(found: dict[int, int], gates: Iterable[tuple[int, int]]) -> Allowed:
    tokens, costs = (np.fromiter(values, np.int64, len(found)) for values in (found.keys(), found.values()))
    return Allowed(tokens, costs, tuple(gates))


def _united(several: list[Allowed]) -> Allowed:
    """The tokens of several states, each once, with the least of its costs."""
    tokens, costs = (np.concatenate([one[column] for one in several]) for column in (0, 1))
    order = np.lexsort((costs, tokens))
    first = _changes(tokens[order])
    return Allowed(tokens[order][first], costs[order][first], ())


def _changes(ordered: Tokens) -> NDArray[np.bool_]:
    """Where a sorted array has a new value; faster than `np.unique` at these sizes."""
    return np.concatenate([[True], ordered[1:] != ordered[:-1]]) if len(ordered) else np.zeros(0, np.bool_)
