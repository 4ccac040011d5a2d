"""When did it happen? The date that a diary tells its event on.

Rules, where a text holds several expressions or one that can be read in two ways:

1. The first expression that dates an event wins. What lies ahead never does: "tomorrow", "next Tuesday",
   "in 2 weeks", "until Friday", "the scan is Monday", "op booked for May"; "this Friday" is left alone. Nor
   does a habit ("every Tuesday", "on a Friday"), a comparison ("same as last year") or the span of a count
   ("third cold since Easter").
2. The answer is as precise as the words: a day for days and weeks, a month for "6 months ago" and "in March",
   a year for "two years ago", "in 2019" and "last summer".
3. "today", "this morning", "tonight": the recorded day. "last night", "yesterday evening": the day before.
4. A weekday is the latest such day, the recorded day included; after "last" it is before the recorded day.
   Weekday headings ("Mon: ... Tue: ...") give the first of them, counted back from the last.
5. A month, or a day and month without a year, is the latest one that has begun. A season has the year in
   which it began, on the northern half of the earth; "last summer" is the latest that is over.
6. "last week" is seven days earlier, "last weekend" the Saturday of the latest weekend that is over, "at the
   weekend" the latest Saturday. "a couple" is 2, "a few" is 3; "the other day" and "ages ago" tell nothing.
7. "since March", "for three weeks now", "for the past three days" give the start.
8. "3/11/2026" is 3 November, unless there is no such day, or it lies ahead while 11 March does not. With
   points ("3.11.2026") the day always comes first. Without a year ("7/10", "120/80") it is no date.
"""

import datetime as dt
import re
from collections.abc import Callable
from itertools import islice

from dateutil import easter, parser
from dateutil.relativedelta import FR, MO, SA, SU, TH, TU, WE, relativedelta

from clario.errors import InputError

_LONGEST_ECHO = 40
_MOST_HEADINGS = 31
_CONTEXT = 80  # characters before an expression in which its sentence is looked at
_DAY_LENGTH, _MONTH_LENGTH, _YEAR_LENGTH = len("2026-11-25"), len("2026-11"), len("2026")

_ONES = "one|two|three|four|five|six|seven|eight|nine"
_TEENS = "ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen"
_TENS = "twenty|thirty|forty|fifty|sixty"
_NUMBERS = {word: number for number, word in enumerate(f"{_ONES}|{_TEENS}".split("|"), 1)}
_NUMBERS |= {word: 10 * number for number, word in enumerate(_TENS.split("|"), 2)}
_NUMBERS |= {"a": 1, "an": 1, "couple": 2, "few": 3}
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = {"mo": MO, "tu": TU, "we": WE, "th": TH, "fr": FR, "sa": SA, "su": SU}
_SEASONS = {"spring": 3, "summer": 6, "autumn": 9, "fall": 9, "winter": 12}
_UNITS = {  # by first letter
    "d": relativedelta(days=1),
    "n": relativedelta(days=1),
    "w": relativedelta(weeks=1),
    "f": relativedelta(weeks=2),
    "m": relativedelta(months=1),
    "y": relativedelta(years=1),
}

# Building blocks. The text is in lower case, and one blank or line end parts its words.
_NUMBER = (
    rf"(?:[0-9]{{1,4}}|(?:a )?couple(?: of)?|(?:a )?few|(?:{_TENS})(?:[ -](?:{_ONES})\b)?"
    rf"|{_TEENS}|{_ONES}|an?)"
)
_UNIT = r"(?:days?|nights?|weeks?|wks?|fortnights?|months?|mo?n?ths|years?|yrs?)"
_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?"
    r"|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\b"
)
_YEAR = r"(?:19|20)[0-9]{2}\b"
_SEASON = r"(?:spring|summer|autumn|winter)\b"
_DAY = r"[0-9]{1,2}"
_TH = r"(?:st|nd|rd|th)\b"
_NO_MEASURE = (
    r"(?! ?(?:mc?g|µg|k?g|m?l|mmol\w*|iu|units?|k?cal\w*|steps|h|hrs?|hours?|min\w*|metres|miles|km|people"
    r"|words|times|fits|seizures|attacks|episodes|tablets|pills|days?|weeks?|months?|years?)\b|[-.,:/][0-9]|%)"
)
_AFTER_MAY = (  # in "3 May and", but "type 2 may help"
    rf"$|\n|[^\w\s']| (?:{_YEAR}|[0-9]|(?:and|but|i|we|s?he|it|they|my|when|with|at|after|was|were|had)\b)"
)
_AFTER_MARCH = rf"(?:{_TH}|,? {_YEAR}| ?[:–—]| -|\.?$|\.?\n)"  # in "March 3:", but "march 3 miles"

