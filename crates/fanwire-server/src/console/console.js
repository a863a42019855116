/**
 * The console: asks the server once a second how it is, and shows the view that is chosen.
 *
 * In      /api/info; the tab, the theme and the token that the user has chosen
 * Out     the page
 * Bounds  one request at a time for figures, one for a list every LIST_EVERY of them
 */
import { Refused, forgetToken, get, hasToken, keepToken } from "./api.js";
import { at, write } from "./dom.js";
import { History } from "./history.js";
import { Overview } from "./overview.js";
import { Poll } from "./poll.js";
import { Reasons } from "./reasons.js";
import { Sessions } from "./sessions.js";
import { Shards } from "./shards.js";
import { startTabs } from "./tabs.js";
import { startTheme } from "./theme.js";
import { Topics } from "./topics.js";
import { Try } from "./try.js";

/** Lists cost more than figures. */
const LIST_EVERY = 3;

let history = new History();
const overview = new Overview();
const views = {
  overview,
  shards: new Shards(),
  reasons: new Reasons(),
  try: new Try(),
};
const lists = { topics: new Topics(listFailed), sessions: new Sessions(listFailed) };
const poll = new Poll(look, lookFailed);
let shown = "overview";
let looks = 0;

async function look() {
  const info = await get("api/info");
  history.add(info, Date.now() / 1000);
  said(info);
  paint();
  if (looks++ % LIST_EVERY === 0) await lists[shown]?.refresh();
}

function paint() {
  if (history.last) views[shown]?.show(history);
}

/** The server has answered. */
function said(info) {
  if (!at("login").hidden) showLogin(false);
  at("sign-out").hidden = !hasToken();
  at("views").classList.remove("stale");
  write(at("server"), `${info.version} · ${location.host}`);
  state(info.draining ? "draining" : "live", info.draining ? "Draining" : "Live");
  banner(
    info.draining ? "This server has been told to end: it takes no new work, and closes its sessions." : "",
    "warn",
  );
}

function lookFailed(error, waitMs) {
  if (error instanceof Refused && error.status === 401) return askForToken();
  at("views").classList.add("stale");
  state("lost", error instanceof Refused ? "Refused" : "Not reachable");
  const seconds = Math.round(waitMs / 1000);
  const what =
    error instanceof Refused ? `The server refuses: ${error.message}.` : "The server cannot be reached.";
  const old = history.last ? " What is shown is from before." : "";
  banner(`${what}${old} Trying again in ${seconds} s.`);
}

/** A list may fail although the server lives: the filter may be wrong. */
function listFailed(error, note) {
  if (error instanceof Refused && error.status === 401) return askForToken();
  write(note, error instanceof Refused ? error.message : "There was no answer; trying again.");
}

function askForToken() {
  const wasWrong = hasToken();
  signOut();
  write(at("login-error"), wasWrong ? "The server does not know this token, or no longer." : "");
}

function showLogin(isShown) {
  at("login").hidden = !isShown;
  at("views").hidden = isShown;
  if (isShown) at("token").focus();
}

function signOut() {
  poll.stop();
  forgetToken();
  views.try.stop();
  // Nothing of what only a token shows stays in the page.
  history = new History();
  for (const place of document.querySelectorAll("#tiles, #facts, tbody, #shard-cards, #log"))
    place.replaceChildren();
  write(at("server"), "");
  at("sign-out").hidden = true;
  state("", "Signed out");
  banner("");
  showLogin(true);
}

function state(name, text) {
  at("state").className = name;
  write(at("state"), text);
}

function banner(text, name = "") {
  at("banner").className = name;
  at("banner").hidden = text === "";
  write(at("banner"), text);
}

at("login").addEventListener("submit", (event) => {
  event.preventDefault();
  keepToken(at("token").value.trim());
  at("token").value = "";
  write(at("login-error"), "");
  poll.start();
});
at("sign-out").addEventListener("click", signOut);
at("pause").addEventListener("click", () => {
  const isPaused = !poll.isStopped;
  at("pause").setAttribute("aria-pressed", String(isPaused));
  write(at("pause"), isPaused ? "Go on" : "Pause");
  if (isPaused) {
    poll.stop();
    state("", "Paused");
  } else {
    poll.start();
  }
});
startTabs((name) => {
  shown = name;
  looks = 0;
  paint();
  lists[shown] && history.last && lists[shown].refresh();
});
startTheme(() => overview.recolour());
poll.start();
