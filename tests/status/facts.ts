import type { ListenAddress } from "../../src/config/listen-address.ts";
import type { AgentControl } from "../../src/status/control.ts";
import { EventLog } from "../../src/status/event-log.ts";
import type { Facts } from "../../src/status/facts.ts";
import { debugApp } from "../../src/status/server.ts";

export const NOW = 1_700_000_000_000;

/** What an agent knows that has nothing to do. */
export function facts(changes: Partial<Facts> = {}): Facts {
  return {
    version: "1.2.3",
    node: "n1",
    now: NOW,
    startedAt: NOW - 5_000,
    flags: {},
    networkWarnings: [],
    source: { kind: "embedded", location: "/x/leases.db", contact: { lastContactAt: NOW - 1_000 } },
    problems: [],
    loop: { turns: 1, failuresInARow: 0 },
    rejections: 0,
    kernel: { settled: true, pruning: true, fullReads: 1, repaired: {}, driftsFound: 0, failures: [] },
    rules: {
      mode: "iptables",
      backend: "iptables-nft",
      version: "1.8.9",
      inPlace: { 4: true },
      looks: 40,
      checks: 2,
      writes: 1,
      repaired: {},
      forks: 9,
      lastCheck: { at: NOW - 1_000, durationMs: 8 },
      errors: [],
      warnings: [],
    },
    diff: () => [],
    logLevel: "info",
    events: new EventLog(),
    ...changes,
  };
}

const UNIX: ListenAddress = { kind: "unix", path: "/run/tartan/debug.sock" };

const IDLE: AgentControl = { resync() {}, setLogLevel() {} };

/** All that is served at an address; else at the unix socket. */
export function appOf(
  known: Facts,
  { address = UNIX, control = IDLE, stopping = new AbortController().signal } = {},
): ReturnType<typeof debugApp> {
  return debugApp({ facts: () => known, control, address, stopping });
}
