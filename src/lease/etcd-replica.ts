import { type BackoffLimits, backoffDelay, sleep } from "../base/backoff.ts";
import { describeError } from "../base/errors.ts";
import { logger } from "../base/log.ts";
import { type EtcdClient, endOf } from "./etcd-client.ts";
import type { KeyValue, WatchResult } from "./etcd-messages.ts";

const log = logger("lease");

/** Milliseconds. */
const RETRY: BackoffLimits = { first: 100, cap: 5000 };

export interface ReplicaOptions {
  readonly client: EtcdClient;
  readonly prefix: string;
  readonly heartbeatMs: number;
  readonly random: () => number;
  /** told the keys, in base64, that somebody wrote or deleted; undefined: all were listed */
  readonly onChange: (keys: readonly string[] | undefined) => void;
}

/** Where a replica stands. */
interface Position {
  readonly revision: number;
  readonly clusterId: string;
}

/**
 * A copy of all keys under a prefix: listed once, then kept by a watch from that revision on. It is listed again when
 * etcd has forgotten the changes since (compaction), or when it is not the same store any more (data lost or restored).
 */
export class EtcdReplica {
  readonly #options: ReplicaOptions;
  /** by base64 key */
  readonly #records = new Map<string, KeyValue>();
  /** undefined: to be listed */
  #position: Position | undefined;
  #complete = false;
  #probe: (() => void) | undefined;
  #listing: Promise<readonly KeyValue[] | undefined> | undefined;

  constructor(options: ReplicaOptions) {
    this.#options = options;
  }

  /** The records as of the last message; undefined until there was a complete list. */
  get records(): Iterable<KeyValue> | undefined {
    return this.#complete ? this.#records.values() : undefined;
  }

  /** The list that is being made at present; it becomes undefined if that fails. */
  get listing(): Promise<readonly KeyValue[] | undefined> | undefined {
    return this.#listing;
  }

  /**
   * Something was written that the watch must tell. It may be dead without a word, as when our own address has changed:
   * then it starts anew soon.
   */
  probe(): void {
    this.#probe?.();
  }

  /** Keeps the copy up to date until the signal aborts; it does not throw. */
  async run(signal: AbortSignal): Promise<void> {
    let failures = 0;
    const works = () => {
      failures = 0;
    };
    while (!signal.aborted) {
      try {
        this.#position ??= await this.#list(signal);
        await this.#follow(this.#position, signal, works);
      } catch (error) {
        if (signal.aborted) return;
        failures++;
        log.debug("{problem}", { problem: describeError(error) });
        // The first attempt to go on comes at once: members go, others take over.
        if (failures > 1) await sleep(backoffDelay(failures - 1, RETRY, this.#options.random), signal);
      }
    }
  }

  async #list(signal: AbortSignal): Promise<Position> {
    const { client, prefix, onChange } = this.#options;
    const list = client.list(prefix, signal, "watch").finally(() => {
      this.#listing = undefined;
    });
    this.#listing = list.then(
      ({ records }) => records,
      () => undefined,
    );
    const { records, revision, clusterId } = await list;
    this.#records.clear();
    for (const record of records) this.#records.set(record.id, record);
    this.#complete = true;
    onChange(undefined);
    return { revision, clusterId };
  }

  /**
   * Applies what happens from a position on.
   * @returns when the records have to be listed again; throws when the stream broke
   */
  async #follow(start: Position, signal: AbortSignal, works: () => void): Promise<void> {
    const { client, prefix, heartbeatMs } = this.#options;
    // From the position itself, though what happened then is known: etcd that was compacted exactly one revision later
    // would leave out a deletion of that revision and say nothing; so it says that it was compacted.
    const request = { key: prefix, end: endOf(prefix), from: start.revision, heartbeatMs };
    const { endpoint, messages, probe } = await client.watch(request, signal);
    this.#probe = probe;
    try {
      for await (const message of messages) {
        client.session.heard();
        if (!message.created) works();
        if (isAnotherStore(message, start)) {
          this.#position = undefined;
          return;
        }
        this.#apply(message, start.clusterId);
      }
    } catch (error) {
      if (!signal.aborted) client.session.distrust(endpoint);
      throw error;
    } finally {
      this.#probe = undefined;
    }
  }

  #apply({ created, header, watch_id, events }: WatchResult, clusterId: string): void {
    for (const { deleted, kv } of events) {
      if (deleted) this.#records.delete(kv.id);
      else this.#records.set(kv.id, kv);
    }
    const last = events.at(-1)?.kv.modRevision;
    if (last !== undefined) {
      this.#position = { revision: last, clusterId };
      this.#options.onChange(events.map(({ kv }) => kv.id));
    } else if (!created && watch_id !== BROADCAST) {
      // So far nothing happened, says etcd of its own accord. What it answers when asked may overtake events.
      this.#position = { revision: header.revision, clusterId };
    }
  }
}

/** The watch's id in an answer to a question about all of a connection's watches. */
const BROADCAST = "-1";

/** True if the changes since the start can't be had: they were compacted away, or are of a store that is no more. */
function isAnotherStore({ header, created, compact_revision }: WatchResult, start: Position): boolean {
  if (compact_revision > 0) return true;
  return created && (header.cluster_id !== start.clusterId || header.revision < start.revision);
}
