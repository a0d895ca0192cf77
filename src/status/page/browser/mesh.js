// The page at `/`: this node's view of the others. It reads the debug API, follows its events, and changes nothing.
import { showDetail } from "./mesh/detail.js";
import { byId, plural, setText, timeOf } from "./mesh/dom.js";
import { nameOf, STATES } from "./mesh/peers.js";
import { focusTile, makeTools, showNodes } from "./mesh/tiles.js";
import { showEvents, showHead, showTrouble } from "./mesh/trouble.js";

/** @typedef {import("./mesh/peers.js").Peer} Peer */
/** @typedef {import("../../../api/state.ts").State} State */
/** @typedef {import("../../../api/events.ts").Event} LoggedEvent */

/** After an event all is read again, at most this often, and at most a quarter of the time is spent reading. */
const REFRESH_MS = 500;
const SHARE = 3;
/** Where probes are off. */
const QUIET_MS = 10_000;
/** of one answer */
const PATIENCE_MS = 10_000;
/** after one that did not come */
const RETRY_MS = 2000;
const PAGE = 1000;
const MOST_EVENTS = 1000;
const ANCHOR = "#node=";

/** @type {Map<string, Peer>} */
let peers = new Map();
/** @type {LoggedEvent[]} the newest first */
let events = [];
let selected = keyInAddress();
let intervalMs = QUIET_MS;
let isStreaming = false;
/** @type {Date | undefined} */
let readAt;

function keyInAddress() {
  if (!location.hash.startsWith(ANCHOR)) return "";
  try {
    return decodeURIComponent(location.hash.slice(ANCHOR.length));
  } catch {
    return "";
  }
}

/** @param {number} ms */
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** @param {string} path */
async function read(path) {
  const signal = AbortSignal.timeout(PATIENCE_MS);
  const response = await fetch(path, { headers: { accept: "application/json" }, signal });
  if (!response.ok) throw new Error(`${path} answers ${response.status}`);
  return response.json();
}

/** @returns {Promise<{ items: Peer[], probeIntervalMs: number | null }>} */
async function readPeers() {
  let list = await read(`/debug/peers?limit=${PAGE}`);
  const { probeIntervalMs } = list;
  const items = [...list.items];
  while (list.next !== null) {
    list = await read(list.next);
    items.push(...list.items);
  }
  return { items, probeIntervalMs };
}

/** @param {string} key empty for none */
function select(key) {
  selected = key;
  history.replaceState(null, "", key === "" ? location.pathname : `${ANCHOR}${encodeURIComponent(key)}`);
  showNodes(peers, selected, select);
  showDetail(peers.get(selected), events);
  if (key === "") return;
  byId("detail-title").focus();
}

function close() {
  if (byId("detail").hidden) return;
  const key = selected;
  select("");
  if (!focusTile(key)) byId("find").focus();
}

/** For a screen reader: who changed. @param {ReadonlyMap<string, Peer>} before */
function announce(before) {
  const changed = [...peers.values()].filter(({ key, state }) => before.has(key) && before.get(key)?.state !== state);
  if (changed.length === 0) return;
  const names = changed.map((peer) => `${nameOf(peer)} is ${STATES[peer.state][2]}`);
  byId("announce").textContent = names.length > 3 ? `${plural(names.length, "node")} changed` : names.join(", ");
}

/** @param {unknown} [problem] why there is no answer */
function showContact(problem) {
  const banner = byId("banner");
  banner.hidden = problem === undefined;
  if (problem === undefined) {
    const how = isStreaming ? "live" : `every ${Math.round(intervalMs / 1000)} s`;
    const parts = readAt === undefined ? [how] : [`${how}, as of `, timeOf(readAt.toISOString())];
    byId("live").replaceChildren(...parts);
    setText(banner, "");
    return;
  }
  byId("live").replaceChildren("✕ not live");
  const why = problem instanceof Error ? problem.message : String(problem);
  const of = readAt === undefined ? "" : ` Below is how it was at ${readAt.toLocaleTimeString()}.`;
  setText(banner, `✕ The agent does not answer (${why}).${of} It is asked again every ${RETRY_MS / 1000} s.`);
}

/** Reads all and shows it. @returns whether the agent answered */
async function readAll() {
  const answers = await Promise.all([/** @type {Promise<State>} */ (read("/debug/state")), readPeers()]).catch(
    showContact,
  );
  if (answers === undefined) return false;
  const [state, { items, probeIntervalMs }] = answers;
  const before = peers;
  peers = new Map(items.map((peer) => [peer.key, peer]));
  intervalMs = probeIntervalMs ?? QUIET_MS;
  readAt = new Date();
  showHead(state);
  showTrouble(state, items, select);
  showNodes(peers, selected, select);
  showDetail(peers.get(selected), events);
  showContact();
  announce(before);
  return true;
}

let isWanted = false;
let isReading = false;
let isAnswered = true;

/** Once at a time; what is asked for meanwhile is one more reading after it. */
async function refresh() {
  isWanted = true;
  if (isReading) return;
  isReading = true;
  try {
    while (isWanted && !document.hidden) {
      isWanted = false;
      const started = performance.now();
      isAnswered = await readAll();
      await pause(Math.max(REFRESH_MS, SHARE * (performance.now() - started)));
    }
  } finally {
    isReading = false;
  }
}

/** Round trips change without an event. */
async function refreshAgainAndAgain() {
  for (;;) {
    await refresh();
    await pause(isAnswered ? intervalMs : RETRY_MS);
  }
}

let isShowing = false;

/** A stream begins with all events that are kept: they are shown together. */
function showEventsSoon() {
  if (isShowing) return;
  isShowing = true;
  setTimeout(() => {
    isShowing = false;
    showEvents(byId("events"), events);
    showDetail(peers.get(selected), events);
  }, 20);
}

/** The source reconnects by itself and asks for what it missed, unless it was refused. */
function follow() {
  const source = new EventSource("/debug/events");
  /** @param {MessageEvent<string>} message */
  const onEvent = ({ data }) => {
    /** @type {LoggedEvent} */
    const event = JSON.parse(data);
    // A new stream, or an agent that has just started, tells some of them again.
    if (!events.some(({ id, at }) => id === event.id && at === event.at)) {
      events = [event, ...events].slice(0, MOST_EVENTS);
      showEventsSoon();
      void refresh();
    }
  };
  for (const kind of (document.body.dataset["eventKinds"] ?? "").split(" ")) source.addEventListener(kind, onEvent);
  source.addEventListener("open", () => {
    isStreaming = true;
    void refresh();
  });
  source.addEventListener("error", () => {
    isStreaming = false;
    void refresh();
    if (source.readyState === EventSource.CLOSED) setTimeout(follow, RETRY_MS);
  });
}

makeTools(() => showNodes(peers, selected, select));
byId("close").addEventListener("click", close);
addEventListener("keydown", ({ key }) => {
  if (key === "Escape" && document.activeElement !== byId("find")) close();
});
addEventListener("hashchange", () => select(keyInAddress()));
document.addEventListener("visibilitychange", () => void refresh());
void refreshAgainAndAgain();
follow();
