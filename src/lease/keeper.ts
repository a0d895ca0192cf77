import { type BackoffLimits, backoffDelay, sleep } from "../base/backoff.ts";
import type { NetworkConfig } from "../config/network.ts";
import { FAMILIES, mapFamilies } from "../net/family.ts";
import type { Lease, LeaseAttributes, Snapshot } from "./lease.ts";
import { judgeOwn, samePublished } from "./ownership.ts";
import { LeaseLostError, type LeaseRequest, type LeaseSource } from "./source.ts";

export interface KeeperOptions {
  readonly source: LeaseSource;
  readonly network: NetworkConfig;
  /** how long before its end a lease is renewed (flannel's `subnet-lease-renew-margin`) */
  readonly renewMarginMinutes: number;
  /** after the first lease, and whenever it is another one, was made anew, or publishes something else */
  readonly onChange?: (own: Lease) => void;
  /** it is gone or another node's; it is taken again at once, unless `onFatal` follows */
  readonly onLost?: (error: LeaseLostError) => void;
  /** it is lost and the source says "exit": the keeper has stopped */
  readonly onFatal?: (error: LeaseLostError) => void;
  /** milliseconds since the epoch */
  readonly now?: () => number;
  readonly wait?: (ms: number, signal: AbortSignal) => Promise<void>;
  /** from 0 to below 1 */
  readonly random?: () => number;
}

/** Milliseconds. After failures, and after repeated losses; flannel tries each minute. */
const RETRY: BackoffLimits = { first: 1000, cap: 60_000 };
/** Milliseconds. While the store answers our own record is mended within so long: nobody else does that. */
const MEND: BackoffLimits = { first: 1000, cap: 5000 };
/** Enough failures for the longest delay. */
const MANY = 10;
/** Losses further apart than this have nothing to do with each other. */
const CALM = 120_000;
/** The longest wait: the clock may have been set, or the machine asleep. */
const LOOK = 60_000;

/**
 * How long to wait from now before a lease with so much of its life left is renewed. A margin that is longer than a whole
 * life, as it stands right after renewal, would renew without end: half of the life is waited for then.
 * @param left milliseconds
 * @param margin milliseconds
 */
export function renewDelay(left: number, margin: number): number {
  return Math.max(0, left > margin ? left - margin : left / 2);
}

/**
 * Keeps this node's lease: takes it, publishes it anew when what it says changed, renews it in time, and notices from the
 * snapshots when it is gone. Failures are retried with capped, jittered backoff, sooner once the store says something, and so
 * are losses that follow each other (two nodes with one public address must not fight at full speed).
 */
export class LeaseKeeper {
  readonly #options: KeeperOptions;
  readonly #now: () => number;
  readonly #random: () => number;
  readonly #stopping = new AbortController();
  /** undefined until `start` */
  #request: LeaseRequest | undefined;
  /** what the lease was last taken with */
  #published: LeaseRequest | undefined;
  #own: Lease | undefined;
  #error: Error | undefined;
  /** what is to be done now, or after `#hold` milliseconds; undefined while all is well */
  #task: "acquire" | "renew" | undefined = "acquire";
  #hold = 0;
  /** when that is over */
  #dueAt = 0;
  /** the task is there because of a snapshot that did not have our lease as it should be */
  #suspicious = false;
  #busy = false;
  #wake: AbortController | undefined;
  #renewAt = Number.POSITIVE_INFINITY;
  /** when the last successful operation began: snapshots from before say nothing of its outcome */
  #heldSince = 0;
  #failures = 0;
  #troubles = 0;
  #lastTroubleAt = Number.NEGATIVE_INFINITY;
  #unjudged: Snapshot | undefined;

  constructor(options: KeeperOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
    this.#random = options.random ?? Math.random;
  }

  /** The lease as last seen. It stays while it is being taken again, so that the data path stays, too. */
  get own(): Lease | undefined {
    return this.#own;
  }

  /** What is wrong with the lease or with the last attempt; undefined while all is well. */
  get error(): Error | undefined {
    return this.#error;
  }

