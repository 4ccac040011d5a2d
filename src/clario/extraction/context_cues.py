"""What the assertion rules of `context` know of lay English: the words of a text, cue phrases and word lists.

The phrases stand in data/context_cues.txt. Words are lower case and without apostrophes ("havent"), so that
typed and missing apostrophes are one. In a phrase `(a|b|)` is a choice that may be empty, `_` any word, `#` a
number, `@` a year, a last `$` asks for the end of the clause, `{NOT}` and its like stand for the macros below.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import accumulate
from threading import Lock
from typing import Literal, cast

from clario.ontology.normalize import unwrap

Kind = Literal["pseudo", "normal", "absent", "past", "hypothetical", "answer"]
Side = Literal["before", "after", "both"]
Reach = Literal["near", "list", "clause", "sentence"]


@dataclass(frozen=True, slots=True)
class Cue:
    """What a phrase means, on which side of a mention it stands, and how far it reaches.

    `near` passes over light words only, `list` over an enumeration too, `clause` up to the next border,
    `sentence` over the sentence and from the start of the next one. A `pseudo` cue means nothing: it keeps a
    shorter cue inside it from speaking. `normal` says that all is well ("eyes fine"). An `answer` counts after
    what was asked or feared only.
    """

    kind: Kind
    side: Side
    reach: Reach


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_MACROS = {
    "NOT": "(not|{NT})",
    "NT": "(isnt|arent|wasnt|werent|aint|dont|doesnt|didnt|havent|hasnt|hadnt)",
    "CANT": "(cant|cannot|couldnt|can not|could not|wont|unable to)",
    "OVER": "(healed|cleared|settled|resolved|passed|vanished|disappeared|faded|mended|subsided)",
    "CLOSED": "(stitched|sewn|sewed|closed|operated|repaired|tied off|taken out|removed|cut out|tucked|drained)",
    "WHEN": "(after|by|in|within|inside|when|with|once|overnight|since|at|the next day|as soon)",
    "KID": (
        "(kid|child|baby|boy|girl|lad|lass|toddler|newborn|teenager|teen|student|bairn|infant|youngster|tot"
        "|little one|little girl|little boy|young man|young woman)"
    ),
    "SMALL": "(#|little|small|tiny|young|younger|born|newborn|pregnant|expecting|carrying|{KID})",
    "SEASON": "(year|winter|summer|spring|autumn|fall)",
    "FEAR": (
        "(worried|worry|worrying|scared|scares|terrified|afraid|frightened|frightens|fear|fears|feared"
        "|dread|dreading|petrified|panicking)"
    ),
    "CHECK": (
        "(check|checking|checked|checks|test|testing|tested|tests|screen|screened|scan|looked|looking"
        "|assess|assessed|investigate|investigated|treated)"
    ),
    "HAS": "(has|have|had|hes had|shes had|ive had)",
    "THAT": "(that|thats|it|its|this|they|theyre|those|these|which)",
    "OFF": "(stopped|binned|quit|ditched|packed in|came off)",
}

# Light words that a denial passes over: "no real sign of", "havent had any".
DENIAL_FILLERS = _words("""
    a an any the my his her your our their much many real really very too so that this these those all even
    ever been be being have has had having got get gets getting feel feels feeling felt look looks looked
    seem seems experience experienced suffer suffered suffering from of notice noticed show shown signs
    sign trace single more other further new bad big major obvious actually exactly in at bit sort kind
    proper such either one me him them us give gave given cause caused run ran running spotted to he she i
    with trouble problem problems probs issues bother
""")
TROUBLE = _words("trouble problem problems probs issues bother")
# Light words between a mention and what is said of it: "the rash, it has all".
AFTER_FILLERS = _words("""
    : - – — , ; . ? ! ( ) … and but though tho then that thats this these those it its they theyre both all
    is are was were s has have had hes shes been completely totally finally now just soon quickly
    thankfully luckily since itself lot by pretty much perfectly still seems seem look looks also always
    even thank god after a few couple the next day at last within days weeks hours minutes mins secs
    seconds when i for so far too
""")
NORMAL_FILLERS = _words("""
    is was are were s all still both look looks perfectly been has have absolutely seem seems
""")
# A test that came back fine is still a test that was done.
TESTS = _words("""
    ecg ekg eeg echo tsh b12 calcium iron ferritin hba1c bloods blood sugar temp temperature weight bp
    pressure pulse sats level levels test tests scan mri ct xray x-ray hb thyroid potassium sodium vitamin
    crp esr tracing
