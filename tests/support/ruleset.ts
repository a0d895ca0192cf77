import type { Netns } from "./netns.ts";

/**
 * The rules of a namespace, each with the number (handle) that it keeps until it is deleted, and without what its counters say:
 * two that are equal tell that nobody deleted, added or rewrote a rule in between, whatever packets passed (an agent probes its
 * peers whenever its interval ends).
 *
 * @param family as nft names it; all families without it
 */
export async function rulesetOf(ns: Netns, family?: "ip" | "ip6" | "inet"): Promise<string> {
  const text = await ns.exec(["nft", "-a", "-s", "list", "ruleset", ...(family === undefined ? [] : [family])]);
  // -s leaves the counters out of nft's own rules, not out of those that iptables wrote.
  return text.replaceAll(/counter packets \d+ bytes \d+/g, "counter");
}