_FULL_DAY = r"(?:mon|tues|wednes|thurs|fri|satur|sun)day"
_SHORT_DAY = r"(?:tues?|weds|thu(?:rs?)?|fri)"
_WORDLIKE = r"(?:mon|wed|sat|sun)"  # one can have sat in the sun: these need a sign that a day is meant
_ANY_DAY = rf"(?:{_FULL_DAY}|{_SHORT_DAY}|{_WORDLIKE})"
_DAYS_LISTED = rf"(?:{_SHORT_DAY}|{_WORDLIKE})(?:(?: to |[ /-])(?:{_SHORT_DAY}|{_WORDLIKE}))+"  # a habit
_DAY_STEM = r"mon|tue|wed|thu|fri|sat|sun"
_START = r"(?:(?<![\s\S])|(?<=\n)|(?<=[.!?;:)*•-] ))"  # of a text, a line, a sentence or a list item
_TIME = r"(?:[0-9]{1,2}(?:[.:][0-9]{2})? ?[ap]m|am|pm|night|morning|afternoon|evening|lunchtime|teatime)\b"
_HEADING_END = rf"(?: {_TIME}| {_DAY}{_TH})?(?: ?[:–—]| ?-(?=\s)|\.(?=\s|$))(?! ?[0-9]+ ?%)"
_NO_DAY = r"(?! (?:nav|down|up|on|in|at|by|with|s?cre\w+|block|lotion|rise|set|expos\w*|damage|hat)\b)"
_WEEKDAY = (
    rf"(?={_DAY_STEM})(?:{_FULL_DAY}|{_SHORT_DAY}|{_START}(?:mon(?= )|{_WORDLIKE}(?={_HEADING_END}))"
    rf"|{_WORDLIKE}(?= {_TIME})|(?:(?<=\bon )|(?<=since )|(?<=last )){_WORDLIKE}{_NO_DAY})\b"
)
_HEADING = re.compile(rf"{_START}(?:({_ANY_DAY})(?={_HEADING_END})|(mon(?= )|{_SHORT_DAY})\b)")

# What shows that an expression that can point either way lies ahead. A past tense outweighs a weak sign.
_AHEAD = re.compile(
    r"(?:\b(?:will|shall|going to|gonna|hope|hoping|hopefully|booked|wish me luck|can'?t face"
    r"|wants?|appointment (?:letter|card)|(?:might|should) (?!have|'ve))\b|'ll\b)[^\n]*$"
    r"|(?:\b(?:(?:un)?til+|by|before|for|is|are|(?:moved|changed) (?:to|from)|even|start(?:s|ing)?"
    r"|com(?:es|ing))|(?<!\bit)'s)(?: on| in| the)* $"
)
_AHEAD_AFTER = re.compile(r"(?: \w+)?(?:'ll| will| is (?:my|the)| if|,? wish me luck)\b")
_AHEAD_WEAKLY = re.compile(
    r"\b(?:appointment|appt|due|having|getting|seeing|going in)\b[^\n]*$|\b(?:op|operation|tests?|scan|camera"
    r"|capsule|jabs?|clinic|surgery|mri|ct|ecg|eeg|echo|tracing|biopsy|bloods|review|dentist|infusion|shunt"
    r"|stent|results?)(?: \w+)? (?:on |in )?$"
)
_PAST_TENSE = re.compile(r"\b(?:had|was|were|went|did|came|got|rang|said|saw|told|found|gave|\w+[^\We]ed)\b")
_PAST_AFTER = re.compile(r" (?:was|were|came|said|found|went|\w+[^\We]ed)\b")