""")
# A function that is denied or gone is itself the complaint: "not sleeping", "voice gone".
FACULTIES = _words("""
    eat eats eating sleep sleeping sleeps walk walks walking talk talks talking hear hears hearing see sees
    seeing feel feeling sight vision voice taste smell appetite memory strength energy confidence hair
    speech balance breath breathe breathing swallow swallowing speak speaks speaking move moving grow grows
    growing concentrate concentrating focus stand crawl crawling babble babbling smile smiling drink
    drinking pee peeing poo pooing respond responding periods period libido
""")
FACULTY_WORDS = FACULTIES | (DENIAL_FILLERS - TROUBLE)
NEGATIONS = _words("""
    no not never cant cannot couldnt wont wouldnt isnt arent wasnt werent dont doesnt didnt havent hasnt
    hadnt
""")
# The complaint is still there: "used to be able to, now".
STILL = _words("now still anymore gone")
EXCEPT = _words("unless except apart bar")

# After a `$` one of these must follow.
STOPS = frozenset([*".,?!;:()-–—…", "but", "though", "tho", "and", "so", "thank"])
# A new clause begins: cues that reach through a clause end here.
BORDERS = _words("""
    but however although though tho because cos cuz coz so which except apart while whereas ; - – — ( ) :
    then until til till thankfully luckily otherwise instead yet / now when since after
""")
# Words that begin a new clause after a comma or "and".
SUBJECTS = _words("""
    i im ive id ill my me he hes she shes it its they theyre we were you the this that theres there his her
    their our now then still just had got no not never have has am is was feel feeling very really slept
    took woke went
""")
# Inside an enumeration ("no fever, chills or rash") none of these may stand.
LIST_STOPS = (
    (SUBJECTS - _words("the my his her no not never had have feel feeling"))
    | BORDERS
    | _words("""
    with are were does do did keep keeps kept before if for by as again today yesterday tonight only bad
    worse worst day night who what how where why
""")
)
NUMBERS = _words("""
    one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
    seventeen eighteen nineteen twenty thirty forty fifty
""")

KIN = _words("""
    mum mom mam mama mummy mommy mammy mother dad daddy father pa papa pop parents brother bro brothers
    sister sis sisters sibling siblings nan nana nanna gran grandma granny grannie grandmother nonna ouma
    grandad granddad grandpa grandfather grampa gramps oupa aunt aunts auntie aunty uncle uncles cousin
    cousins nephew niece husband wife hubby partner boyfriend girlfriend fiance fiancee son sons daughter
    daughters kids children boy girl lad baby toddler twin twins grandson granddaughter grandkids stepdad
    stepmum ex neighbour neighbor friend mate colleague flatmate roommate boss dd ds dh mil fil relatives
""")
DEPENDENTS = _words("son daughter boy girl lad baby toddler child grandson granddaughter dd ds newborn")
# "a man at work", "everyone in my office": people who need no possessive.
STRANGERS = _words("""
    man woman lady bloke guy girl boy lad friend mate colleague neighbour neighbor kid child cousin
""")
CROWDS = _words("someone somebody everyone everybody")
# Words that alone need not mean a relative: "everyone sounds far away", "baby cheeks".
LOOSE = CROWDS | (STRANGERS - {"cousin"}) | _words("kids children baby toddler pop mama papa pa twin ex")
# What a relative does who reports, helps or looks on, and does not suffer.
REPORTS = _words("""
    says say said saying tells tell told telling noticed notices notice thinks think thought reckons reckon
    reckoned swears swore asks ask asked asking insists insisted calls call called found finds saw sees
    seen spotted spots heard hears watched watches counted filmed made makes make took takes take drove
    drives helped helps help rubs rubbed massages brought brings bought buys gave gives give put puts wants
    want wanted worries worried keeps read reads looked looks checked checks wont let lets does rang rings
    phoned texted drags dragged forced shook carried carries holds pulled woke wakes caught cooked cooks
    sent jokes joked laughs laughed moans complained complains reminds reminded shouted shouts moved
    mentioned mentions pointed convinced persuaded believes suggested knows knew came comes visited joined
    married left booked stays sat sits googled nags hates loves tried tries cut washes dresses feeds fed
    lifts lifted pushed picked picks tucked wondered wonders confirms confirmed described describes blames
    remembers recalls claims agrees lies sure scared driving taking sick bringing making coming adamant
    certain
