"""The date hint of a diary: which expression counts, and what day, month or year it means."""

import contextlib
import datetime as dt
import re
import time
import timeit
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clario.errors import InputError
from clario.extraction.dates import event_hint, parse_recorded

WEDNESDAY = dt.date(2026, 11, 25)

NEAR = [
    ("It started yesterday", "2026-11-24"),
    ("YESTERDAY I fell on the stairs", "2026-11-24"),
    ("worse since yesterday evening", "2026-11-24"),
    ("the day before yesterday she was fine", "2026-11-23"),
    ("the night before last he shook all over", "2026-11-23"),
    ("today my hands are blue", "2026-11-25"),
    ("Today's gripe is the stairs", "2026-11-25"),
    ("no fits today.", "2026-11-25"),
    ("can't sleep tonight", "2026-11-25"),
    ("up four times last night", "2026-11-24"),
    ("threw up this morning", "2026-11-25"),
    ("dizzy after this mornings tablets", "2026-11-25"),
    ("this evening the rash came up", "2026-11-25"),
]
AGO = [
    ("three days ago", "2026-11-22"),
    ("ten days ago my knee went", "2026-11-15"),
    ("started 2 days ago", "2026-11-23"),
    ("2days ago", "2026-11-23"),
    ("few days ago I noticed it", "2026-11-22"),
    ("a few days ago", "2026-11-22"),
    ("a couple of weeks ago", "2026-11-11"),
    ("couple weeks ago", "2026-11-11"),
    ("a week ago", "2026-11-18"),
    ("a fortnight ago", "2026-11-11"),
    ("2-3 weeks ago", "2026-11-04"),
    ("two or three weeks ago", "2026-11-04"),
    ("3 wks ago", "2026-11-04"),
    ("twenty-five days ago", "2026-10-31"),
    ("about 6 months back", "2026-05"),
    ("six months ago", "2026-05"),
    ("a month ago or so", "2026-10"),
    ("two years ago she could walk", "2024"),
    ("over a year ago", "2025"),
    ("twenty five years ago", "2001"),
    ("300 months ago", "2001-11"),
]
LAST = [
    ("last Tuesday", "2026-11-24"),
    ("last Wednesday", "2026-11-18"),
    ("this past Friday", "2026-11-20"),
    ("Tuesday last week", "2026-11-17"),
    ("on Sunday of last week", "2026-11-22"),
    ("last week", "2026-11-18"),
    ("last month I fainted", "2026-10"),
    ("last year's scan", "2025"),
    ("last summer", "2026"),
    ("last winter the coughing began", "2025"),
    ("last fall", "2025"),
    ("last March", "2026-03"),
    ("last November", "2025-11"),
    ("last weekend", "2026-11-21"),
    ("bad at the weekend", "2026-11-21"),
    ("over the weekend", "2026-11-21"),
    ("Knee like a grapefruit over Easter", "2026-04-05"),
]
WEEKDAYS = [
    ("on Tuesday I fell", "2026-11-24"),
    ("I had an appointment on Tuesday", "2026-11-24"),
    ("The scan on Friday showed a cyst", "2026-11-20"),
    ("fell on Wednesday", "2026-11-25"),
    ("On Thursday", "2026-11-19"),
    ("Tuesday night was grim", "2026-11-24"),
    ("sick twice fri", "2026-11-20"),
    ("Sat night my legs went", "2026-11-21"),
    ("Mon 3pm wobbly", "2026-11-23"),
    ("legs numb since sat and cold", "2026-11-21"),
    ("on sun he shook", "2026-11-22"),
    ("Mon: sick. Tue: better.", "2026-11-23"),
    ("Sat - hit me", "2026-11-21"),
    ("Sun. Slept all day.", "2026-11-22"),
    ("My log.\nWed: fine", "2026-11-25"),
    ("- Sat: fits x2", "2026-11-21"),
    ("Mon legs like jelly, weds worse", "2026-11-23"),
    # With the last heading on or before the recorded Wednesday, the first lies in the week before.
    ("Fri: fever. Sat: fever. Sun: gone.", "2026-11-20"),
    ("Mon: fine\nTues: sick\nThurs: sick\nSat: well", "2026-11-16"),
]
LASTING = [
    ("itching since March", "2026-03"),
    ("since early March", "2026-03"),
    ("since last Friday", "2026-11-20"),
    ("since Tuesday", "2026-11-24"),
    ("since 2019", "2019"),
    ("since 3 March", "2026-03-03"),
    ("since March 3rd", "2026-03-03"),
    ("since the weekend", "2026-11-21"),
    ("since summer", "2026"),
    ("off coffee since Christmas", "2025-12-25"),
    ("gums bleeding since Easter", "2026-04-05"),
    ("for the past three days", "2026-11-22"),
    ("over the last couple of weeks", "2026-11-11"),
    ("these past 2 months", "2026-09"),
    ("for the past week", "2026-11-18"),
    ("for three weeks now", "2026-11-04"),
    ("coughing 2 weeks now", "2026-11-11"),
    ("for a month now", "2026-10"),
]
CALENDAR = [
    ("in 2019", "2019"),
    ("a clot in late 2019", "2019"),
    ("summer 2003", "2003"),
    ("back in March 2021", "2021-03"),
    ("March 2021: first fit", "2021-03"),
    ("she fell in March", "2026-03"),
    ("in December", "2025-12"),
    ("in november", "2026-11"),
    ("3 March", "2026-03-03"),
    ("the 3rd of March", "2026-03-03"),
    ("March 3rd", "2026-03-03"),
    ("March 3: dizzy", "2026-03-03"),
    ("on May 3 I fell", "2026-05-03"),
    ("It came up 3 May and stayed", "2026-05-03"),
    ("Saturday 14 November: bad", "2026-11-14"),
    ("22 Feb. Shaky all morning", "2026-02-22"),
    ("12 December", "2025-12-12"),
    ("29 February", "2024-02-29"),
    ("3 March 2021", "2021-03-03"),
    ("March 3, 2021", "2021-03-03"),
    ("3/11/2026", "2026-11-03"),
    ("25/3/2026", "2026-03-25"),
    ("3/25/2026", "2026-03-25"),
    ("3/12/2026", "2026-03-12"),  # 3 December lies ahead, 12 March does not
    ("3/11/26", "2026-11-03"),
    ("3/11/98", "1998-11-03"),
    ("3-11-2026", "2026-11-03"),
    ("12.11.2026", "2026-11-12"),
    ("2026-11-03", "2026-11-03"),
    ("2026/11/03", "2026-11-03"),
    ("log 2026-11-03T08:15 woke", "2026-11-03"),
]
AHEAD = [
    "tomorrow",
    "infusion this Friday",
    "steroids from tmrw",
    "see him next Tuesday",
    "next week",
    "next March",
    "in 2 weeks",
    "in a couple of days",
    "clinic on Friday will tell",
    "I'll ring on Friday",
    "I’ll ring on Friday",
    "off work till Thursday",
    "by Friday",
    "the scan is Monday",
    "Blood test Monday.",
    "op booked for May",
    "op in June",
    "physio starts in June",
    "appointment on 3/12/2026",
    "appointment letter arrived, 14 May",
    "booster on Thursday, wish me luck",
    "Tuesday week",
    "2026-12-03",
    "5.12.2026",  # with points the day is first, and 5 December lies ahead
    "in 2027",
    "December 2026",
]
NO_DATE = [
    "",
    "the other day",
    "ages ago",
    "weeks ago",
    "I may see double",
    "type 2 may help",
    "we march on",
    "marched 3 miles and march 3 miles back",
    "wait a second",
    "the second time",
    "sat down and cried",
    "Sat on the sofa all evening",
    "I sat with her",
    "sats 93",
    "Sat: 93%",
    "the sun hit my face",
    "on sun cream again",
    "blisters on sun exposed skin",
    "sugars 10/12/14 mmol",
    "Sun-damaged skin",
    "monitor, money and sunny moments",
    "aged 4",
    "he is four",
    "she is 4 months now",
    "10mg twice daily",
    "three times a day now",
    "ring 0161 496 0123",
    "pain 24/7",
    "120/80",
    "7/10",
    "3 1/2 years old",
    "every Tuesday",
    "off on a Friday",
    "Saturdays are hard",
    "Friday nights",
    "dialysis mon/wed/fri",
    "third infection since Easter",
    "walked past two shops",
    "attacks last two days each",
    "2 weeks back at work",
    "same as last year",
    "3.5 years ago",
    "1,000 days ago",
    "999999999999 years ago",
    "9999 years ago",
    "31/31/2026",
    "31 June",
    "30.2.2026",
    "0000-00-00",
    "1/1/0000",
    "in 2000 steps",
    "version 1.2.3.4",
]


