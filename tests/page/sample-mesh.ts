import type { EventKind } from "../../src/api/events.ts";
import type { Verdict } from "../../src/api/peers.ts";
import type { Lease, RejectedLease } from "../../src/lease/lease.ts";
import type { PeerFacts } from "../../src/probe/engine.ts";
import type { PathFacts } from "../../src/probe/records.ts";
import { EventLog } from "../../src/status/event-log.ts";
import { debugApp } from "../../src/status/server.ts";
import { DUAL, exampleInput, exampleLease, planned } from "../desired/examples.ts";
import { facts } from "../status/facts.ts";

const FULL_BYTES = 1450;

function path(sent: number, received: number, rttMs: number): PathFacts {
  const times = received === 0 ? {} : { lastMs: rttMs * 1.1, p50Ms: rttMs, p99Ms: rttMs * 3 };
  return { sent, received, ...times, ...(received === 0 ? {} : { lastSuccessAt: Date.now() - 3_000 }) };
}

function probed(verdict: Verdict, rttMs: number): PeerFacts {
  const isDown = verdict === "overlayBlocked" || verdict === "unreachable";
  return {
    verdict,
    since: Date.now() - 60_000,
    lastProbedAt: Date.now() - 2_000,
    overlay: path(64, isDown ? 0 : verdict === "lossy" ? 41 : 64, rttMs),
    underlay: path(64, verdict === "unreachable" ? 0 : 64, rttMs * 0.8),
    fullSizePasses: verdict !== "mtuTooSmall",
    fullSizeCheckedAt: Date.now() - 2_000,
    fullBytes: FULL_BYTES,
  };
}

/** The real debug app of one node, served here, with peers as a test wants them. */
export class SampleMesh implements AsyncDisposable {
  readonly events = new EventLog();
  readonly #peers = new Map<string, Lease>();
  readonly #verdicts = new Map<string, Verdict>();
  readonly #rejected: RejectedLease[] = [];
  readonly #stopping = new AbortController();
  readonly #server: Bun.Server<undefined>;
  #number = 0;
  /** requests are answered with an error */
  isBroken = false;

  constructor() {
    const address = { kind: "tcp", host: "127.0.0.1", port: 0 } as const;
    const control = { resync() {}, setLogLevel() {} };
    const app = debugApp({ facts: () => this.#facts(), control, address, stopping: this.#stopping.signal });
    this.#server = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      // Longer than a stream of events is quiet.
      idleTimeout: 60,
      fetch: (request) => (this.isBroken ? new Response("broken", { status: 500 }) : app.fetch(request)),
    });
  }

  get url(): string {
    return `http://127.0.0.1:${this.#server.port}/`;
  }

  /** Adds a peer, or lets it be of another verdict. */
  put(node: string, verdict: Verdict): void {
    if (!this.#peers.has(node)) {
      this.#number++;
      this.#peers.set(node, exampleLease(DUAL, this.#number, { key: node, node }));
    }
    this.#verdicts.set(node, verdict);
  }

  remove(node: string): void {
    this.#peers.delete(node);
  }

  /** A node whose lease can't be used. */
  reject(node: string, reason: string): void {
    this.#rejected.push({ key: node, node, reason });
  }

  tell(kind: EventKind, node: string, message: string): void {
    this.events.add({ kind, node, message, level: kind === "peerDown" ? "warning" : "info" });
  }

  #facts() {
    const leases = [...this.#peers.values()];
    const input = exampleInput(DUAL, leases);
    const find = (key: string): PeerFacts | undefined => {
      const verdict = this.#verdicts.get(key);
      return verdict === undefined || verdict === "unknown" ? undefined : probed(verdict, 0.1 + (key.length % 7) ** 3);
    };
    return facts({
      now: Date.now(),
      ...input,
      snapshot: { leases: input.leases, rejected: this.#rejected, takenAt: Date.now() },
      desired: planned(input),
      events: this.events,
      probes: {
        // So long that what a test waits for has not come by itself.
        intervalMs: 60_000,
        verdict: (key) => find(key)?.verdict,
        of: find,
        everywhere: () => undefined,
        totals: () => [],
        troubled: () => ({ total: 0, of: leases.length, first: [] }),
      },
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    await this.#server.stop(true);
  }
}