_COMPARED = re.compile(r"\b(?:as|than) $")
_COUNTED = re.compile(
    r"\b(?:second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|[0-9]+(?:nd|rd|th)|number \w+"
    r"|no\.? [0-9]+|that(?:'s| makes) \w+|\w+ (?:lots|times|goes|rounds))\b[^\n]*$"
)
_LASTING = re.compile(r"\b(?:for|since)(?: \w+)? $")
_AGED = re.compile(r"\b(?:s?he|baby)(?: is|'?s) $")
_SENTENCE_END = re.compile(r"[.!?;](?=\s)|\n")


def event_hint(text: str, recorded: dt.date | dt.datetime) -> str | None:
    """The date that a diary tells its event on, by the rules at the top of this module.

    >>> event_hint("Couldn't get out of bed last Tuesday", dt.date(2026, 11, 25))
    '2026-11-24'

    Args:
        text: the diary, any Unicode.
        recorded: the day the entry was written; of a date-time, the date on its own clock.

    Returns:
        ISO 8601: a date ("2026-11-24") or, where the text is no more precise, a month ("2026-03") or a year
        ("2019"); never later than `recorded`. None where the text tells no date. No text raises an error.
    """
    written = recorded.date() if isinstance(recorded, dt.datetime) else recorded
    latest = written.isoformat()
    for match in _EXPRESSION.finditer(_normalized(text)):
        if not _misleads(match):
            hint = _RULES[match.lastgroup or ""][1](match, written)
            if hint and hint <= latest[: len(hint)]:
                return hint
    return None


def parse_recorded(value: str) -> dt.date:
    """The day that a user gave: an ISO 8601 date, or a date-time, of which the date on its own clock counts.

    Raises:
        InputError: it is neither. The message repeats `value` only if it is at most 40 characters.
    """
    try:
        return dt.datetime.fromisoformat(value.strip()).date()
    except ValueError:
        # A long value is no mistyped date: it may be patient text out of a wrong column.
        shown = repr(value) if len(value) <= _LONGEST_ECHO else f"a text of {len(value)} characters"
    # Raised out here: within, the error would keep the other one, which quotes the value.
    raise InputError(f"{shown} is no date; write year-month-day, for example 2026-11-25")


def _normalized(text: str) -> str:
    lines = text.lower().replace("\u2019", "'").splitlines()
    return "\n".join(words for line in lines if (words := " ".join(line.split())))


def _misleads(match: re.Match[str]) -> bool:
    """Whether its sentence shows that an expression lies ahead, compares, bounds a count or is an age."""
    before = _sentence_before(match)
    if _COMPARED.search(before):
        return True
    if match.lastgroup == "ago":
        return match["ago_sign"] == "now" and not _LASTING.search(before) and _is_age(match, before)
    if match[0].startswith("since"):
        return bool(_COUNTED.search(before))
    return match.lastgroup in _EITHER_WAY and not match[0].startswith("last") and _lies_ahead(match)


def _sentence_before(match: re.Match[str]) -> str:
    before = match.string[max(0, match.start() - _CONTEXT) : match.start()]
    return _SENTENCE_END.split(before)[-1]


def _lies_ahead(match: re.Match[str]) -> bool:
    before, after = _sentence_before(match), match.end()
    if _AHEAD.search(before) or _AHEAD_AFTER.match(match.string, after):
        return True
    clause = before.split(",")[-1]
    past = _PAST_TENSE.search(clause) or _PAST_AFTER.match(match.string, after)
    return not past and bool(_AHEAD_WEAKLY.search(clause))


def _is_age(match: re.Match[str], before: str) -> bool:
    """ "She is 4 months now" and "18 months now." at its start; nor is "twice a day now" a date."""
    opens = not before.strip() and not match["ago_unit"].startswith(("d", "n"))
    return opens or match["ago_number"] in ("a", "an") or bool(_AGED.search(before))


def _shift(day: dt.date | None, delta: relativedelta) -> dt.date | None:
    try:
        return day and day + delta
    except (ValueError, OverflowError):  # before year 1
        return None


def _iso(day: dt.date | None, length: int = _DAY_LENGTH) -> str | None:
    return day.isoformat()[:length] if day else None


