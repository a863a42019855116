/**
 * The API on this page's own address.
 *
 * In      paths, the token that the user has typed
 * Out     answers as JSON; `Refused` with a status and words, `Unreachable` without an answer
 * Bounds  ANSWER_MS for each; the token lives in this tab's sessionStorage and goes nowhere but to this address
 */

const KEY = "fanwire-console-token";
const ANSWER_MS = 10_000;

/** The server has said no, and why. */
export class Refused extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

/** There was no answer. */
export class Unreachable extends Error {}

export const hasToken = () => sessionStorage.getItem(KEY) !== null;
export const forgetToken = () => sessionStorage.removeItem(KEY);
export const keepToken = (token) => sessionStorage.setItem(KEY, token);

/** GET, with a query of those values that are not empty. */
export function get(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== "" && value != null);
  const search = new URLSearchParams(given).toString();
  return ask(search ? `${path}?${search}` : path, {});
}

/** POST of a JSON text. */
export function post(path, text) {
  return ask(path, { method: "POST", body: text, headers: { "Content-Type": "application/json" } });
}

async function ask(path, { headers, ...options }) {
  const token = sessionStorage.getItem(KEY);
  const authorization = token === null ? {} : { Authorization: `Bearer ${token}` };
  let status, body;
  try {
    const answer = await fetch(path, {
      ...options,
      headers: { ...headers, ...authorization },
      cache: "no-store",
      credentials: "omit",
      redirect: "error",
      signal: AbortSignal.timeout(ANSWER_MS),
    });
    status = answer.status;
    body = await answer.json();
  } catch (error) {
    if (status === undefined) throw new Unreachable(error.message);
    throw new Refused(status, `the answer (${status}) is not of the API's form`);
  }
  if (status >= 400) throw new Refused(status, String(body.error));
  return body;
}
