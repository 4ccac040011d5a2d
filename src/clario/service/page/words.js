// How types, assertions and states are called and marked: never by colour alone.

export const TYPES = {
  symptom: { name: "Symptom", letter: "S" },
  lab_marker: { name: "Lab marker", letter: "L" },
  med: { name: "Medicine", letter: "M" },
  trigger: { name: "Trigger", letter: "T" },
  behavior: { name: "Behavior", letter: "B" },
};

export const ASSERTIONS = {
  present: { name: "Present", tag: "", means: "has it now, or in the time told of" },
  past: { name: "Past", tag: "past", means: "told as over long ago" },
  absent: { name: "Absent", tag: "not", means: "denied" },
  other: { name: "Somebody else", tag: "other", means: "somebody else has it" },
  hypothetical: { name: "Possible", tag: "if", means: "feared, asked about, only possible" },
};

export const STATES = {
  proposed: { name: "Open", sign: "" },
  accepted: { name: "Accepted", sign: "✓" },
  changed: { name: "Corrected", sign: "✎" },
  added: { name: "Added", sign: "+" },
  rejected: { name: "Rejected", sign: "✕" },
};

export const hasTerm = (type) => type === "symptom" || type === "lab_marker";
// Whether accepting would change nothing: a person has accepted, corrected or added it.
export const isSettled = ({ status }) => ["accepted", "changed", "added"].includes(status);
export const percent = (share) => `${Math.round(share * 100)} %`;

// One line that tells a finding in words, for lists, conflicts and screen readers.
export function inWords(item) {
  const { entity } = item;
  const term = entity.hpo_label ?? (hasTerm(entity.type) ? "no term" : entity.name_canonical);
  return `“${entity.name_colloquial}”: ${TYPES[entity.type].name}, ${term}, `
    + `${ASSERTIONS[entity.assertion].name.toLowerCase()}, ${STATES[item.status].name.toLowerCase()}`;
}

// Only the model's own confidence is a figure; what a person changed or added has none.
export function confidenceOf(item) {
  if (item.status === "proposed") return item.entity.confidence;
  return item.status === "accepted" && item.proposed ? item.proposed.confidence : null;
}

// What a change says, for its author, who is asked whether it shall still be made.
export function changeInWords(change, item, text) {
  const about = item ? `“${item.entity.name_colloquial}”: ` : "";
  switch (change.action) {
    case "accept": return `${about}accept`;
    case "reject": return `${about}reject`;
    case "term": return `${about}term ${change.label ?? change.hpo_id ?? "none"}`;
    case "assertion": return `${about}${ASSERTIONS[change.assertion].name.toLowerCase()}`;
    case "type": return `${about}${TYPES[change.type].name}`;
    case "span": return `${about}mark “${text.slice(change.start, change.end)}” instead`;
    case "add": return `Add “${text.slice(change.start, change.end)}”`;
    default: return change.action;
  }
}
