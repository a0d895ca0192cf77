import { PeerState, Verdict } from "../../api/peers.ts";
import type { PathTotals } from "../../probe/totals.ts";
import type { Facts } from "../facts.ts";
import { counters, gauge, gauges, histograms, type Sample, type Scrape, seconds } from "./spec.ts";

/** The peers all together; `each-peer.ts` has them one by one. */
export const PEER_METRICS = {
  tartan_peers: gauges("Other nodes by how this one sees them, as in /debug/peers.", ["state"], ({ peers }) =>
    PeerState.options.map((state): Sample => [[state], peers.filter((peer) => peer.state === state).length]),
  ),
  tartan_probe_peers: gauges("Other nodes by what the probes say of them.", ["family", "verdict"], byVerdict),
  tartan_probe_interval_seconds: gauge("Between two rounds of probes; there is none while they are off.", ({ facts }) =>
    seconds(facts.probes?.intervalMs),
  ),
  tartan_probe_requests_total: counters("Probes that were sent to all peers.", ["family", "path"], ({ facts }) =>
    totalsOf(facts).map((totals): Sample => [labelsOf(totals), totals.sent]),
  ),
  tartan_probe_replies_total: counters("Probes that were answered in time.", ["family", "path"], ({ facts }) =>
    totalsOf(facts).map((totals): Sample => [labelsOf(totals), sum(totals.rttSeconds.counts)]),
  ),
  tartan_probe_rtt_seconds: histograms("Round-trip times of the probes.", ["family", "path"], ({ facts }) =>
    totalsOf(facts).map((totals) => [labelsOf(totals), totals.rttSeconds] as const),
  ),
};

function byVerdict({ facts, peers }: Scrape): Sample[] {
  if (facts.probes === undefined) return [];
  const counts = new Map<string, Map<Verdict, number>>();
  for (const { family } of facts.desired?.devices ?? [])
    counts.set(`ipv${family}`, new Map(Verdict.options.map((verdict) => [verdict, 0])));
  for (const { families } of peers) {
    for (const { family, verdict } of families) {
      const ofFamily = counts.get(`ipv${family}`);
      if (verdict !== undefined) ofFamily?.set(verdict, (ofFamily.get(verdict) ?? 0) + 1);
    }
  }
  return [...counts].flatMap(([family, ofFamily]) =>
    [...ofFamily].map(([verdict, count]): Sample => [[family, verdict], count]),
  );
}

function totalsOf({ probes }: Facts): readonly PathTotals[] {
  return probes?.totals() ?? [];
}

function labelsOf({ family, path }: PathTotals): string[] {
  return [`ipv${family}`, path];
}

function sum(counts: readonly number[]): number {
  return counts.reduce((total, count) => total + count, 0);
}
