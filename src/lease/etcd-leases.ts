import { describeError } from "../base/errors.ts";
import { logger } from "../base/log.ts";
import type { Allocation } from "./allocate.ts";
import type { EtcdClient, Txn } from "./etcd-client.ts";
import { encodeText, type KeyValue, type LeaseId } from "./etcd-messages.ts";
import type { Lease } from "./lease.ts";
import { decodeRecord, type LeaseRecord } from "./records.ts";
import { encodeAttributes, formatSubnetKey } from "./wire.ts";

const log = logger("lease");

/** Milliseconds since the epoch. */
interface Times {
  /** only where this process made the key itself */
  readonly createdAt?: number;
  readonly expiresAt: number;
}

export interface EtcdLeasesOptions {
  readonly client: EtcdClient;
  /** what stands before each lease's key, with a slash at its end */
  readonly folder: string;
  /** a new lease's life in seconds */
  readonly ttlSeconds: number;
  readonly now: () => number;
  /** more is known of a lease than before */
  readonly onTimes: () => void;
}

/**
 * Takes and extends leases. It remembers the times of the etcd leases that it made or extended, and only of those: asking
 * etcd for the others' would cost a round trip each.
 */
export class EtcdLeases {
  readonly #options: EtcdLeasesOptions;
  readonly #times = new Map<LeaseId, Times>();
  /** the keys, in base64, of what this process took */
  readonly #own = new Set<string>();
  /** those, and what it tried to take */
  readonly #wanted = new Set<string>();

  constructor(options: EtcdLeasesOptions) {
    this.#options = options;
  }

  /** A record with what is known of its times. */
  toRecord({ id, key, value, createRevision, leaseId }: KeyValue): LeaseRecord {
    const { folder, now } = this.#options;
    if (leaseId !== undefined && this.#own.has(id) && !this.#times.has(leaseId)) {
      // Somebody bound our key to another etcd lease. It counts as about to end: renewing it tells when it really ends.
      this.#times.set(leaseId, { expiresAt: now() });
    }
    const times = leaseId === undefined ? {} : this.#times.get(leaseId);
    return { key: key.slice(folder.length), value, rank: createRevision, ...times };
  }

  /** Whether this process took, or tried to take, the lease with that key, which is in base64. */
  isOurs(id: string): boolean {
    return this.#wanted.has(id);
  }

  timesOf(leaseId: LeaseId): Times | undefined {
    return this.#times.get(leaseId);
  }

  /**
   * Does what an allocation says, in one transaction.
   * @param records from which it was made
   * @returns undefined if somebody changed one of them meanwhile
   */
  async take(
    { subnets, attributes, reused, discarded }: Allocation,
    records: readonly KeyValue[],
    signal: AbortSignal,
  ): Promise<Lease | undefined> {
    const { folder } = this.#options;
    const known = new Map(records.map((record) => [record.key, record]));
    const key = folder + (reused?.key ?? formatSubnetKey(subnets));
    const given = known.get(key);
    const unwanted = discarded.flatMap((each) => known.get(folder + each) ?? []).filter((each) => each !== given);
    const id = given?.id ?? encodeText(key);
    const value = encodeAttributes(attributes);
    const step: Step = {
      unchanged: new Map([...unwanted, ...(given ? [given] : [])].map((each) => [each.id, each.modRevision])),
      put: { key: id, value },
      deletes: unwanted.map((each) => each.id),
    };
    if (given === undefined) step.unchanged.set(id, 0);
    // Before it is written: the watch may be faster than the answer.
    this.#wanted.add(id);
    const taken = reused === undefined ? await this.#create(step, signal) : await this.#update(step, given, signal);
    if (taken === undefined) return undefined;
    this.#own.add(id);
    const written = { id, key, value, createRevision: given?.createRevision ?? 0, modRevision: 0, ...taken };
    const decoded = decodeRecord(this.toRecord(written));
    if (decoded.rejected !== undefined) throw new Error(`lease ${decoded.rejected.key}: ${decoded.rejected.reason}`);
    return decoded.lease;
  }

  /** Gives an etcd lease its whole life again. @returns false if it has ended */
  async keepAlive(leaseId: LeaseId, signal: AbortSignal): Promise<boolean> {
    const asked = this.#options.now();
    const ttl = await this.#options.client.keepAlive(leaseId, signal);
    if (ttl === 0) return false;
    this.#times.set(leaseId, { ...this.#times.get(leaseId), expiresAt: asked + ttl * 1000 });
    this.#options.onTimes();
    return true;
  }

  async #create(step: Step, signal: AbortSignal): Promise<Taken | undefined> {
    const { client, ttlSeconds, now } = this.#options;
    const createdAt = now();
    const { id: leaseId, ttl } = await client.grant(ttlSeconds, signal);
    // Before the key is there, too.
    this.#times.set(leaseId, { createdAt, expiresAt: createdAt + ttl * 1000 });
    try {
      const instead = await client.transact({ ...step, put: { ...step.put, leaseId } }, signal);
      // It may be ours: an earlier try of the same transaction, whose answer was lost.
      if (instead === undefined || instead?.leaseId === leaseId) return { leaseId };
    } catch (error) {
      await this.#revoke(leaseId);
      throw error;
    }
    await this.#revoke(leaseId);
    return undefined;
  }

  /** The etcd lease stays, and so does the lack of one: a reservation. */
  async #update(step: Step, given: KeyValue | undefined, signal: AbortSignal): Promise<Taken | undefined> {
    const leaseId = given?.leaseId;
    if (leaseId !== undefined && !(await this.keepAlive(leaseId, signal))) return undefined;
    const { put, deletes } = step;
    if (given?.value === put.value && deletes.length === 0) return { leaseId };
    const instead = await this.#options.client.transact({ ...step, put: { ...put, leaseId: undefined } }, signal);
    return instead === undefined ? { leaseId } : undefined;
  }

  /** One that is left behind is harmless: it ends by itself. */
  async #revoke(leaseId: LeaseId): Promise<void> {
    this.#times.delete(leaseId);
    try {
      await this.#options.client.revoke(leaseId, new AbortController().signal);
    } catch (error) {
      log.debug("an unused etcd lease was not revoked: {error}", { error: describeError(error) });
    }
  }
}

interface Taken {
  readonly leaseId: LeaseId | undefined;
}

interface Step extends Omit<Txn, "put"> {
  readonly unchanged: Map<string, number>;
  readonly put: Omit<Txn["put"], "leaseId">;
}
