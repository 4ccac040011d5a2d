// Talks to the server. Diary text and searches travel in bodies, never in addresses, which servers like to log.
// Where the server wants a token, the browser asks for it (as a password) and brings it along by itself.

export class Problem extends Error {
  constructor(status, code, message, body) {
    super(message);
    Object.assign(this, { status, code, body });
  }
}

async function send(method, path, body) {
  const headers = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  try {
    return await fetch(path, {
      method, headers, body: body === undefined ? undefined : JSON.stringify(body), cache: "no-store",
    });
  } catch {
    throw new Problem(0, "unreachable", "The server does not answer.", null);
  }
}

async function problemOf(answer) {
  const body = await answer.json().catch(() => null);
  const error = body?.error ?? {};
  return new Problem(answer.status, error.code ?? "failed", error.message ?? `The server says ${answer.status}.`, body);
}

async function ask(method, path, body) {
  const answer = await send(method, path, body);
  if (!answer.ok) throw await problemOf(answer);
  return answer;
}

const json = async (...request) => (await ask(...request)).json();
const part = encodeURIComponent;
const api = (path) => `/review/api/${path}`;
const document = (id, rest = "") => api(`documents/${part(id)}${rest}`);

export const status = () => json("GET", api("status"));
export const entries = (annotator) => json("GET", api(`entries?annotator=${part(annotator)}`));
export const create = (diary) => json("POST", api("documents"), diary);
export const load = (id, annotator) => json("GET", document(id, `?annotator=${part(annotator)}`));
export const read = (id, annotator) => json("POST", document(id, "/read"), { annotator });
export const change = (id, given) => json("POST", document(id, "/changes"), given);
export const keep = (id, annotator) => json("POST", document(id, "/keep"), { annotator });
export const forget = (id) => ask("DELETE", document(id));
export const search = (query) => json("POST", api("terms"), { query });
export const term = (id) => json("GET", `/v1/terms/${part(id)}`);
export const agreement = (given) => json("POST", api("agreement"), given);

// A blob with the name that the server gave it.
export async function exported(given) {
  const answer = await ask("POST", api("export"), given);
  const name = /filename="([^"]+)"/.exec(answer.headers.get("Content-Disposition") ?? "");
  return { blob: await answer.blob(), name: name ? name[1] : "clario-review" };
}
