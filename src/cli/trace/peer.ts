import { STATE_WORDS } from "../peer-words.ts";
import type { Loss, TargetLease } from "./result.ts";

/** The other node, as the agent's probes and leases have it. Pure. */

export function nameOf({ node, key }: Pick<TargetLease, "node" | "key">): string {
  return node ?? key;
}

/** Why a packet that leaves this node may be lost all the same; undefined where nothing is known of that. */
export function beyond(lease: TargetLease | null | undefined): Loss | undefined {
  const state = lease?.peer?.state;
  return lease && (state === "down" || state === "degraded") ? whyPeer(lease) : undefined;
}

/** What the agent says of a node in trouble. */
export function whyPeer(lease: TargetLease): Loss {
  const { state = "unknown", why = null, fix = null } = lease.peer ?? {};
  return {
    problem: `${nameOf(lease)} is ${STATE_WORDS[state]}${why === null ? "" : `: ${why}`}`,
    fix: fix ?? `see tartan doctor, here and on ${nameOf(lease)}`,
  };
}
