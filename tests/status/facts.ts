import type { Verdict } from "../../src/api/peers.ts";
import { Histogram } from "../../src/base/histogram.ts";
import type { ListenAddress } from "../../src/config/listen-address.ts";
import type { Lease } from "../../src/lease/lease.ts";
import type { Family } from "../../src/net/family.ts";
import type { AgentControl } from "../../src/status/control.ts";
import { EventLog } from "../../src/status/event-log.ts";
import type { Facts, ProbesFacts } from "../../src/status/facts.ts";
import { debugApp } from "../../src/status/server.ts";
import { exampleInput, planned } from "../desired/examples.ts";
import type { FakeKernel } from "../kernel/fake-kernel.ts";
import { converge, freshKernel, UNDERLAY } from "../kernel/worlds.ts";
import { ApiCheck } from "../support/api-check.ts";

const NONE = new Histogram([0.1, 1]).facts();
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
    kernel: {
      ...{ settled: true, pruning: true, fullReads: 1, repaired: {}, driftsFound: 0, failures: [] },
      ...{ operations: {}, refused: {}, applySeconds: NONE, followSeconds: NONE },
    },
    rules: {
      mode: "iptables",
      backend: "iptables-nft",
      version: "1.8.9",
      desired: () => ({}),
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
    asDesired: false,
    diff: () => [],
    logLevel: "info",
    events: new EventLog(),
    ...changes,
  };
}

/** What a node knows that has programmed these peers; `kernel` can be spoiled afterwards. */
export function programmed(
  families: readonly Family[],
  peers: readonly Lease[],
  changes: Partial<Facts> = {},
): { known: Facts; kernel: FakeKernel } {
  const input = exampleInput(families, peers, { external: { index: UNDERLAY } });
  const { own, network, external, leases } = input;
  const desired = planned(input);
  const kernel = freshKernel();
  converge(kernel, desired);
  const snapshot = { leases, rejected: [], takenAt: NOW };
  const known = facts({ node: "node-0", own, network, external, desired, snapshot, ...changes });
  const mirror = () => kernel.dump(desired.networks);
  return {
    known: {
      ...known,
      get actual() {
        return mirror();
      },
    },
    kernel,
  };
}

/** Probes that say this of the peers by the keys of their leases, the same in each family. */
export function probesThatSay(verdicts: Readonly<Record<string, Verdict>>): ProbesFacts {
  const path = { sent: 10, received: 8, lastMs: 1, p50Ms: 1, p99Ms: 2, lastSuccessAt: NOW - 500 };
  return {
    intervalMs: 10_000,
    everywhere: () => undefined,
    verdict: (key) => verdicts[key],
    of: (key) => {
      const verdict = verdicts[key];
      return (
        verdict && { verdict, since: NOW - 60_000, lastProbedAt: NOW, overlay: path, underlay: path, fullBytes: 1450 }
      );
    },
    totals: () => [],
    troubled: () => ({ total: 0, of: 0, first: [] }),
  };
}

const UNIX: ListenAddress = { kind: "unix", path: "/run/tartan/debug.sock" };

export interface AppOptions {
  readonly address?: ListenAddress;
  readonly control?: AgentControl;
  readonly stopping?: AbortSignal;
}

/** All that is served at an address; else at a unix socket. */
export function appOf(known: Facts, options: AppOptions = {}): ReturnType<typeof debugApp> {
  return debugApp({ facts: () => known, address: UNIX, stopping: new AbortController().signal, ...options });
}

/** Asks an app; the answer is held against the description of the API. */
export async function ask(
  known: Facts,
  path: string,
  init: RequestInit = {},
  options: AppOptions = {},
): Promise<{ status: number; headers: Headers; text: string; body: unknown }> {
  check ??= new ApiCheck(await (await appOf(facts()).request("/openapi.json")).json());
  const response = await appOf(known, options).request(path, init);
  const text = await response.text();
  const body: unknown = text === "" ? undefined : JSON.parse(text);
  if (body !== undefined) check.check(init.method ?? "GET", path, response.status, body);
  return { status: response.status, headers: response.headers, text, body };
}

let check: ApiCheck | undefined;
