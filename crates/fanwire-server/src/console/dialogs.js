/**
 * Dialogs: one that asks before it disconnects, one that shows a session.
 *
 * In      a session as the API lists it
 * Out     POST /api/disconnect; what the API says of one session
 */
import { get, post } from "./api.js";
import { at, make, write } from "./dom.js";
import { bytes, whole } from "./figures.js";
import { showFacts } from "./overview.js";

/** Whether the session was disconnected. */
export function confirmDisconnect({ session, user, peer }) {
  const dialog = at("disconnect");
  write(at("disconnect-who"), `${session}${user === null ? "" : `, user ${user}`}, from ${peer}`);
  write(at("disconnect-error"), "");
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    const done = new AbortController();
    const end = (result) => {
      done.abort();
      resolve(result);
    };
    const form = dialog.querySelector("form");
    form.addEventListener(
      "submit",
      async (event) => {
        if (event.submitter?.value !== "confirm") return;
        // It stays open until the server has agreed.
        event.preventDefault();
        const code = Number(at("disconnect-code").value);
        try {
          await post(
            "api/disconnect",
            JSON.stringify({ session, code, reason: at("disconnect-reason").value }),
          );
          end(true);
          dialog.close("confirm");
        } catch (error) {
          write(at("disconnect-error"), error.message);
        }
      },
      { signal: done.signal },
    );
    dialog.addEventListener("close", () => end(false), { signal: done.signal });
  });
}

export async function showSession(id) {
  const { sessions } = await get("api/sessions", { session: id });
  const [one] = sessions;
  if (!one) throw new Error("this session has ended");
  showFacts(at("detail-facts"), [
    ["Session", one.session],
    ["User", one.user ?? "–"],
    ["Peer", one.peer],
    ["Shard", whole(one.shard)],
    [
      "Queued",
      `${whole(one.queued.messages)} messages, ${bytes(one.queued.bytes)}` +
        (one.queued.blocked ? "; its socket refuses bytes" : ""),
    ],
    ["Dropped", whole(one.queued.dropped)],
  ]);
  const names = one.topic_names ?? [];
  at("detail-topics").replaceChildren(...names.map((name) => make("li", "", name)));
  if (names.length === 0) at("detail-topics").append(make("li", "muted", "none"));
  at("detail").showModal();
}
