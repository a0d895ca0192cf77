import { resolve } from "node:path";
import { backoffDelay, sleep } from "../base/backoff.ts";
import { logger } from "../base/log.ts";
import type { NetworkConfig } from "../config/network.ts";
import { chooseSubnets } from "./allocate.ts";
import { type ContactListener, ContactRecord } from "./contact.ts";
import { ChangeBell } from "./embedded-bell.ts";
import { StoreConnection } from "./embedded-connection.ts";
import { explain, LeaseStoreError } from "./embedded-errors.ts";
import { makeRowMemo, type StoredRecord } from "./embedded-rows.ts";
import type { Lease, Snapshot } from "./lease.ts";
import { ownerOf, sameOwner } from "./ownership.ts";
import type { Candidate } from "./records.ts";
import { buildSnapshot } from "./snapshot.ts";
import { SnapshotBuilder } from "./snapshot-builder.ts";
import {
  LeaseLostError,
  type LeaseRequest,
  type LeaseSource,
  OutOfSubnetsError,
  type SourceContact,
  type SourceSettings,
} from "./source.ts";
import { encodeAttributes, formatSubnetKey } from "./wire.ts";

const log = logger("lease");

export interface EmbeddedStoreOptions {
  /** reads the network's configuration, which this store does not keep */
  readonly readNetwork: () => Promise<{ config: NetworkConfig; warnings: readonly string[] }>;
  /** of the SQLite file; it and its directory are made if need be */
  readonly path: string;
  /** a lease's life in milliseconds; flannel's 24 h unless given */
  readonly ttlMs?: number;
  /** milliseconds since the epoch */
  readonly now?: () => number;
  /** from 0 to below 1 */
  readonly random?: () => number;
}

const DAY = 24 * 60 * 60 * 1000;
/** All in milliseconds. */
const POLL = 250;
/** While changes of the files are told: each look costs a wake-up of the whole process. */
const POLL_BESIDE_WATCH = 2000;
/** A lock that is held longer than this is worth a word. */
const BUSY_TOLERANCE = 1000;
/** How long acquiring and renewing wait for the lock before they give up. */
const LOCK_PATIENCE = 3000;
const BUSY_PAUSE = 100;
const WRITE_RETRY = { first: 10, cap: 200 };
const OUTAGE_RETRY = { first: 200, cap: 1000 };
/** The least time between two attempts while the store is out of order, however often its files change. */
const OUTAGE_PAUSE = 50;

/** Opens nothing yet: the store is opened when it is first used, and anew whenever it has to be. */
export function openEmbeddedStore(options: EmbeddedStoreOptions): LeaseSource {
  return new EmbeddedStore(options);
}

interface Contents {
  readonly records: readonly StoredRecord[];
  /** without the expired ones */
  readonly live: readonly Candidate[];
  readonly nextExpiry: number;
}

/**
 * Leases in a SQLite file that several agents on one machine share. A node takes back the lease with its public address;
 * if there is none, the lease with its name, even though that has another address: the node's address changed.
 */
class EmbeddedStore implements LeaseSource {
  readonly kind = "embedded";
  readonly onLost = "acquire";
  readonly location: string;
  readonly #readNetwork: EmbeddedStoreOptions["readNetwork"];
  readonly #ttl: number;
  readonly #now: () => number;
  readonly #random: () => number;
  readonly #closing = new AbortController();
  readonly #bells = new Set<ChangeBell>();
  readonly #memo = makeRowMemo();
  #connection: StoreConnection | undefined;
  #version: { readonly commits: string; readonly file: string } | undefined;
  #contents: Contents | undefined;
  /** up to which the records were read */
  #revision: number | undefined;
  #busySince: number | undefined;
  readonly #contact = new ContactRecord(["store"]);

  constructor({ path, readNetwork, ttlMs = DAY, now = Date.now, random = Math.random }: EmbeddedStoreOptions) {
    this.location = resolve(path);
    this.#readNetwork = readNetwork;
    this.#ttl = ttlMs;
    this.#now = now;
    this.#random = random;
  }

  get contact(): SourceContact {
    return this.#contact.current;
  }

  onContact(listener: ContactListener): void {
    this.#contact.listen(listener);
  }

  async settings(): Promise<SourceSettings> {
    const { config, warnings } = await this.#readNetwork();
    return { network: config, warnings, publicIPs: {} };
  }

