import type * as v from "valibot";
import type { PeerCounts, PeerState } from "../api/peers.ts";
import { plural } from "./output.ts";

export const STATE_WORDS: Readonly<Record<PeerState, string>> = {
  down: "down",
  notProgrammed: "not programmed",
  leftOut: "left out",
  degraded: "degraded",
  unknown: "unknown",
  up: "up",
};

/** `3 peers: 1 down, 2 up`. */
export function countsLine(counts: v.InferOutput<typeof PeerCounts>): string {
  const states = Object.keys(STATE_WORDS) as PeerState[];
  const total = states.reduce((sum, state) => sum + counts[state], 0);
  const parts = states.flatMap((state) => (counts[state] === 0 ? [] : [`${counts[state]} ${STATE_WORDS[state]}`]));
  return total === 0 ? "no other node" : `${plural(total, "peer")}: ${parts.join(", ")}`;
}