  /** Begins to take the lease. */
  start(request: LeaseRequest): void {
    if (this.#request !== undefined) throw new Error("the lease keeper was started before");
    this.#request = request;
    this.#options.source.onContact((error) => {
      if (error === undefined) this.#hurry();
    });
    void this.#run();
  }

  /** Publishes what the node says now, if it says something else than before. The MAC is the published lease's anyway. */
  update(request: LeaseRequest): void {
    this.#request = request;
    if (!this.#busy) this.#publishIfChanged();
  }

  /** Looks for the own lease in a snapshot. */
  observe(snapshot: Snapshot): void {
    this.#unjudged = snapshot;
    this.#hurry();
    if (!this.#busy) this.#judge();
  }

  /** Leaves the lease in the store: a restart takes it back. */
  stop(): void {
    this.#stopping.abort();
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      const delay = this.#task === undefined ? Math.min(this.#renewAt - this.#now(), LOOK) : this.#hold;
      if (delay > 0) {
        // A hold ends with its wait, whatever the clock says then; one that comes up meanwhile is another.
        this.#hold = 0;
        await this.#pause(delay);
      } else {
        await this.#perform(this.#task ?? "renew");
      }
    }
  }

  async #pause(ms: number): Promise<void> {
    const wake = new AbortController();
    const wakeUp = () => wake.abort();
    this.#wake = wake;
    this.#stopping.signal.addEventListener("abort", wakeUp);
    await (this.#options.wait ?? sleep)(ms, wake.signal);
    this.#stopping.signal.removeEventListener("abort", wakeUp);
    this.#wake = undefined;
  }

  #do(task: "acquire" | "renew", hold: number): void {
    this.#task = task;
    this.#hold = hold;
    this.#dueAt = this.#now() + hold;
    this.#wake?.abort();
  }

  /** The store says something: what failed before need not wait as long as if it were away. */
  #hurry(): void {
    if (this.#task === undefined || this.#failures === 0) return;
    const hold = backoffDelay(MANY, MEND, this.#random);
    if (this.#now() + hold < this.#dueAt) this.#do(this.#task, hold);
  }

  async #perform(task: "acquire" | "renew"): Promise<void> {
    const { source, network } = this.#options;
    const { signal } = this.#stopping;
    const request = this.#request;
    if (request === undefined) return;
    const began = this.#now();
    this.#task = undefined;
    this.#suspicious = false;
    this.#busy = true;
    try {
      const own = this.#own;
      if (task === "renew" && own !== undefined) {
        this.#adopt(await source.renew(own, signal));
      } else {
        this.#adopt(await source.acquire(continued(request, own), network, signal));
        this.#published = request;
      }
      this.#heldSince = began;
      this.#failures = 0;
      this.#error = undefined;
    } catch (cause) {
      if (!signal.aborted) this.#failed(task, cause);
    }
    this.#busy = false;
    if (signal.aborted) return;
    this.#publishIfChanged();
    this.#judge();
  }

  #failed(task: "acquire" | "renew", cause: unknown): void {
    const error = cause instanceof Error ? cause : new Error(`could not ${task} the lease`, { cause });
    this.#error = error;
    if (task === "renew" && error instanceof LeaseLostError) {
      this.#options.onLost?.(error);
      if (this.#options.source.onLost === "exit") {
        this.stop();
        this.#options.onFatal?.(error);
      }
      this.#do("acquire", 0);
      return;
    }
    this.#failures++;
    this.#do(task, backoffDelay(this.#failures, RETRY, this.#random));
  }

  #publishIfChanged(): void {
    if (this.#published === undefined || this.#request === undefined) return;
    if (saysTheSame(this.#published, this.#request)) return;
    // Already on its way, at its own pace.
    if (this.#task === "acquire") return;
    this.#do("acquire", 0);
  }

  #judge(): void {
    const snapshot = this.#unjudged;
    this.#unjudged = undefined;
    if (snapshot === undefined || this.#own === undefined || snapshot.takenAt < this.#heldSince) return;
    const verdict = judgeOwn(this.#own, snapshot);
    if (verdict.kind === "kept") {
      if (this.#suspicious) {
        this.#suspicious = false;
        this.#error = undefined;
        this.#task = undefined;
      }
      this.#adopt(verdict.lease);
      // Its end may have moved; a hold after failures goes on.
      if (this.#task === undefined) this.#wake?.abort();
      return;
    }
    if (this.#task !== undefined) return;
    this.#suspicious = true;
    // A snapshot may be late; renewing asks the store itself whether the lease is still ours.
    if (verdict.kind !== "lost") this.#error = new Error(verdict.reason);
    if (verdict.kind === "lost") this.#do("renew", this.#troubleHold(RETRY));
    else this.#do("acquire", this.#troubleHold(MEND));
  }

  /** The first trouble is seen to at once, those that follow ever more slowly. */
  #troubleHold(limits: BackoffLimits): number {
    const now = this.#now();
    if (now - this.#lastTroubleAt > CALM) this.#troubles = 0;
    this.#lastTroubleAt = now;
    return this.#troubles++ === 0 ? 0 : backoffDelay(this.#troubles - 1, limits, this.#random);
  }

  #adopt(lease: Lease): void {
    const before = this.#own;
    this.#own = lease;
    const now = this.#now();
    const left = (lease.expiresAt ?? Number.POSITIVE_INFINITY) - now;
    this.#renewAt = now + renewDelay(left, this.#options.renewMarginMinutes * 60_000);
    const same =
      before?.key === lease.key &&
      before.createdAt === lease.createdAt &&
      before.node === lease.node &&
      samePublished(before, lease);
    if (!same) this.#options.onChange?.(lease);
  }
}

/** The request of a node that has, or had, a lease: it asks for that one, or for the same subnets and MACs, again. */
function continued(request: LeaseRequest, own: Lease | undefined): LeaseRequest {
  if (own === undefined) return request;
  const vteps = mapFamilies(request.vteps, (vtep, family) => {
    const had = own.vteps[family];
    return had?.vni === vtep.vni ? had : vtep;
  });
  return { ...request, vteps, previous: own.subnets, held: own };
}

/** MACs aside, which are only proposals. */
function saysTheSame(a: LeaseAttributes, b: LeaseAttributes): boolean {
  return (
    a.node === b.node &&
    a.backendType === b.backendType &&
    FAMILIES.every((family) => {
      return a.publicIPs[family] === b.publicIPs[family] && a.vteps[family]?.vni === b.vteps[family]?.vni;
    })
  );
}
