"""Which phenotypes a lay person tells of: a rule on the ontology and the lay lexicon."""

from functools import cached_property

from clario.ontology.index import PHENOTYPIC_ABNORMALITY, Index

IN_LAY_WORDS, LAY_SYNONYM, SYMPTOM_LIKE, TOLD_OF, KIND_OF_KNOWN, HIDDEN = 1.0, 0.8, 0.5, 0.4, 0.3, 0.0

# Branches that are felt, done or seen on the body.
_SYMPTOM_LIKE = frozenset({
    "HP:0025142",  # Constitutional symptom
    "HP:0011446",  # Abnormality of mental function
    "HP:0012759",  # Neurodevelopmental abnormality
    "HP:0100022",  # Abnormality of movement
    "HP:0011442",  # Abnormal central motor function
    "HP:0003474",  # Somatic sensory dysfunction
    "HP:0001250",  # Seizure
    "HP:0011804",  # Abnormal muscle physiology
    "HP:0011843",  # Abnormal musculoskeletal physiology
    "HP:0034392",  # Joint contracture
    "HP:0000504",  # Abnormality of vision
    "HP:0000496",  # Abnormality of eye movement
    "HP:0032039",  # Abnormality of the ocular adnexa
    "HP:0000364",  # Hearing abnormality
    "HP:0000356",  # Abnormality of the outer ear
    "HP:0000271",  # Abnormality of the face
    "HP:0000163",  # Abnormal oral cavity morphology
    "HP:0000951",  # Abnormality of the skin
    "HP:0011138",  # Abnormal skin adnexa morphology
    "HP:0025276",  # Abnormality of skin adnexa physiology
    "HP:0001155",  # Abnormality of the hand
    "HP:0001760",  # Abnormal foot morphology
    "HP:0025032",  # Abnormality of digestive system physiology
    "HP:0002795",  # Abnormal respiratory system physiology
    "HP:0001608",  # Abnormality of the voice
    "HP:0000009",  # Functional abnormality of the bladder
    "HP:0012590",  # Abnormal urine output
    "HP:0000080",  # Abnormality of reproductive system physiology
    "HP:0001892",  # Abnormal bleeding
    "HP:0032101",  # Unusual infection
    "HP:0001507",  # Growth abnormality
})  # fmt: skip

# Branches that only a laboratory or a recording shows. A layperson synonym says that patients are told of it.
_MEASURED = frozenset({
    "HP:0001939",  # Abnormality of metabolism/homeostasis
    "HP:0001871",  # Abnormality of blood and blood-forming tissues
    "HP:0003117",  # Abnormal circulating hormone concentration
    "HP:0010978",  # Abnormality of immune system physiology
    "HP:0001311",  # Abnormal nervous system electrophysiology
    "HP:0030956",  # Abnormality of cardiovascular system electrophysiology
    "HP:0030453",  # Abnormal visual electrophysiology
    "HP:0012443",  # Abnormal brain morphology
})  # fmt: skip

# Branches that only an X-ray, a scan or a microscope shows, and whose layperson synonyms paraphrase the label
# ("Enlarged end part of the innermost bone of the 4th toe") rather than repeat what people say.
_IMAGED = frozenset({
    "HP:0005930",  # Abnormal epiphysis morphology
    "HP:0000944",  # Abnormal metaphysis morphology
    "HP:0000940",  # Abnormal diaphysis morphology
    "HP:0011849",  # Abnormal bone ossification
    "HP:0004348",  # Abnormality of bone mineral density
    "HP:0005918",  # Abnormal finger phalanx morphology
    "HP:0010161",  # Abnormal toe phalanx morphology
    "HP:0001191",  # Abnormal carpal morphology
    "HP:0005916",  # Abnormal metacarpal morphology
    "HP:0001850",  # Abnormality of the tarsal bones
    "HP:0001832",  # Abnormal metatarsal morphology
    "HP:0003468",  # Abnormal vertebral morphology
    "HP:0000772",  # Abnormal rib morphology
    "HP:0002644",  # Abnormal pelvic girdle bone morphology
    "HP:0002693",  # Abnormal skull base morphology
    "HP:0025461",  # Abnormal cell morphology
    "HP:0025354",  # Abnormal cellular phenotype
    "HP:0004303",  # Abnormal muscle fiber morphology
    "HP:0011124",  # Abnormal epidermal morphology
    "HP:0031538",  # Abnormal dermoepidermal junction morphology
    "HP:0011792",  # Neoplasm by histology
    "HP:0003457",  # EMG abnormality
    "HP:0003800",  # Muscle abnormality related to mitochondrial dysfunction
    "HP:0030878",  # Abnormality on pulmonary function testing
    "HP:0006479",  # Abnormal dental pulp morphology
    "HP:0006486",  # Abnormal dental root morphology
    "HP:0012705",  # Abnormal metabolic brain imaging by MRS
    "HP:0030601",  # Abnormal posterior segment imaging
})  # fmt: skip

# Inside the measured and imaged branches, what people feel or see all the same.
_FELT_ALL_THE_SAME = frozenset({
    "HP:0001892",  # Abnormal bleeding
    "HP:0032101",  # Unusual infection
    "HP:0012647",  # Abnormal inflammatory response
    "HP:0011032",  # Abnormality of fluid regulation
    "HP:0004370",  # Abnormality of temperature regulation
})  # fmt: skip

_GROUPING = ("Abnormal", "Aplasia/", "Functional abnormality")


class Noticing:
    """How likely a lay person tells of a phenotype: a score from 0 to 1 by rules on the ontology.

    | score | rule |
    |---|---|
    | 1.0 | the lay lexicon has a phrase for the term |
    | 0.8 | HPO has a layperson synonym, and the term is not measured or imaged |
    | 0.5 | neither, but it stands under a branch that is felt, done or seen on the body |
    | 0.4 | HPO has a layperson synonym, and the term is measured in a laboratory: patients are told of it |
    | 0.3 | none of these, but it is a child of a term of the lay lexicon |
    | 0.3 | the lay lexicon has a phrase, but the term only groups others ("Abnormality of the wrist") |
    | 0.0 | all others |
    """

    def __init__(self, index: Index) -> None:
        self._index = index
        self._scores: dict[str, float] = {}

    def score(self, hpo_id: str) -> float:
        """The score of a live id; raises UnknownTermError as `Index.live` does."""
        if hpo_id not in self._scores:
            self._scores[hpo_id] = self._score(hpo_id)
        return self._scores[hpo_id]

    def _score(self, hpo_id: str) -> float:
        index = self._index
        groups = index.label(hpo_id).startswith(_GROUPING)
        if hpo_id in self._in_lexicon:
            return KIND_OF_KNOWN if groups else IN_LAY_WORDS
        if not index.is_phenotypic(hpo_id) or hpo_id == PHENOTYPIC_ABNORMALITY:
            return HIDDEN
        branches = index.ancestors(hpo_id) | {hpo_id}
        if groups or branches & _IMAGED:
            return HIDDEN
        told = any(synonym.kind == "layperson" for synonym in index.term(hpo_id).synonyms)
        if branches & _MEASURED and not branches & _FELT_ALL_THE_SAME:
            return TOLD_OF if told else HIDDEN
        if told:
            return LAY_SYNONYM
        if branches & _SYMPTOM_LIKE:
            return SYMPTOM_LIKE
        return KIND_OF_KNOWN if self._in_lexicon.intersection(index.parents(hpo_id)) else HIDDEN

    @cached_property
    def _in_lexicon(self) -> frozenset[str]:
        return frozenset(name.hpo_id for name in self._index.lay)
