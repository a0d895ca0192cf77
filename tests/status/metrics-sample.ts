import { Histogram } from "../../src/base/histogram.ts";
import { EventLog } from "../../src/status/event-log.ts";
import type { Facts } from "../../src/status/facts.ts";

export const NOW = 1_700_000_000_000;

/** What an agent knows of itself that has just begun and has one family. */
export function sampleFacts(changes: Partial<Facts> = {}): Facts {
  const none = new Histogram([0.1, 1]).facts();
  return {
    version: "1.2.3",
    node: "n1",
    now: NOW,
    startedAt: NOW - 5_000,
    flags: {},
    networkWarnings: [],
    source: { kind: "embedded", location: "/x/leases.db", contact: { lastContactAt: NOW - 1_000 } },
    problems: [],
    loop: { turns: 3, failuresInARow: 0 },
    rejections: 0,
    kernel: {
      ...{ settled: true, pruning: true, fullReads: 1, repaired: {}, driftsFound: 0, failures: [] },
      ...{ operations: {}, refused: {}, applySeconds: none, followSeconds: none },
    },
    rules: {
      ...{ mode: "iptables", backend: "iptables-nft", version: "1.8.9", inPlace: { 4: true } },
      ...{ looks: 40, checks: 2, writes: 1, repaired: {}, forks: 9, errors: [], warnings: [] },
    },
    diff: () => [],
    logLevel: "info",
    events: new EventLog(),
    ...changes,
  };
}