""")

FIRST_PERSON = _words("i im ive id ill my me mine myself")
THIRD_PERSON = _words("he hes hell hed she shes shell his her him hers himself herself")
# The story turns back to the patient.
TURNS = _words("i im ive id ill we mine but so because cos ; however although though while")
POSSESSIVES = _words("my our his her their your both")
ARTICLES = _words("a an the every any another this that each")
# Before a relative who is not the subject: "with my husband".
PREPOSITIONS = _words("""
    with w / to told by from at for than like unlike as of about on near after behind see beside tell ask
    let asked was am
""")
# After a relative who is the object of a verb: "called my husband by".
AFTER_OBJECTS = _words("by to for from at of off about into over")
# Relatives whose word with an s is a plural rather than a possessive.
PLURALS = _words("boy girl lad baby toddler twin cousin kid child friend mate colleague neighbour neighbor")
ELDER = _words("older big other eldest first second own")
ADVERBS = _words("""
    always also too both all just once never often still actually only even then now in-law in law
""")
AUXILIARIES = _words("""
    has had have is was were are s keeps kept will would can could did does always cant wont to been
""")
HAS = _words("has have had got get gets getting died who with both")
# "I have to", "I had a look": no complaint of the writer.
NOT_OWN = _words("to him her his them it the no been noticed taken asked tried given seen")
LOOKS = _words("look chat feel word go call read photo think cry letter fight")

_TOKEN = re.compile(r"\d+(?:[.,:/]\d+)*|\w+(?:['\-]\w+)*|\n+|\.{2,}|[^\w\s]")
_ABBREVIATIONS = frozenset("dr mr mrs ms poss approx vs hx prev st".split())
_APOSTROPHES = str.maketrans("’‘ʼ´`", "'''''")


class Words:
    """A text as words, with its sentences; words are lower case and without apostrophes."""

    def __init__(self, text: str) -> None:
        tokens = list(_TOKEN.finditer(_fold(text)))
        self.raw = [token[0] for token in tokens]
        self.all = [word if "'" not in word else word.replace("'", "") or word for word in self.raw]
        self.starts = [token.start() for token in tokens]
        self.ends = [token.end() for token in tokens]
        self._text = text
        closes = [word[0] in ".?!\n" and self._closes(n) for n, word in enumerate(self.all)]
        self.sentence = list(accumulate(closes, initial=0))

    def __getitem__(self, n: int) -> str:
        """The word at `n`; empty before the first and after the last."""
        return self.all[n] if 0 <= n < len(self.all) else ""

    def __len__(self) -> int:
        return len(self.all)

    def touched(self, start: int, end: int) -> tuple[int, int]:
        """The words that a span of code points touches: the first, and the one after the last."""
        return bisect_right(self.ends, start), bisect_left(self.starts, end)

    def is_name(self, n: int) -> bool:
        """Whether the word at `n` is written as a name: one capital, then small letters; "I" is none."""
        return self.all[n] not in FIRST_PERSON and self._text[self.starts[n] : self.starts[n] + 2].istitle()

    def _closes(self, n: int) -> bool:
        word = self.all[n]
        if word == "?" and self[n + 1][:1].isalpha():
            return self.starts[n + 1] > self.ends[n]  # unlike the one of "?anaemia"
        return word != "." or self[n - 1] not in _ABBREVIATIONS


def _fold(text: str) -> str:
    """Lower case with plain apostrophes, code point for code point."""
    plain = unwrap(text).translate(_APOSTROPHES)
    lower = plain.lower()
    return lower if len(lower) == len(text) else "".join(c.lower() if len(c.lower()) == 1 else c for c in plain)


_Choice = tuple[str, ...]


def _slots(phrase: str) -> list[list[_Choice]]:
    """The choices of each place of a phrase; choices inside a choice are spelled out."""
    while macro := re.search(r"\{(\w+)\}", phrase):
        phrase = phrase.replace(macro[0], _MACROS[macro[1]])
    while nested := re.search(r"([(|])([^()|]*)\(([^()]*)\)([^()|]*)(?=[|)])", phrase):
        spelled = "|".join(f"{nested[2]}{choice}{nested[4]}" for choice in nested[3].split("|"))
        phrase = phrase[: nested.start()] + nested[1] + spelled + phrase[nested.end() :]
    pieces = re.findall(r"\([^()]*\)|\S+", phrase)
    return [[tuple(choice.split()) for choice in piece.strip("()").split("|")] for piece in pieces]


def _table() -> Iterator[tuple[Cue, str]]:
    """The phrases of the data file, each with what it means."""
    text = files("clario.extraction").joinpath("data", "context_cues.txt").read_text(encoding="utf-8")
    cue = None
    for line in re.sub(r"//.*|\n *(?=\|)", "", text).splitlines():
        if line.startswith("["):
            kind, side, reach = line.strip("[]").split()
            cue = Cue(cast(Kind, kind), cast(Side, side), cast(Reach, reach))
        elif cue:
            yield from ((cue, phrase) for phrase in line.split(";") if phrase.strip())


class CueFinder:
    """Finds cues in a text: a finite automaton whose states are built when first met."""

    def __init__(self, *, answers: bool) -> None:
        self._edges: list[dict[str, list[int]]] = [{}]
        self._cues: dict[int, list[tuple[Cue, bool]]] = {}
        for cue, phrase in _table():
            if (cue.kind == "answer") == answers:
                self._add(_slots(phrase), cue)
        self._known = {word for edges in self._edges for word in edges}
        self._starts = self._edges[0].keys() | NUMBERS | {"#", "@"}
        self._nodes = [frozenset[int](), frozenset([0])]
        self._states = {nodes: state for state, nodes in enumerate(self._nodes)}
        self._steps: list[dict[str, int]] = [{}, {}]
        self._accepts: list[tuple[tuple[Cue, ...], tuple[Cue, ...]]] = [((), ()), ((), ())]
        self._building = Lock()

    def _add(self, slots: list[list[_Choice]], cue: Cue) -> None:
        ends, stops = {0}, False
        for choices in slots:
            stops = choices == [("$",)]
            if not stops:
                ends = self._join(ends, choices)
        for end in ends:
            self._cues.setdefault(end, []).append((cue, stops))

    def _join(self, starts: set[int], choices: list[_Choice]) -> set[int]:
        """Lays each choice from each start to one new node; an empty choice leaves the starts open."""
        end = self._new_node()
        for start in starts:
            for words in filter(None, choices):
                node = start
                for word in words[:-1]:
                    node, previous = self._new_node(), node
                    self._edges[previous].setdefault(word, []).append(node)
                self._edges[node].setdefault(words[-1], []).append(end)
        return {end} | starts if () in choices else {end}

    def _new_node(self) -> int:
        self._edges.append({})
        return len(self._edges) - 1

    def find(self, words: Sequence[str]) -> Iterator[tuple[int, int, tuple[Cue, ...]]]:
        """The cues in a text, leftmost and longest first, none inside another: start, end, cues alike."""
        known = self._known
        keys = [word if word in known else _class_of(word) for word in words]
        at = 0
        while at < len(words):
            end = at
            if keys[at] in self._starts:
                end, cues = self._longest(words, keys, at)
                if end > at:
                    yield at, end, cues
            at = max(end, at + 1)

    def _longest(self, words: Sequence[str], keys: list[str], at: int) -> tuple[int, tuple[Cue, ...]]:
        state, end, found = 1, at, tuple[Cue, ...]()
        for n in range(at, len(words)):
            target = self._steps[state].get(keys[n])
            state = self._build(state, keys[n]) if target is None else target
            if not state:
                break
            always, at_stops = self._accepts[state]
            if at_stops and (n + 1 == len(words) or words[n + 1] in STOPS or words[n + 1][0] == "\n"):
                end, found = n + 1, always + at_stops
            elif always:
                end, found = n + 1, always
        return end, found

    def _build(self, state: int, word: str) -> int:
        patterns = {word, "_", _class_of(word), "#" if _class_of(word) else ""}
        edges = [self._edges[node] for node in self._nodes[state]]
        nodes = frozenset(node for edge in edges for pattern in patterns for node in edge.get(pattern, ()))
        with self._building:
            target = self._states[nodes] if nodes in self._states else self._new_state(nodes)
            # Last, so that another thread never steps to a state that is half there.
            self._steps[state][word] = target
        return target

    def _new_state(self, nodes: frozenset[int]) -> int:
        cues = [cue for node in sorted(nodes) for cue in self._cues.get(node, ())]
        always = tuple(cue for cue, stops in cues if not stops)
        self._accepts.append((always, tuple(cue for cue, stops in cues if stops)))
        self._steps.append({})
        self._nodes.append(nodes)
        self._states[nodes] = len(self._nodes) - 1
        return self._states[nodes]


def _class_of(word: str) -> str:
    """`@` for a year, `#` for another number, else empty."""
    if word in ("#", "@"):
        return word
    if len(word) == 4 and word.isdecimal() and word[:2] in ("19", "20"):
        return "@"
    return "#" if word in NUMBERS or word[:1].isdecimal() else ""


@cache
def cue_finder(*, answers: bool = False) -> CueFinder:
    """The finder of all cues but answers, or of the answers."""
    return CueFinder(answers=answers)
