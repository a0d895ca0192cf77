// The head of the page, and what is wrong.
import { byId, formatMs, make, setText, showItems, signOf, timeOf } from "./dom.js";
import { nameOf, STATES } from "./peers.js";

/** @typedef {import("./peers.js").Peer} Peer */
/** @typedef {import("../../../../api/state.ts").State} State */
/** @typedef {import("../../../../api/events.ts").Event} LoggedEvent */

/** Of longer lists only the beginning is shown, and how many more there are. */
const MOST_PEERS = 8;
const MOST_EVENTS = 12;
/** @type {ReadonlySet<string>} */
const PROBED = new Set(["down", "degraded", "up"]);
const NOT_KNOWN = "Whether the other nodes answer is not known";

/** @param {State} state */
export function showHead(state) {
  const { ready } = state.readiness;
  const name = state.node ?? state.lease?.key ?? "this node";
  setText(byId("title"), `${name} and the other nodes`);
  document.title = `${ready ? "" : "✕ "}${name} – tartan`;
  const badge = byId("readiness");
  badge.hidden = false;
  badge.className = `badge ${ready ? "good" : "bad"}`;
  setText(badge, ready ? "● ready" : "✕ not ready");
  const { lease } = state;
  const own = [lease?.ipv4, lease?.ipv6].flatMap((family) => [family?.subnet ?? [], family?.publicIP ?? []].flat());
  setText(byId("facts"), [...own, `leases: ${state.leaseSource.kind}`, `tartan ${state.version}`].join(" · "));
}

/** @typedef {{ sign: string, level: string, title: string, text: string | null, fix?: string | null,
 *    since?: string | null, peer?: Peer }} Trouble */

/** @param {Trouble} trouble @param {(key: string) => void} onSelect */
function makeTrouble({ sign, level, title, text, fix, since, peer }, onSelect) {
  const head = make("p", "head", signOf(sign, level));
  if (peer === undefined) head.append(make("strong", "", title));
  else {
    const button = make("button", "link", nameOf(peer));
    button.type = "button";
    button.addEventListener("click", () => onSelect(peer.key));
    head.append(make("strong", "", button, ` ${title}`));
  }
  if (since) head.append(make("span", "quiet", " since ", timeOf(since)));
  const item = make("li", level, head);
  if (text) item.append(make("p", "", text));
  if (fix) item.append(make("p", "fix quiet", fix));
  return item;
}

/**
 * @param {State} state
 * @param {readonly Peer[]} peers the worst first
 * @returns {Trouble[]}
 */
function findTrouble(state, peers) {
  const unknown = peers.find(({ state: now }) => now === "unknown");
  const wrong = peers.filter(({ state: now }) => now !== "up" && now !== "unknown");
  const rest = wrong.length - MOST_PEERS;
  return [
    ...state.readiness.reasons.map(({ condition, message }) => {
      return { sign: "✕", level: "bad", title: `Not ready: ${condition}`, text: message };
    }),
    ...wrong.slice(0, MOST_PEERS).map((peer) => {
      const [sign, level, name] = STATES[peer.state];
      return { sign, level, title: `is ${name}`, text: peer.why, fix: peer.fix, since: peer.since, peer };
    }),
    ...(rest > 0 ? [{ sign: "…", level: "bad", title: `and ${rest} more, marked below`, text: null }] : []),
    ...state.rejectedLeases
      .filter(({ kept }) => kept)
      .map(({ key, node, reason }) => {
        const title = `The lease of ${node ?? key} is not right`;
        return { sign: "▲", level: "warn", title, text: `${reason}. Its last good one stays in use.` };
      }),
    // What is wrong with peers and their leases is told above, for each.
    ...state.readiness.warnings
      .filter(({ condition }) => condition !== "peers")
      .map(({ condition, message }) => ({ sign: "▲", level: "warn", title: `Warning: ${condition}`, text: message })),
    // As long as none was probed, all have the same reason.
    ...(unknown !== undefined && peers.every(({ state: now }) => !PROBED.has(now))
      ? [{ sign: "?", level: "quiet", title: NOT_KNOWN, text: unknown.why, fix: unknown.fix }]
      : []),
  ];
}

/**
 * @param {State} state
 * @param {readonly Peer[]} peers the worst first
 * @param {(key: string) => void} onSelect
 */
export function showTrouble(state, peers, onSelect) {
  const found = findTrouble(state, peers);
  /** @type {Trouble} */
  const none = { sign: "✓", level: "good", title: "Nothing is known to be wrong", text: null };
  const items = (found.length === 0 ? [none] : found).map((trouble, index) => ({
    key: trouble.peer === undefined ? `${index} ${trouble.title}` : `peer ${trouble.peer.key}`,
    content: { ...trouble, peer: trouble.peer && nameOf(trouble.peer) },
    build: () => makeTrouble(trouble, onSelect),
  }));
  showItems(byId("trouble"), items);
}

const LEVELS = /** @type {const} */ ({ info: ["·", "quiet"], warning: ["▲", "warn"], error: ["✕", "bad"] });

/** @param {LoggedEvent} event */
function makeEvent({ at, message, level, cause, durationMs, times }) {
  const [sign, colour] = LEVELS[level];
  const why = cause === null || message.includes(cause) ? "" : cause;
  const more = [why, durationMs === null ? "" : formatMs(durationMs), times > 1 ? `${times} times` : ""];
  const rest = more.filter(Boolean).join(", ");
  const text = make("span", "", level === "info" ? "" : make("span", "spoken", `${level}: `), message);
  if (rest !== "") text.append(make("span", "quiet", ` (${rest})`));
  return make("li", "", timeOf(at), signOf(sign, colour), text);
}

/**
 * @param {Element} list
 * @param {readonly LoggedEvent[]} events the newest first
 */
export function showEvents(list, events) {
  const items = events.slice(0, MOST_EVENTS).map((event) => {
    return { key: `${event.id} ${event.at}`, content: event, build: () => makeEvent(event) };
  });
  showItems(list, items);
}