def _shown(value: object) -> str | None:
    return repr(value) if isinstance(value, str) else None


@pytest.mark.parametrize(("text", "expected"), NEAR + AGO + LAST + WEEKDAYS + LASTING + CALENDAR, ids=_shown)
def test_an_expression_means_a_date(text: str, expected: str) -> None:
    assert event_hint(text, WEDNESDAY) == expected


@pytest.mark.parametrize("text", AHEAD + NO_DATE, ids=_shown)
def test_no_date_is_told(text: str) -> None:
    assert event_hint(text, WEDNESDAY) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Yesterday I fell; last Friday I was fine", "2026-11-24"),
        ("In 2019 I had a clot. Today it aches.", "2019"),
        ("Tomorrow is the scan. The pain began three days ago.", "2026-11-22"),
        ("Dentist every Tuesday, and on Monday my jaw locked", "2026-11-23"),
        ("Next week the echo. Fainted last night.", "2026-11-24"),
        ("In 2 weeks the op, so I write down what happened in March", "2026-03"),
        ("Worse than last year: sick again since Monday", "2026-11-23"),
    ],
)
def test_the_first_expression_that_dates_an_event_wins(text: str, expected: str) -> None:
    assert event_hint(text, WEDNESDAY) == expected


@pytest.mark.parametrize(
    ("text", "recorded", "expected"),
    [
        ("on Tuesday", dt.date(2026, 11, 24), "2026-11-24"),
        ("last Tuesday", dt.date(2026, 11, 24), "2026-11-17"),
        ("Mon: sick. Tue: better.", dt.date(2026, 11, 23), "2026-11-16"),
        ("last weekend", dt.date(2026, 11, 22), "2026-11-14"),
        ("Sunday last week", dt.date(2026, 11, 22), "2026-11-15"),
        ("29 Feb", dt.date(1904, 2, 28), "1896-02-29"),
        ("at the weekend", dt.date(2026, 11, 22), "2026-11-21"),
        ("last month", dt.date(2026, 1, 31), "2025-12"),
        ("a month ago", dt.date(2026, 3, 31), "2026-02"),
        ("a year ago", dt.date(2024, 2, 29), "2023"),
        ("yesterday", dt.date(2024, 3, 1), "2024-02-29"),
        ("last summer", dt.date(2026, 7, 1), "2025"),
        ("since winter", dt.date(2026, 1, 10), "2025"),
        ("3/11/2026", dt.date(2026, 10, 1), "2026-03-11"),
        ("since Christmas", dt.date(2026, 12, 25), "2026-12-25"),
        ("yesterday", dt.date(1, 1, 1), None),
        ("last year", dt.date(1, 6, 1), None),
        ("on Sunday", dt.date(1, 1, 1), None),
        ("since Easter", dt.date(5000, 1, 1), None),
        ("today", dt.date(33, 4, 3), "0033-04-03"),
    ],
)
def test_the_recorded_day_decides(text: str, recorded: dt.date, expected: str | None) -> None:
    assert event_hint(text, recorded) == expected