  /** Nobody waits for it on one machine. */
  async announceReady(): Promise<void> {}

  acquire(request: LeaseRequest, network: NetworkConfig, signal: AbortSignal): Promise<Lease> {
    return this.#write(signal, (store) => {
      const now = this.#now();
      store.deleteExpired(now);
      const stored = buildSnapshot(candidatesOf(this.#memo.decode(store.rows())), network, now);
      const { subnets, attributes, reused, discarded } = chooseSubnets(network, stored, request, this.#random);
      for (const key of discarded) store.delete(key);
      const key = reused?.key ?? formatSubnetKey(subnets);
      const reservation = reused !== undefined && reused.expiresAt === undefined;
      store.put(key, encodeAttributes(attributes), attributes.node ?? null, {
        createdAt: reused?.createdAt ?? now,
        expiresAt: reservation ? null : now + this.#ttl,
      });
      return this.#own(store, key);
    });
  }

  renew(own: Lease, signal: AbortSignal): Promise<Lease> {
    return this.#write(signal, (store) => {
      const current = this.#own(store, own.key);
      if (!sameOwner(current, own)) throw new LeaseLostError(`lease ${own.key} belongs to ${ownerOf(current)} now`);
      if (current.expiresAt === undefined) return current;
      store.setExpiry(own.key, this.#now() + this.#ttl);
      return this.#own(store, own.key);
    });
  }

