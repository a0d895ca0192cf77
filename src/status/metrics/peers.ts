import { PeerState, Verdict } from "../../api/peers.ts";
import { familiesOf } from "../../net/family.ts";
import type { PathTotals } from "../../probe/totals.ts";
import type { Facts } from "../facts.ts";
import { counters, gauge, gauges, histograms, type Sample, type Scrape, seconds } from "./spec.ts";

/** The peers all together; `each-peer.ts` has them one by one. */
export const PEER_METRICS = {
  tartan_peers: gauges("Other nodes by how this one sees them, as in /debug/peers.", ["state"], ({ counts }) =>
    PeerState.options.map((state): Sample => [[state], counts.states[state]]),
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

function byVerdict({ facts, counts }: Scrape): Sample[] {
  if (facts.probes === undefined) return [];
  return familiesOf(counts.verdicts).flatMap((family) =>
    Verdict.options.map((verdict): Sample => [[`ipv${family}`, verdict], counts.verdicts[family]?.[verdict] ?? 0]),
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
