import { posix } from "node:path";
import { parseNetConf } from "../config/net-conf.ts";
import type { NetworkConfig } from "../config/network.ts";
import { familiesOf } from "../net/family.ts";
import { chooseSubnets } from "./allocate.ts";
import type { ContactListener } from "./contact.ts";
import { Bell } from "./etcd-bell.ts";
import { EtcdClient } from "./etcd-client.ts";
import { EtcdLeases } from "./etcd-leases.ts";
import { encodeText, type KeyValue } from "./etcd-messages.ts";
import { EtcdReplica } from "./etcd-replica.ts";
import { type EtcdAccess, unlessAborted } from "./etcd-session.ts";
import { LastGood } from "./last-good.ts";
import type { Lease, Snapshot } from "./lease.ts";
import { ownerOf, sameOwner } from "./ownership.ts";
import { type Candidate, decodeRecord, type LeaseRecord, RecordMemo } from "./records.ts";
import { buildSnapshot } from "./snapshot.ts";
import { SnapshotBuilder } from "./snapshot-builder.ts";
import {
  LeaseLostError,
  type LeaseRequest,
  type LeaseSource,
  type SourceContact,
  type SourceSettings,
} from "./source.ts";

export interface EtcdOptions extends EtcdAccess {
  /** under which `config` and `subnets/` are */
  readonly prefix: string;
  /** a new lease's life in seconds; flannel's 24 h unless given */
  readonly ttlSeconds?: number;
  /** milliseconds of silence after which etcd is asked for a sign of life */
  readonly heartbeatMs?: number;
  /** from 0 to below 1 */
  readonly random?: () => number;
}

const DAY_SECONDS = 24 * 60 * 60;
const HEARTBEAT_MS = 10_000;
/** As often as flannel tries. */
const ATTEMPTS = 10;
const EXAMPLE = `'{"Network": "10.244.0.0/16", "Backend": {"Type": "vxlan"}}'`;

/** Connects to nothing yet. */
export function openEtcd(options: EtcdOptions): LeaseSource {
  return new EtcdSource(options);
}

/**
 * Leases as flannel keeps them in etcd: one key for each, bound to an etcd lease, so that etcd deletes it when nobody
 * renews it. A key that is bound to none is a reservation: it does not end, and stays unbound.
 */
class EtcdSource implements LeaseSource {
  readonly kind = "etcd";
  readonly onLost = "exit";
  readonly location: string;
  readonly #client: EtcdClient;
  readonly #configKey: string;
  /** before each lease's key */
  readonly #folder: string;
  readonly #leases: EtcdLeases;
  readonly #heartbeatMs: number;
  readonly #now: () => number;
  readonly #random: () => number;
  readonly #closing = new AbortController();
  readonly #bells = new Set<Bell>();
  readonly #replicas = new Set<EtcdReplica>();
  /** for all who read records, so that those of thousands are decoded once at the start */
  readonly #memo = new RecordMemo<LeaseRecord, Candidate>(({ key }) => key, sameRecord, decodeRecord);