  async *watch(network: NetworkConfig, signal: AbortSignal): AsyncGenerator<Snapshot, void, void> {
    const stop = AbortSignal.any([signal, this.#closing.signal]);
    const bell = new ChangeBell();
    const builder = new SnapshotBuilder(network);
    const silence = () => bell.close();
    stop.addEventListener("abort", silence);
    this.#bells.add(bell);
    let listening: StoreConnection | undefined;
    let last: readonly Candidate[] | undefined;
    let failures = 0;
    try {
      while (!stop.aborted) {
        const contents = this.#tryLoad();
        if (contents instanceof LeaseStoreError) {
          failures++;
          // Once it was told of an outage, the reader is told of its end, too.
          if (this.#contact.get("store") !== undefined) last = undefined;
          await this.#pause(bell, failures, contents.busy, stop);
          continue;
        }
        failures = 0;
        if (listening !== this.#connection) {
          listening = this.#connection;
          bell.listen(this.location);
          // For what happened before it listened.
          bell.ring();
        }
        if (contents.live !== last) {
          last = contents.live;
          yield builder.build(last, this.#now());
          continue;
        }
        const poll = bell.listening ? POLL_BESIDE_WATCH : POLL;
        await bell.wait(Math.max(1, Math.min(poll, contents.nextExpiry - this.#now())), stop);
      }
    } finally {
      stop.removeEventListener("abort", silence);
      this.#bells.delete(bell);
      bell.close();
    }
  }

  close(): void {
    this.#closing.abort(new Error(`lease store ${this.location} is closed`));
    this.#disconnect();
  }

  async #pause(bell: ChangeBell, failures: number, busy: boolean, stop: AbortSignal): Promise<void> {
    // A writer is done within milliseconds, mostly; one that holds on is asked ever less often.
    const held = performance.now() - (this.#busySince ?? performance.now());
    if (busy) return bell.wait(Math.min(BUSY_PAUSE, 1 + held / 4), stop);
    await sleep(OUTAGE_PAUSE, stop);
    await bell.wait(backoffDelay(failures, OUTAGE_RETRY), stop);
  }

  /** Runs `change` as a transaction of its own; waits for the lock, and tries again once if the file was replaced. */
  async #write<T>(signal: AbortSignal, change: (store: StoreConnection) => T): Promise<T> {
    const stop = AbortSignal.any([signal, this.#closing.signal]);
    const deadline = performance.now() + LOCK_PATIENCE;
    let replaced = false;
    for (let attempt = 1; ; attempt++) {
      stop.throwIfAborted();
      try {
        // Most records are decoded before the others are locked out.
        this.#load();
        const store = this.#connect();
        const result = store.write(() => change(store));
        this.#reached();
        for (const bell of this.#bells) bell.ring();
        return result;
      } catch (cause) {
        if (cause instanceof LeaseLostError || cause instanceof OutOfSubnetsError) throw cause;
        const error = this.#failed(cause, !replaced);
        if (error.busy ? performance.now() > deadline : replaced) throw error;
        replaced ||= !error.busy;
      }
      await sleep(backoffDelay(attempt, WRITE_RETRY), stop);
    }
  }

  /** This node's lease as it stands in the table. */
  #own(store: StoreConnection, key: string): Lease {
    for (const { candidate } of this.#memo.decode(store.rows())) {
      if (candidate.rejected === undefined && candidate.lease.key === key) return candidate.lease;
      if (candidate.rejected?.key === key) {
        throw new LeaseLostError(`lease ${key} can't be used any more: ${candidate.rejected.reason}`);
      }
    }
    throw new LeaseLostError(`lease ${key} is gone from the store`);
  }

  /** The contents, or why they can't be had. An accident with the file is told only if opening it anew does not help. */
  #tryLoad(): Contents | LeaseStoreError {
    for (;;) {
      const wasOpen = this.#connection !== undefined;
      try {
        const contents = this.#load();
        this.#reached();
        return contents;
      } catch (cause) {
        const error = this.#failed(cause, wasOpen);
        if (error.busy || !wasOpen) return error;
      }
    }
  }

  #load(): Contents {
    let store = this.#connect();
    let version = store.version();
    const isWrittenAround = () => version.commits === this.#version?.commits && version.file !== this.#version.file;
    if (isWrittenAround()) version = store.version();
    if (isWrittenAround()) {
      // SQLite does not see such a change, and would go on with the pages that it knows.
      this.#disconnect();
      store = this.#connect();
      version = store.version();
    }
    let { records } = this.#contents ?? {};
    if (records === undefined || version.commits !== this.#version?.commits) {
      records = this.#readRecords(store, records !== undefined && this.#version !== undefined);
      this.#version = version;
    }
    const now = this.#now();
    if (this.#contents?.records !== records || now >= this.#contents.nextExpiry) {
      this.#contents = liveContents(records, now);
    }
    return this.#contents;
  }

  /**
   * Reads what was changed since the last time where that is certain to be all, else everything: after an accident, or
   * where a row is gone or its revision was tampered with.
   */
  #readRecords(store: StoreConnection, continues: boolean): readonly StoredRecord[] {
    const counts = store.counts();
    const before = this.#revision;
    this.#revision = counts?.revision;
    if (continues && counts !== undefined && before !== undefined && counts.revision > before) {
      const changed = store.rowsSince(before);
      if (changed.length > 0 && this.#memo.sizeWith(changed) === counts.rows) return this.#memo.merge(changed);
    }
    return this.#memo.decode(store.rows());
  }

  #connect(): StoreConnection {
    this.#closing.signal.throwIfAborted();
    if (this.#connection?.isCurrent() === false) {
      this.#disconnect();
      log.warn("lease store {path} was deleted or replaced; it is opened anew", { path: this.location });
    }
    this.#connection ??= StoreConnection.open(this.location);
    return this.#connection;
  }

  #disconnect(): void {
    const connection = this.#connection;
    this.#connection = undefined;
    this.#version = undefined;
    connection?.close();
  }

  #reached(): void {
    if (this.#contact.get("store") !== undefined)
      log.info("lease store {path} is in order again", { path: this.location });
    this.#contact.heard(this.#now());
    this.#busySince = undefined;
    this.#contact.set({ store: undefined });
  }

  /** @param quiet whether another attempt comes at once */
  #failed(cause: unknown, quiet = false): LeaseStoreError {
    const error = explain(this.location, cause);
    if (error.busy) {
      this.#busySince ??= performance.now();
      if (performance.now() - this.#busySince < BUSY_TOLERANCE) return error;
    } else {
      this.#disconnect();
      if (quiet) return error;
    }
    if (this.#contact.get("store")?.message !== error.message) log.warn("{problem}", { problem: error.message });
    this.#contact.set({ store: error });
    return error;
  }
}

function liveContents(records: readonly StoredRecord[], now: number): Contents {
  const live: Candidate[] = [];
  let nextExpiry = Number.POSITIVE_INFINITY;
  for (const { candidate, expiresAt = Number.POSITIVE_INFINITY } of records) {
    if (expiresAt <= now) continue;
    live.push(candidate);
    nextExpiry = Math.min(nextExpiry, expiresAt);
  }
  return { records, live, nextExpiry };
}

function candidatesOf(records: readonly StoredRecord[]): Candidate[] {
  return records.map(({ candidate }) => candidate);
}