def test_a_date_time_counts_by_its_own_clock() -> None:
    late = dt.datetime(2026, 11, 25, 23, 30, tzinfo=ZoneInfo("America/New_York"))
    assert late.astimezone(dt.UTC).date() == dt.date(2026, 11, 26)
    assert event_hint("today", late) == "2026-11-25"
    assert event_hint("yesterday", dt.datetime(2026, 11, 25, 0, 5)) == "2026-11-24"
    assert event_hint("3/12/2026", dt.datetime(2026, 11, 25, 0, 5)) == "2026-03-12"


SNIPPETS = [
    ("Knackered. Hb 82 so they want me in. Been chewing ice since about August, freezer's empty.", "2026-08"),
    ("Baby log: 2am feed ok, 5am blue round the lips, 3rd time. Doctor came this afternoon.", "2026-11-25"),
    ("he's 6, still in age 3 shoes. Last Thursday his knee locked on the climbing frame", "2026-11-19"),
    ("Sun 7am - tongue like a carpet.\nMon - same.\nTue - worse, can't swallow toast", "2026-11-22"),
    (
        "BP 150/95 at home, pain 8/10. Started ramipril 5mg a couple of weeks ago and now I cough",
        "2026-11-11",
    ),
    (
        "My mum had it too. I sat in the sun 20 min on Saturday and my arms blistered by tea time.",
        "2026-11-21",
    ),
    ("Diagnosed back in June 2017 after years of being told it's nerves", "2017-06"),
    ("11.11.2026 three nosebleeds, one of 40 minutes", "2026-11-11"),
    ("Dear diary, may as well write it down: fainted in the queue yesterday.", "2026-11-24"),
    ("Neurology is on Thursday, so for the record: double vision for five days now", "2026-11-20"),
    ("Off my legs   since last\u00a0Friday", "2026-11-20"),
    ("A long line that wraps: it began three\ndays ago", "2026-11-22"),
    ("Can’t do buttons. Couldn’t on Monday’s shift either", "2026-11-23"),
    ("35F, two kids, no meds. Hair comes out in handfuls and I am cold all the time.", None),
    ("New specs arrive on the 9th, 2 for 1 till Saturday, nothing else to report", None),
    ("Every Sunday the same: roast, then bloated. Mum says it'll pass by Easter.", None),
    ("Call me on 07700 900123 after 6, ref 12/345/678", None),
]