  constructor({ prefix, ttlSeconds = DAY_SECONDS, heartbeatMs = HEARTBEAT_MS, ...options }: EtcdOptions) {
    this.location = `${options.endpoints.join(",")} (${prefix})`;
    this.#client = new EtcdClient(options);
    this.#configKey = posix.join(prefix, "config");
    this.#folder = `${posix.join(prefix, "subnets")}/`;
    this.#heartbeatMs = heartbeatMs;
    this.#now = options.now ?? Date.now;
    this.#random = options.random ?? Math.random;
    this.#leases = new EtcdLeases({
      client: this.#client,
      folder: this.#folder,
      ttlSeconds,
      now: this.#now,
      onTimes: () => {
        for (const bell of this.#bells) bell.ring();
      },
    });
  }

  get contact(): SourceContact {
    return this.#client.session.contact.current;
  }

  onContact(listener: ContactListener): void {
    this.#client.session.contact.listen(listener);
  }

  async settings(signal: AbortSignal): Promise<SourceSettings> {
    const record = await this.#client.get(this.#configKey, this.#until(signal));
    if (record === undefined) {
      const step = `write it with: etcdctl put ${this.#configKey} ${EXAMPLE}`;
      throw new Error(`the network's configuration ${this.#configKey} is not in etcd yet; ${step}`);
    }
    const { config, warnings } = parseNetConf(record.value, `etcd's ${this.#configKey}`);
    return { network: config, warnings, publicIPs: {} };
  }

  /** etcd knows nobody to tell. */
  async announceReady(): Promise<void> {}

  async acquire(request: LeaseRequest, network: NetworkConfig, signal: AbortSignal): Promise<Lease> {
    const stop = this.#until(signal);
    stop.throwIfAborted();
    for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
      const records = await this.#list(stop);
      const stored = buildSnapshot(this.#decode(records), network, this.#now());
      const allocation = chooseSubnets(network, stored, request, this.#random);
      const lease = await this.#leases.take(allocation, records, stop);
      if (lease === undefined) continue;
      for (const replica of this.#replicas) replica.probe();
      if (allocation.reused !== undefined || (await this.#isAlone(lease, network, stop))) return lease;
    }
    throw new Error(
      `other nodes were faster ${ATTEMPTS} times in a row while a subnet was taken in etcd; trying again`,
    );
  }

  /**
   * Whether nobody older claims what a lease does that was just made. One key keeps others from one subnet; of two
   * subnets, which make one key together, somebody may have taken either with another one meanwhile.
   */
  async #isAlone(lease: Lease, network: NetworkConfig, stop: AbortSignal): Promise<boolean> {
    if (familiesOf(lease.subnets).length < 2) return true;
    // Not a list that a watch had begun before.
    const { records } = await this.#client.list(this.#folder, stop);
    const { leases } = buildSnapshot(this.#decode(records), network, this.#now());
    return leases.some(({ key }) => key === lease.key);
  }

  async renew(own: Lease, signal: AbortSignal): Promise<Lease> {
    const stop = this.#until(signal);
    const record = await this.#client.get(this.#folder + own.key, stop);
    if (record === undefined) {
      const why = "its key was deleted, or its etcd lease was revoked or has run out";
      throw new LeaseLostError(`lease ${own.key} is gone from etcd: ${why}`);
    }
    const found = decodeRecord(this.#leases.toRecord(record));
    if (found.rejected !== undefined) {
      throw new LeaseLostError(`lease ${own.key} was overwritten in etcd: ${found.rejected.reason}`);
    }
    const { lease } = found;
    if (!sameOwner(lease, own)) throw new LeaseLostError(`lease ${own.key} belongs to ${ownerOf(lease)} now`);
    const { leaseId } = record;
    if (leaseId === undefined) return lease;
    if (await this.#leases.keepAlive(leaseId, stop)) return { ...lease, ...this.#leases.timesOf(leaseId) };
    throw new LeaseLostError(`lease ${own.key} has run out in etcd, or was revoked`);
  }

  async *watch(network: NetworkConfig, signal: AbortSignal): AsyncGenerator<Snapshot, void, void> {
    const ended = new AbortController();
    const stop = AbortSignal.any([signal, this.#closing.signal, ended.signal]);
    const bell = new Bell();
    let due = false;
    const replica = new EtcdReplica({
      client: this.#client,
      prefix: this.#folder,
      heartbeatMs: this.#heartbeatMs,
      random: this.#random,
      onChange: (keys) => {
        // Our key may have come and gone between two looks: that nothing differs must be told as well.
        due ||= keys === undefined || keys.some((key) => this.#leases.isOurs(key));
        bell.ring();
      },
    });
    const lastGood = new LastGood((key) => this.#leases.isOurs(encodeText(this.#folder + key)));
    const builder = new SnapshotBuilder(network);
    this.#bells.add(bell);
    this.#replicas.add(replica);
    const running = replica.run(stop);
    let last: readonly Candidate[] | undefined;
    try {
      for (; !stop.aborted; await bell.wait(stop)) {
        const records = replica.records;
        if (records === undefined) continue;
        const candidates = this.#decode(records);
        if (candidates === last && !due) continue;
        last = candidates;
        due = false;
        yield builder.build(lastGood.complete(candidates), this.#now());
      }
    } finally {
      ended.abort();
      this.#bells.delete(bell);
      this.#replicas.delete(replica);
      await running;
    }
  }

  close(): void {
    this.#closing.abort(new Error(`the lease source etcd ${this.location} is closed`));
  }

  /** All records as of now. One list that a watch is waiting for serves both. */
  async #list(stop: AbortSignal): Promise<readonly KeyValue[]> {
    for (const { listing } of this.#replicas) {
      const records = await (listing && unlessAborted(listing, stop));
      if (records !== undefined) return records;
    }
    return (await this.#client.list(this.#folder, stop)).records;
  }

  #decode(records: Iterable<KeyValue>): readonly Candidate[] {
    return this.#memo.decode(Array.from(records, (record) => this.#leases.toRecord(record)));
  }

  #until(signal: AbortSignal): AbortSignal {
    return AbortSignal.any([signal, this.#closing.signal]);
  }
}

function sameRecord(a: LeaseRecord, b: LeaseRecord): boolean {
  return a.value === b.value && a.rank === b.rank && a.createdAt === b.createdAt && a.expiresAt === b.expiresAt;
}
