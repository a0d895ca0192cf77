// What can be said of a peer in few words.
import { formatMs } from "./dom.js";

/** @typedef {import("../../../../api/peers.ts").Peer} Peer */
/** @typedef {import("../../../../api/peers.ts").PeerState} PeerState */

/** Each state by its sign, which does not depend on colours, its class and its name. The worst first. */
export const STATES = /** @type {const} */ ({
  down: ["✕", "bad", "down"],
  notProgrammed: ["!", "bad", "not programmed"],
  leftOut: ["–", "warn", "left out"],
  degraded: ["▲", "warn", "degraded"],
  unknown: ["?", "quiet", "unknown"],
  up: ["●", "good", "up"],
});
export const STATE_NAMES = /** @type {PeerState[]} */ (Object.keys(STATES));

/** What the probes of one family say together. */
export const VERDICTS = /** @type {const} */ ({
  reachable: "reachable",
  lossy: "packets get lost",
  mtuTooSmall: "MTU too small",
  overlayBlocked: "overlay blocked",
  unreachable: "unreachable",
  unknown: "not known yet",
});

/** @param {Peer} peer */
export const nameOf = (peer) => peer.node ?? peer.key;

/** @param {Peer} peer */
export const familiesOf = (peer) =>
  /** @type {const} */ (["ipv4", "ipv6"]).flatMap((name) => {
    const family = peer[name];
    return family === undefined ? [] : [{ name, ...family }];
  });

/**
 * The slower family's median round trip, in milliseconds.
 * @param {Peer} peer
 */
export function roundTrip(peer) {
  const all = familiesOf(peer).flatMap(({ probe }) => probe?.overlay.p50Ms ?? []);
  return all.length === 0 ? undefined : Math.max(...all);
}

/**
 * The one figure that matters most.
 * @param {Peer} peer
 */
export function figureOf(peer) {
  const probes = familiesOf(peer).flatMap(({ probe }) => probe ?? []);
  if (peer.state === "down") return "no answer";
  if (peer.state === "notProgrammed" || peer.state === "leftOut") return STATES[peer.state][2];
  const lossy = probes.find(({ verdict }) => verdict === "lossy");
  if (peer.state === "degraded" && lossy !== undefined) return `${Math.round(lossy.overlay.lossPercent ?? 0)} % loss`;
  if (peer.state === "degraded" && probes.some(({ verdict }) => verdict === "mtuTooSmall")) return VERDICTS.mtuTooSmall;
  const time = roundTrip(peer);
  return time === undefined ? "" : formatMs(time);
}

/**
 * In one line, for whoever can't see the tile.
 * @param {Peer} peer
 */
export function describe(peer) {
  const time = roundTrip(peer);
  const figure = figureOf(peer);
  const isTime = time !== undefined && figure === formatMs(time);
  const parts = [nameOf(peer), STATES[peer.state][2], isTime ? `round trip ${figure}` : figure];
  return [...new Set(parts)].filter(Boolean).join(", ");
}

/**
 * Names without their domain, as long as they can be told apart without it. An address stays whole.
 * @param {readonly string[]} names
 * @returns {(name: string) => string}
 */
export function shortener(names) {
  const short = (/** @type {string} */ name) => /^[\w-]*[a-z][\w-]*(?=\.[\w.-]+$)/i.exec(name)?.[0] ?? name;
  return new Set(names.map(short)).size === new Set(names).size ? short : (name) => name;
}