def _parsed(text: str, day_first: bool = True) -> dt.date | None:
    try:
        return parser.parse(text, dayfirst=day_first, default=dt.datetime(1, 1, 1)).date()
    except (ValueError, OverflowError):
        return None


def _before(recorded: dt.date, number: int, unit: str) -> str | None:
    """`number` units earlier, as precise as the unit."""
    length = {"m": _MONTH_LENGTH, "y": _YEAR_LENGTH}.get(unit[0], _DAY_LENGTH)
    return _iso(_shift(recorded, _UNITS[unit[0]] * -number), length)


def _number(words: str) -> int:
    """ "12", "twelve", "twenty-five", "a couple of", "a few"."""
    if words.isdecimal():
        return int(words)
    *first, last = (_NUMBERS[word] for word in re.findall(r"\w+", words) if word in _NUMBERS)
    return sum(number for number in first if number > last) + last


def _month_number(name: str) -> int:
    return _MONTHS.index(name[:3]) + 1


def _latest_weekday(name: str, up_to: dt.date | None) -> dt.date | None:
    return _shift(up_to, relativedelta(weekday=_WEEKDAYS[name[:2]](-1)))


def _latest_anniversary(month: int, day: int, up_to: dt.date) -> dt.date | None:
    """The latest such day; 29 February may lie eight years back, 31 June never was."""
    for years in range(9):
        found = _shift(up_to, relativedelta(years=-years, month=month, day=day))
        if found and found.day == day and found <= up_to:
            return found
    return None


def _near(match: re.Match[str], recorded: dt.date) -> str | None:
    return _before(recorded, 0 if match["near_0"] else 1 if match["near_1"] else 2, "day")


def _ago(match: re.Match[str], recorded: dt.date) -> str | None:
    return _before(recorded, _number(match["ago_most"] or match["ago_number"]), match["ago_unit"])


def _past(match: re.Match[str], recorded: dt.date) -> str | None:
    return _before(recorded, _number(match["past_number"] or "a"), match["past_unit"] or match["past_one"])


def _weekday(match: re.Match[str], recorded: dt.date) -> str | None:
    name, day = match["day_name"], _shift(recorded, relativedelta(days=-1))
    if match["day_in_week"]:
        return _iso(_latest_weekday(name, _latest_weekday("sunday", day)))
    if match["day_last"]:
        return _iso(_latest_weekday(name, day))
    return _iso(_first_heading(match, recorded) or _latest_weekday(name, recorded))


def _first_heading(match: re.Match[str], recorded: dt.date) -> dt.date | None:
    """The first of a row of weekday headings, counted back from the last; None if it is no heading."""
    if not _HEADING.match(match.string, match.start()):
        return None
    headings = islice(_HEADING.finditer(match.string, match.start()), _MOST_HEADINGS)
    day: dt.date | None = recorded
    for name in reversed([heading[1] or heading[2] for heading in headings]):
        day = _latest_weekday(name, day)
    return day


def _weekend(match: re.Match[str], recorded: dt.date) -> str | None:
    over = relativedelta(days=-2 if match[0].startswith("last") else 0)
    return _iso(_latest_weekday("saturday", _shift(recorded, over)))


def _season(match: re.Match[str], recorded: dt.date) -> str | None:
    up_to = _shift(recorded, relativedelta(months=-3 if "last" in match[0] else 0))
    month = _SEASONS[match["season_name"]]
    return _iso(up_to and _latest_anniversary(month, 1, up_to), _YEAR_LENGTH)


def _holiday(match: re.Match[str], recorded: dt.date) -> str | None:
    if match["holiday_name"] != "easter":
        return _iso(_latest_anniversary(12, 25, recorded))
    if not 1584 <= recorded.year <= 4099:  # what dateutil's rule for Easter holds for
        return None
    sundays = (easter.easter(year) for year in (recorded.year, recorded.year - 1))
    return _iso(next(day for day in sundays if day <= recorded))


def _month(match: re.Match[str], recorded: dt.date) -> str | None:
    """ "last March" is before the recorded month."""
    up_to = _shift(recorded, relativedelta(day=1, days=-1)) if match["month_last"] else recorded
    month = _month_number(match["month_name"])
    return _iso(up_to and _latest_anniversary(month, 1, up_to), _MONTH_LENGTH)