@pytest.mark.parametrize(("text", "expected"), SNIPPETS)
def test_diaries_as_people_write_them(text: str, expected: str | None) -> None:
    assert event_hint(text, WEDNESDAY) == expected


ISO = re.compile(r"\d{4}(-\d{2}(-\d{2})?)?", re.ASCII)
EXPRESSIONS = [text for text, _ in NEAR + AGO + LAST + WEEKDAYS + LASTING + CALENDAR] + AHEAD + NO_DATE
PIECES = sorted({word for text in EXPRESSIONS for word in text.split()}) + EXPRESSIONS
diary_like = st.tuples(st.sampled_from([" ", "\n", ". ", ": ", ""]), st.lists(st.sampled_from(PIECES), max_size=8))


def _is_none_or_a_date_up_to(recorded: dt.date, hint: str | None) -> bool:
    if hint is None:
        return True
    whole = dt.date.fromisoformat(hint + "-01" * (2 - hint.count("-")))
    return bool(ISO.fullmatch(hint)) and whole <= recorded


@given(st.text(), st.dates())
def test_any_text_on_any_day_is_survived(text: str, recorded: dt.date) -> None:
    assert _is_none_or_a_date_up_to(recorded, event_hint(text, recorded))


@given(diary_like, st.dates())
def test_shuffled_expressions_give_none_or_a_valid_date_up_to_that_day(
    parts: tuple[str, list[str]], recorded: dt.date
) -> None:
    gap, pieces = parts
    assert _is_none_or_a_date_up_to(recorded, event_hint(gap.join(pieces), recorded))


