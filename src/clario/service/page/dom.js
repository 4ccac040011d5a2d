// Small tools for the document. Text from diaries only ever goes in as text.

export const $ = (id) => document.getElementById(id);

export function make(tag, given = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (name === "text") node.textContent = value;
    else if (name === "class") node.className = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

export const fill = (node, ...children) => { node.replaceChildren(...children); };

// What screen readers hear. The same words twice in a row would not be spoken again.
let turn = false;
export function say(words) {
  turn = !turn;
  $("live").textContent = words + (turn ? "\u00a0" : "");
}