def _month_of_year(match: re.Match[str], recorded: dt.date) -> str | None:
    return f"{match['of_year']}-{_month_number(match['of_month']):02}"


def _day_and_month(match: re.Match[str], recorded: dt.date) -> str | None:
    which = "dm" if match["dm_day"] else "md"
    day, month, year = (match[f"{which}_{part}"] for part in ("day", "month", "year"))
    if year:
        return _iso(_parsed(f"{day} {month[:3]} {year}"))
    return _iso(_latest_anniversary(_month_number(month), int(day), recorded))


def _year_first(match: re.Match[str], recorded: dt.date) -> str | None:
    return _iso(_parsed("-".join(match.group("ymd_year", "ymd_month", "ymd_day")), day_first=False))


def _numbers_only(match: re.Match[str], recorded: dt.date) -> str | None:
    first, second, sign = match.group("num_first", "num_second", "num_sign")
    numbers = f"{first}/{second}/{_full_year(match['num_year'], recorded):04}"
    day_first, month_first = _parsed(numbers), _parsed(numbers, day_first=False)
    if day_first and sign == "." and day_first.day != int(first):
        return None
    ahead = day_first and day_first > recorded
    return _iso(month_first if ahead and sign != "." and not _lies_ahead(match) else day_first)


def _full_year(year: str, recorded: dt.date) -> int:
    """ "26" is the latest such year."""
    full = int(year) if len(year) == 4 else recorded.year // 100 * 100 + int(year)
    return full if len(year) == 4 or full <= recorded.year else max(0, full - 100)