@given(st.integers(0, 9999), st.sampled_from(["days", "weeks"]), st.dates())
def test_days_and_weeks_ago_are_counted_exactly(number: int, unit: str, recorded: dt.date) -> None:
    days = dt.timedelta(**{unit: number})
    expected = (recorded - days).isoformat() if days <= recorded - dt.date.min else None
    assert event_hint(f"it began {number} {unit} ago", recorded) == expected


@given(st.integers(0, 6), st.dates(min_value=dt.date(1, 1, 8)))
def test_a_weekday_is_at_most_six_days_back(weekday: int, recorded: dt.date) -> None:
    name = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"][weekday]
    told = dt.date.fromisoformat(event_hint(f"It began on {name}", recorded) or "")
    assert told.weekday() == weekday
    assert 0 <= (recorded - told).days <= 6


def test_a_thousand_diaries_take_less_than_a_second() -> None:
    """A fifth of the speed that is asked for, at the best of five: a busy machine must not fail it."""
    words = " ".join(text for text, _ in SNIPPETS if event_hint(text, WEDNESDAY) is None).split()
    text = " ".join((words * 3)[:80])
    assert min(timeit.repeat(lambda: event_hint(text, WEDNESDAY), number=100, repeat=5)) < 0.1


@pytest.mark.parametrize(
    "piece", ["a ", "1/", "2-", "twenty ", "since ", "next ", "last two ", "\n", "mon-", "in a "]
)
def test_time_grows_with_the_length_alone(piece: str) -> None:
    text = piece * 20_000
    start = time.perf_counter()
    assert event_hint(text, WEDNESDAY) is None
    assert time.perf_counter() - start < 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-11-25", dt.date(2026, 11, 25)),
        (" 2026-11-25\n", dt.date(2026, 11, 25)),
        ("20261125", dt.date(2026, 11, 25)),
        ("2026-W48-3", dt.date(2026, 11, 25)),
        ("2026-11-25T23:30:00-05:00", dt.date(2026, 11, 25)),
        ("2026-11-25T08:15Z", dt.date(2026, 11, 25)),
        ("2024-02-29", dt.date(2024, 2, 29)),
    ],
)
def test_a_recorded_day_is_read(value: str, expected: dt.date) -> None:
    assert parse_recorded(value) == expected


@pytest.mark.parametrize(
    "value",
    ["", "yesterday", "25/11/2026", "2026", "2026-11", "2026-02-30", "2026-13-01", "0000-01-01", "\ud800"],
)
def test_what_is_no_recorded_day_is_refused_with_an_example(value: str) -> None:
    with pytest.raises(InputError, match=r"2026-11-25") as refused:
        parse_recorded(value)
    assert repr(value) in str(refused.value)


def test_a_long_value_is_not_repeated() -> None:
    diary = "My hands shake and I cannot hold a cup any more."
    with pytest.raises(InputError, match=f"{len(diary)} characters") as refused:
        parse_recorded(diary)
    assert "hands" not in str(refused.value)


@given(st.dates(), st.sampled_from(["", "T00:00", " 23:59:59.5", "T12:00Z", "T23:30-11:00", "T00:30+14:00"]))
def test_any_iso_date_with_any_time_is_that_day(day: dt.date, clock: str) -> None:
    assert parse_recorded(f"{day}{clock}") == day


@given(st.text())
def test_any_value_is_a_day_or_an_input_error(value: str) -> None:
    with contextlib.suppress(InputError):
        assert dt.date.min <= parse_recorded(value) <= dt.date.max
