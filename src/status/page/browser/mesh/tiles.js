// The matrix: a tile for each node, which of them are shown, and the way from one to the next by keys.
import { arrange, byId, make, plural, setText, signOf } from "./dom.js";
import { describe, familiesOf, figureOf, nameOf, roundTrip, STATE_NAMES, STATES, shortener } from "./peers.js";

/** @typedef {import("./peers.js").Peer} Peer */
/** @typedef {import("./peers.js").PeerState} PeerState */

/** Of more nodes than this each gets a small tile. */
const MANY = 60;

/** @typedef {{ item: HTMLLIElement, button: HTMLButtonElement, parts: HTMLElement[] }} Tile */
/** @type {Map<string, Tile>} */
const tiles = new Map();
/** @type {Set<PeerState>} */
const hidden = new Set();
/** @type {Map<PeerState, HTMLElement>} */
const counters = new Map();

/** @param {() => void} onChange what is shown is to be other nodes */
export function makeTools(onChange) {
  const boxes = STATE_NAMES.map((state) => {
    const [sign, level, text] = STATES[state];
    const box = make("input", "");
    box.type = "checkbox";
    box.checked = true;
    box.addEventListener("change", () => {
      if (box.checked) hidden.delete(state);
      else hidden.add(state);
      onChange();
    });
    const counter = make("span", "count", "0");
    counters.set(state, counter);
    return make("label", "chip", box, signOf(sign, level), make("span", "", text), counter);
  });
  byId("states").append(...boxes);
  byId("find").addEventListener("input", onChange);
  byId("nodes").addEventListener("keydown", onKey);
}

/** @param {Peer} peer @param {string} wanted in lower case */
function isShown(peer, wanted) {
  if (hidden.has(peer.state)) return false;
  if (wanted === "") return true;
  const texts = familiesOf(peer).flatMap(({ subnet, publicIP }) => [subnet, publicIP ?? ""]);
  return [nameOf(peer), peer.key, ...texts].some((text) => text.toLowerCase().includes(wanted));
}

/** @param {string} key @param {(key: string) => void} onSelect @returns {Tile} */
function makeTile(key, onSelect) {
  const parts = ["sign", "name", "figure", "subnet", "bar"].map((name) => make("span", name));
  const button = make("button", "", ...parts);
  button.type = "button";
  button.tabIndex = -1;
  button.addEventListener("click", () => onSelect(key));
  button.addEventListener("focus", () => moveTo(button));
  const tile = { item: make("li", "", button), button, parts };
  tiles.set(key, tile);
  return tile;
}

/** @param {Tile} tile @param {Peer} peer @param {string} name @param {boolean} isSelected */
function fill({ button, parts }, peer, name, isSelected) {
  const [sign, level] = STATES[peer.state];
  const texts = [sign, name, figureOf(peer), familiesOf(peer)[0]?.subnet, ""];
  for (const [index, part] of parts.entries()) setText(part, texts[index] ?? "");
  const time = peer.state === "down" ? undefined : roundTrip(peer);
  // A hundredth of a millisecond to a second, by its logarithm.
  const share = time === undefined ? 0 : Math.min(1, Math.max(0.03, (Math.log10(time) + 2) / 5));
  parts[4]?.style.setProperty("--share", share.toFixed(3));
  button.className = level;
  button.title = [nameOf(peer), peer.why ?? ""].filter(Boolean).join(": ");
  button.setAttribute("aria-label", describe(peer));
  if (isSelected) button.setAttribute("aria-current", "true");
  else button.removeAttribute("aria-current");
}

/**
 * @param {ReadonlyMap<string, Peer>} peers
 * @param {string} selected key
 * @param {(key: string) => void} onSelect
 */
export function showNodes(peers, selected, onSelect) {
  const list = byId("nodes");
  const wanted = /** @type {HTMLInputElement} */ (byId("find")).value.trim().toLowerCase();
  const all = [...peers.values()].sort((a, b) => nameOf(a).localeCompare(nameOf(b), "en", { numeric: true }));
  const shown = all.filter((peer) => isShown(peer, wanted));
  const shorten = shortener(all.map(nameOf));
  const focusedAt = [...list.children].findIndex((item) => item.contains(document.activeElement));
  const items = shown.map((peer) => {
    const tile = tiles.get(peer.key) ?? makeTile(peer.key, onSelect);
    fill(tile, peer, shorten(nameOf(peer)), peer.key === selected);
    return tile.item;
  });
  for (const key of tiles.keys()) if (!peers.has(key)) tiles.delete(key);
  list.className = peers.size > MANY ? "many" : "";
  arrange(list, items);
  const buttons = [...list.querySelectorAll("button")];
  if (!buttons.some((button) => button.tabIndex === 0)) moveTo(buttons[0]);
  // The focused one is gone: the one in its place gets the focus.
  if (focusedAt >= 0 && !list.contains(document.activeElement))
    buttons[Math.min(focusedAt, buttons.length - 1)]?.focus();
  for (const [state, counter] of counters) setText(counter, `${all.filter((peer) => peer.state === state).length}`);
  setText(byId("nodes-title"), shown.length === all.length ? "Nodes" : `Nodes (${shown.length} of ${all.length})`);
  const none = byId("none");
  none.hidden = shown.length > 0;
  setText(none, all.length === 0 ? "There is no other node." : `None of ${plural(all.length, "node")} matches.`);
}

/** @param {string} key @returns whether its tile is shown */
export function focusTile(key) {
  const button = tiles.get(key)?.button;
  if (button === undefined || !button.isConnected) return false;
  button.focus();
  return true;
}

/** One tile at a time is reached by Tab. @param {HTMLButtonElement | undefined} button */
function moveTo(button) {
  for (const tile of tiles.values()) tile.button.tabIndex = tile.button === button ? 0 : -1;
}

/** @param {KeyboardEvent} event */
function onKey(event) {
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  const list = byId("nodes");
  const all = [...list.querySelectorAll("button")];
  const at = all.findIndex((button) => button.matches(":focus"));
  const columns = getComputedStyle(list).gridTemplateColumns.split(" ").length;
  /** @type {Readonly<Record<string, number>>} */
  const targets = {
    ArrowRight: at + 1,
    ArrowLeft: at - 1,
    ArrowDown: at + columns,
    ArrowUp: at - columns,
    Home: 0,
    End: all.length - 1,
  };
  const target = targets[event.key];
  if (at < 0 || target === undefined) return;
  event.preventDefault();
  all[target]?.focus();
}
