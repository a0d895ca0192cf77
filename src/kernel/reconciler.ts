import { describeError } from "../base/errors.ts";
import { logger } from "../base/log.ts";
import type { RouteTowards } from "../config/interface.ts";
import type { Desired, DesiredDelta } from "../desired/desired.ts";
import { Ethtool } from "../ffi/ethtool.ts";
import { NetlinkSocket } from "../ffi/libnl/socket.ts";
import { type Address, familyOf } from "../net/address.ts";
import type { PerFamily } from "../net/family.ts";
import type { Prefix } from "../net/prefix.ts";
import { Applier, type FailedOperation, labelOf } from "./apply.ts";
import { Comparison, type DiffOptions } from "./diff.ts";
import { deviceProblems } from "./diff-devices.ts";
import { MacChanges } from "./mac-changes.ts";
import type { Actual, Change, Mirror } from "./mirror.ts";
import { type Operation, placeOf } from "./operations.ts";
import { readAddresses, readKernel, withOffloads } from "./read.ts";
import { routeTowards } from "./route-lookup.ts";
import type { KernelEvent } from "./state.ts";
import { KernelWatch } from "./watch.ts";

const log = logger("kernel");

/** Holds the errors of one whole batch (2,500), should the kernel refuse all of it. */
const RECEIVE_BUFFER = 8 * 1024 * 1024;

/** A device made anew takes two passes, one in the way of it a third; more would be a fight with somebody else. */
const MAX_PASSES = 4;

/** Operations of a reconcile that are kept to be told. */
const FIRST = 3;

export interface ReconcileReport {
  /** operations that the kernel took, by kind */
  readonly done: ReadonlyMap<Operation["kind"], number>;
  readonly failed: readonly FailedOperation[];
  /** the first few of the operations that were needed */
  readonly first: readonly Operation[];
  /** true when the kernel is as desired */
  readonly settled: boolean;
  readonly durationMs: number;
}

export interface ReconcilerHandlers {
  /**
   * the kernel is not as desired any more, or has to be read again
   * @param isCertain false where only reading it again will tell
   */
  onDrift(cause: string, isCertain: boolean): void;
  /** links, their addresses or default routes changed, ours or others' */
  onInterfaces(): void;
}

/** Keeps a copy of the kernel's state and brings the kernel to a desired one. */
export class KernelReconciler implements Disposable {
  readonly #handlers: ReconcilerHandlers;
  readonly #networks: PerFamily<Prefix>;
  readonly #socket = new NetlinkSocket({ receiveBuffer: RECEIVE_BUFFER });
  readonly #ethtool = new Ethtool();
  readonly #applier = new Applier(this.#socket, this.#ethtool);
  readonly #macChanges = new MacChanges();
  #watch: KernelWatch | undefined;
  #mirror: Mirror | undefined;
  #wanted: { desired: Desired; options: DiffOptions } | undefined;
  /** what the kernel was brought to, as long as no drift was seen since */
  #settled: { desired: Desired; prune: boolean; mirror: Mirror | undefined } | undefined;
  /** what changed while a reconcile is under way; undefined otherwise */
  #touched: Change[] | undefined;
  #fullReads = 0;

  constructor(networks: PerFamily<Prefix>, handlers: ReconcilerHandlers) {
    this.#networks = networks;
    this.#handlers = handlers;
  }

  /** How often the state was read in full: at start, after an overflow, and at each resync. */
  get fullReads(): number {
    return this.#fullReads;
  }

  /** The state as known, if it is. */
  get known(): Actual | undefined {
    return this.#mirror?.stale ? undefined : this.#mirror;
  }

