"""When the dense stage of the resolver may answer: precision and recall of the look-up at each threshold.

Asked: each gold quote of the diaries alone, without its text. A quote with an id is answered rightly by that id
or an alternative; medicines, triggers and behaviours have none, and should get none. The names of the release
answer first. Against: the look-up without the dense stage. The choice is the best F0.5; `clario train mini`
writes it into the manifest of the model, by `clario.training.dense_threshold`, which this script shows.
"""

from pathlib import Path

import common
from clario.ontology import release as releases
from clario.ontology.encoder import FOLDER
from clario.ontology.resolver import Resolver
from clario.training import dense_threshold as measure
from clario.training.dense_threshold import Asked, Row

VALIDATION = common.ROOT / "data" / "corpus" / "validation.jsonl"
HEAD = ("least", "precision", "recall", "F0.5", "dense answers", "dense precision", "terms given to others")


def section(rows: list[Row], asked: list[Asked], notes: list[str]) -> common.Section:
    """The table of the thresholds; the chosen one is marked."""
    best = measure.chosen(rows)
    shown = [
        _shown("no dense stage", measure.without(asked)),
        *(_shown(f"{r.least:.2f}{' *' * (r == best)}", r) for r in rows),
    ]
    return common.Section("The dense stage at its thresholds (* best F0.5)", HEAD, shown, notes)


def _shown(name: str, row: Row) -> tuple[str, ...]:
    figures = f"{row.precision:.3f}", f"{row.recall:.3f}", f"{row.f_half:.3f}"
    return name, *figures, str(row.dense_answers), f"{row.dense_precision:.3f}", f"{row.without_term:.3f}"


def main() -> None:
    """Print the table."""
    options = common.parser(__doc__)
    options.add_argument("--model", type=Path, default=FOLDER, help="folder (default: the one that ships)")
    options.add_argument("--corpus", type=Path, default=VALIDATION, help="diaries (default: the validation part)")
    given = options.parse_args()
    resolver = Resolver(releases.load(common.RELEASE), given.model)
    asked = measure.ask(resolver, given.corpus)
    weights = measure.fit(asked)
    rows, error = measure.table(asked, weights), measure.error_of(asked)
    least = measure.chosen(rows).least
    notes = [
        f"quotes: {sum(bool(one.accepted) for one in asked)} with a term, "
        f"{sum(not one.accepted for one in asked)} without; named without the stage: "
        f"{sum(one.named is not None for one in asked)}",
        f"fitted: weights {list(weights)}, least {least}; expected calibration error, five folds: {error:.3f}",
        f"in use: {resolver.meaning.setting}",
    ]
    results = {"rows": [row._asdict() for row in rows], "weights": weights, "least": least, "error": error}
    made_with = common.provenance([given.corpus.resolve()], {}) | {"model": resolver.meaning.encoder.sha256}
    common.show(given.json, made_with, results, [section(rows, asked, notes)])


if __name__ == "__main__":
    common.run(main)