_Resolve = Callable[[re.Match[str], dt.date], str | None]
# In order: of two that match at the same place, the first one counts.
_RULES: dict[str, tuple[str, _Resolve]] = {
    "skipped": (
        rf"(?:tomorrow|tmrw|tmoz?|2moro|next \w+|from {_ANY_DAY}|(?:every|each|most|any|alternate|a|this)"
        rf"(?: other| second| coming)? {_ANY_DAY}s?|{_DAYS_LISTED}|in (?:about |another )?{_NUMBER}"
        rf"(?: ?(?:-|to|or) ?{_NUMBER})?[ -]?{_UNIT})\b",
        lambda match, recorded: None,
    ),
    "near": (
        r"(?:(?P<near_0>today|tonight|tonite|this (?:morning|afternoon|evening|lunchtime|teatime)(?:'?s)?)"
        r"|(?P<near_1>yesterday|last (?:night|evening))|day before yesterday|night before last)\b",
        _near,
    ),
    "ago": (
        rf"(?=[0-9acefnost])(?<![.,/:-])(?P<ago_number>{_NUMBER})(?: ?(?:[-–]|to|or) ?"
        rf"(?P<ago_most>{_NUMBER}))?[ -]?(?P<ago_unit>{_UNIT})(?: or so)? "
        r"(?P<ago_sign>ago|now(?! (?:to|until|till)\b)|back(?! (?:at|on|in|into|to|home|from|with|and)\b))\b",
        _ago,
    ),
    "past": (
        r"(?:last(?= [wmy])|(?:the|these|this|my|in|over|for) last|past) (?:(?P<past_one>week|fortnight|month"
        rf"|year)|(?P<past_number>{_NUMBER})[ -]?(?P<past_unit>{_UNIT}))\b(?! of\b)",
        _past,
    ),
    "weekend": (r"(?:last|(?:at|over|on|since|during) the) weekend\b", _weekend),
    "year_first": (
        rf"(?<![./-])(?P<ymd_year>[0-9]{{4}})(?P<ymd_sign>[-/.])(?P<ymd_month>{_DAY})(?P=ymd_sign)"
        rf"(?P<ymd_day>{_DAY})(?![0-9]|[-/.][0-9])",
        _year_first,
    ),
    "numbers_only": (
        rf"(?<![./-])(?P<num_first>{_DAY})(?P<num_sign>[/.-])(?P<num_second>{_DAY})(?P=num_sign)"
        rf"(?P<num_year>[0-9]{{4}}|(?<!-)[0-9]{{2}})(?![0-9]){_NO_MEASURE}",
        _numbers_only,
    ),
    "day_month": (
        rf"(?=[0-9]|on |since |the |{_DAY_STEM})(?<![.,/:-])(?:(?:on|since) )?(?:{_ANY_DAY},? )?(?:the )?"
        rf"(?P<dm_day>{_DAY})(?:{_TH})?(?: of(?= )|(?! may\b(?!{_AFTER_MAY}))) (?P<dm_month>{_MONTH})"
        rf"(?:\.?,? (?P<dm_year>{_YEAR}))?",
        _day_and_month,
    ),
    "month_day": (
        rf"(?:(?:on|since) |(?!(?:may|mar(?:ch)?)\b(?! {_DAY}{_AFTER_MARCH})))(?P<md_month>{_MONTH})\.? "
        rf"(?:the )?(?P<md_day>{_DAY})(?:{_TH}|\b){_NO_MEASURE}(?:,? (?P<md_year>{_YEAR}))?",
        _day_and_month,
    ),
    "month_of_year": (
        rf"(?:(?:in|since|during) )?(?:(?:early|late|mid)[ -])?(?P<of_month>{_MONTH}),?(?: of)? "
        rf"(?P<of_year>{_YEAR})",
        _month_of_year,
    ),
    "month": (
        r"(?:(?:in|since|during)(?: about| around)?(?: early| late| mid| the (?:start|end|beginning) of)? "
        rf"|(?=last ))(?P<month_last>last )?(?P<month_name>{_MONTH})",
        _month,
    ),
    "year": (
        rf"(?:in|since|during|of|early|late|mid|{_SEASON})(?: early| late| mid)? (?P<year_alone>{_YEAR})"
        rf"{_NO_MEASURE}",
        lambda match, recorded: match["year_alone"],
    ),
    "season": (
        rf"(?:over the |back in |since (?:the |last )?|last )(?P<season_name>{_SEASON}|(?<=last )fall\b)",
        _season,
    ),
    "holiday": (
        r"(?:since|at|over|on|last)(?: about| around| last)? (?P<holiday_name>christmas|xmas|easter)\b"
        r"(?! eve)",
        _holiday,
    ),
    "weekday": (
        rf"(?={_DAY_STEM}|on |since |last |past |this past )(?:(?:since|on) )?"
        rf"(?P<day_last>last |(?:this )?past )?(?P<day_name>{_WEEKDAY})"
        r"(?! (?:week|nights|mornings|evenings)\b)(?P<day_in_week> (?:of )?last week\b)?",
        _weekday,
    ),
}
# Their words alone do not tell whether they lie ahead.
_EITHER_WAY = frozenset({"weekend", "day_month", "month_day", "month", "season", "holiday", "weekday"})
# What an expression can begin with: it spares most words the rules. Plain alternatives are the fastest.
_STEM = rf"{_DAY_STEM}|jan|feb|mar|may|apr|jun|jul|aug|sep|oct|nov|dec"
_SIGNAL = (
    rf"(?=[0-9]|{_STEM}|tod|ton|tom|tm|2mo|yest|on (?:[0-9clxea]|the [0-9w]|{_STEM})|at (?:[clxea]|the w)"
    rf"|in (?:[0-9a]|the [lpse]|{_STEM}|[tofsnelm])|of (?:[0-9]|early|late|mid)|a (?:[cfdnwmy]|{_DAY_STEM})"
    r"|an |since |during |from |next |last |past |this |each |every |most |any |alternate |early |late |mid "
    r"|back |couple |few |day b|night b|the [0-9lp]|these [lp]|my [lp]|over [tlpecxa]|for [tlp]|spr|sum|aut"
    r"|win|one |two |three |four|five |six|seven|eight|nine|ten |eleven |twe|thir|for|fif)"
)
_ALTERNATIVES = "|".join(f"{pattern}(?P<{name}>)" for name, (pattern, _) in _RULES.items())
_EXPRESSION = re.compile(rf"\b{_SIGNAL}(?:{_ALTERNATIVES})".replace(" ", r"\s"))  # a line may end inside one