  /** The state as known; read in full if it is not, and the addresses of a link by themselves if only those are not. */
  async actual(): Promise<Actual> {
    if (this.#mirror === undefined || this.#mirror.stale) await this.#read();
    else if (this.#mirror.uncertain.size > 0) await this.#readAddresses(this.#mirror);
    if (this.#mirror === undefined) throw new Error("the kernel's state is not known");
    return this.#mirror;
  }

  /**
   * Which way a packet to this address takes now; not a part of the copy, so it is asked anew each time (20 µs).
   * @returns an error where there is none
   */
  towards(target: Address): RouteTowards | Error {
    try {
      return routeTowards(this.#socket, target);
    } catch (error) {
      return error instanceof Error ? error : new Error(String(error));
    }
  }

  /** Whether the order of a link's addresses is not known; the next `actual` has it. */
  isUncertain(index: number): boolean {
    return this.#mirror?.uncertain.has(index) ?? false;
  }

  /** The driver of a network interface; undefined where it has none. */
  driverOf(name: string): string | undefined {
    return this.#ethtool.driver(name);
  }

  /** The next use reads the state in full. */
  forget(): void {
    this.#mirror?.markStale();
  }

  /** What is wrong with our own devices and their addresses right now, in words; nothing if all is right. */
  deviceProblems(): string[] {
    if (this.#wanted === undefined || this.#mirror === undefined) return ["not programmed yet"];
    return deviceProblems(this.#wanted.desired, this.#mirror);
  }

  /** Whether nothing was seen, since the kernel was brought to what is desired, that is not so. */
  get asDesired(): boolean {
    const settled = this.#settled;
    return settled !== undefined && settled.desired === this.#wanted?.desired && settled.mirror === this.known;
  }

  /** What a reconcile to what was desired last would do now, as far as the state is known. */
  pending(): Operation[] {
    const [wanted, mirror] = [this.#wanted, this.#mirror];
    if (wanted === undefined || mirror === undefined) return [];
    if (this.asDesired) return [];
    return new Comparison(wanted.desired, mirror, wanted.options).all();
  }

  /** @param delta where `desired` differs from what was desired before, if that is known: then only that is looked at */
  async reconcile(desired: Desired, options: DiffOptions, delta?: DesiredDelta): Promise<ReconcileReport> {
    const started = performance.now();
    const before = this.#settled;
    this.#wanted = { desired, options };
    this.#settled = undefined;
    const done = new Map<Operation["kind"], number>();
    const report = (settled: boolean, failed: readonly FailedOperation[]): ReconcileReport => {
      if (settled) this.#settled = { desired, prune: options.prune, mirror: this.#mirror };
      return { done, failed, first, settled, durationMs: performance.now() - started };
    };
    let failed: readonly FailedOperation[] = [];
    const first: Operation[] = [];
    this.#touched = [];
    try {
      for (let pass = 1; pass <= MAX_PASSES; pass++) {
        const actual = await this.actual();
        const comparison = new Comparison(desired, actual, options);
        const known = pass === 1 && delta !== undefined && before?.desired === delta.from;
        const isSame = known && before.mirror === actual && before.prune === options.prune;
        const operations = isSame ? comparison.differing(delta) : comparison.all();
        if (operations.length === 0) return report(true, []);
        first.push(...operations.slice(0, FIRST - first.length));
        for (const operation of operations) log.trace("{text}", { text: describe(operation) });
        this.#macChanges.look(desired, operations);
        const result = await this.#applier.apply(operations);
        failed = result.failed;
        for (const [kind, count] of result.done) done.set(kind, (done.get(kind) ?? 0) + count);
        // What was done comes back as notifications; after the fence the copy has it.
        if (!(await this.#watch?.fence())) this.forget();
        for (const operation of operations) {
          // The kernel tells of an IPv6 address only some time after it has it.
          if (operation.kind === "address-add" && familyOf(operation.address) === 6)
            this.#mirror?.doubtAddresses(operation.index);
        }
        if (failed.length === operations.length) break;
        if (await this.#asDesired(operations)) return report(true, []);
      }
      return report(false, failed);
    } finally {
      this.#touched = undefined;
    }
  }

  /** Success is what the copy says, not what was sent. Looks only at what was sent and what was notified meanwhile. */
  async #asDesired(operations: readonly Operation[]): Promise<boolean> {
    if (this.#mirror?.stale || this.#wanted === undefined) return false;
    const comparison = new Comparison(this.#wanted.desired, await this.actual(), this.#wanted.options);
    // Devices that were just made are still without their entries.
    if (operations.some((operation) => operation.kind === "link-add" || operation.kind === "link-change")) return false;
    const places = [...operations.map(placeOf), ...(this.#touched ?? [])];
    this.#touched = [];
    return places.every((place) => comparison.at(place).length === 0);
  }

  async #read(): Promise<void> {
    // Notifications from before the dump are in it already; taking them first keeps them from undoing it.
    this.#watch ??= new KernelWatch({
      onEvent: (event) => this.#onEvent(event),
      onOverflow: () => {
        log.info("notifications of the kernel were lost, reading its state again");
        this.forget();
        this.#handlers.onDrift("lost notifications", false);
      },
      onFailure: (error) => {
        log.error("the watch for kernel notifications broke, opening it again: {error}", {
          error: describeError(error),
        });
        this.#watch = undefined;
        this.forget();
        this.#handlers.onDrift("broken watch", false);
      },
    });
    await this.#watch.fence();
    this.#mirror = readKernel(this.#socket, this.#networks, this.#ethtool);
    this.#fullReads++;
  }

  async #readAddresses(mirror: Mirror): Promise<void> {
    await this.#watch?.fence();
    for (const index of [...mirror.uncertain]) mirror.setAddresses(index, readAddresses(this.#socket, index));
  }

  #onEvent(event: KernelEvent): void {
    const mirror = this.#mirror;
    if (mirror === undefined) return;
    const wasStale = mirror.stale;
    const change = mirror.apply(withOffloads(event, this.#ethtool));
    // Once the state has to be read again, that is what is to be done.
    if (wasStale || change.kind === "nothing") return;
    if (change.kind === "interfaces") this.#handlers.onInterfaces();
    // While a reconcile is under way it looks at what changed by itself: most of it are the echoes of its own work.
    if (this.#touched !== undefined) this.#touched.push(change);
    else {
      const isDrift = this.#isDrift(mirror, change);
      if (!isDrift && !mirror.stale) return;
      this.#settled = undefined;
      this.#handlers.onDrift(describeChange(event, change), isDrift);
    }
  }

  #isDrift(mirror: Mirror, change: Change): boolean {
    if (this.#wanted === undefined) return false;
    return new Comparison(this.#wanted.desired, mirror, this.#wanted.options).at(change).length > 0;
  }

  [Symbol.dispose](): void {
    this.#watch?.close();
    this.#applier[Symbol.dispose]();
    this.#ethtool[Symbol.dispose]();
    this.#socket[Symbol.dispose]();
  }
}

/** An operation in one line: `replace route 10.244.1.0/24: it is missing`. */
export function describe(operation: Operation): string {
  const { operation: what, object } = labelOf(operation);
  return `${what} ${object}: ${operation.why}`;
}

function describeChange(event: KernelEvent, change: Change): string {
  const verb = event.deleted ? "deleted" : "changed";
  switch (change.kind) {
    case "route":
      return `route ${change.key} ${verb}`;
    case "neighbour":
      return `neighbour ${change.address} ${verb}`;
    case "forwarding":
      return `forwarding entry ${change.key} ${verb}`;
    default:
      return `${event.kind} ${event.kind === "link" ? event.value.name : ""} ${verb}`.replace("  ", " ");
  }
}
