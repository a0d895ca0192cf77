import type * as v from "valibot";
import { EtcdRefusedError } from "./etcd-errors.ts";
import {
  encodeText,
  grantSchema,
  type KeyValue,
  keepAliveSchema,
  type LeaseId,
  rangeSchema,
  revokeSchema,
  txnSchema,
} from "./etcd-messages.ts";
import { type EtcdAccess, EtcdSession } from "./etcd-session.ts";
import { post } from "./etcd-transport.ts";
import { type EtcdWatch, openWatch, type WatchRequest } from "./etcd-watch.ts";

/** All keys under a prefix at one revision. */
export interface Listing {
  readonly records: KeyValue[];
  readonly revision: number;
  readonly clusterId: string;
}

/** Keys are in base64 here. */
export interface Txn {
  /** keys that must not have been changed since that revision; 0: that must not exist */
  readonly unchanged: ReadonlyMap<string, number>;
  readonly put: {
    readonly key: string;
    readonly value: string;
    /** the etcd lease to bind it to; undefined: the key keeps the one that it has, or none */
    readonly leaseId: LeaseId | undefined;
  };
  readonly deletes: readonly string[];
}

/** The least number of attempts at a consistent list, should etcd be compacted between two pages. */
const LIST_ATTEMPTS = 3;
const PAGE = 1000;

/** etcd's operations over its JSON gateway. All throw what EtcdSession.call does. */
export class EtcdClient {
  readonly session: EtcdSession;

  constructor(access: EtcdAccess) {
    this.session = new EtcdSession(access);
  }

  async get(key: string, signal: AbortSignal): Promise<KeyValue | undefined> {
    const { kvs } = await this.#post("kv/range", { key: encodeText(key) }, rangeSchema, signal);
    return kvs[0];
  }

  /** Reads all keys that begin with `prefix`, page by page. */
  async list(prefix: string, signal: AbortSignal, kind: "call" | "watch" = "call"): Promise<Listing> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#list(prefix, signal, kind);
      } catch (error) {
        if (!(error instanceof EtcdRefusedError && error.isCompacted) || attempt === LIST_ATTEMPTS) throw error;
      }
    }
  }

  async #list(prefix: string, signal: AbortSignal, kind: "call" | "watch"): Promise<Listing> {
    const range_end = encodeText(endOf(prefix));
    const records: KeyValue[] = [];
    let at: { readonly revision: number; readonly clusterId: string } | undefined;
    for (let key = encodeText(prefix); ; ) {
      const page = { key, range_end, limit: `${PAGE}`, ...(at && { revision: `${at.revision}` }) };
      const { header, kvs, more } = await this.#post("kv/range", page, rangeSchema, signal, kind);
      at ??= { revision: header.revision, clusterId: header.cluster_id };
      for (const record of kvs) records.push(record);
      const last = records.at(-1);
      if (!more || last === undefined) return { records, ...at };
      key = Buffer.concat([Buffer.from(last.id, "base64"), new Uint8Array(1)]).toString("base64");
    }
  }

  /**
   * Writes if nobody else has meanwhile.
   * @returns undefined if it was done, else the key as it is instead; null if there is none
   */
  async transact({ unchanged, put, deletes }: Txn, signal: AbortSignal): Promise<KeyValue | null | undefined> {
    const { key } = put;
    const binding = put.leaseId === undefined ? { ignore_lease: true } : { lease: put.leaseId };
    const body = {
      compare: Array.from(unchanged, ([key, revision]) => ({
        key,
        target: "MOD",
        result: "EQUAL",
        mod_revision: `${revision}`,
      })),
      success: [
        { request_put: { key, value: encodeText(put.value), ...binding } },
        ...deletes.map((key) => ({ request_delete_range: { key } })),
      ],
      failure: [{ request_range: { key } }],
    };
    const { succeeded, responses } = await this.#post("kv/txn", body, txnSchema, signal);
    return succeeded ? undefined : (responses[0]?.response_range?.kvs[0] ?? null);
  }

  /** Makes a new etcd lease. @param ttl seconds */
  async grant(ttl: number, signal: AbortSignal): Promise<{ readonly id: LeaseId; readonly ttl: number }> {
    const { ID, TTL } = await this.#post("lease/grant", { TTL: `${ttl}` }, grantSchema, signal);
    return { id: ID, ttl: TTL };
  }

  /** Gives an etcd lease its whole life again. @returns that life in seconds; 0 if there is no such lease */
  async keepAlive(id: LeaseId, signal: AbortSignal): Promise<number> {
    const { result } = await this.#post("lease/keepalive", { ID: id }, keepAliveSchema, signal);
    return Math.max(0, result.TTL);
  }

  async revoke(id: LeaseId, signal: AbortSignal): Promise<void> {
    await this.#post("lease/revoke", { ID: id }, revokeSchema, signal);
  }

  /** Opens a stream of changes at one endpoint; it lives until the signal aborts or it breaks. */
  watch(request: WatchRequest, signal: AbortSignal): Promise<EtcdWatch> {
    return this.session.call("watch", signal, (target, limited) => openWatch(request, target, limited));
  }

  #post<T>(
    operation: string,
    body: object,
    schema: v.GenericSchema<unknown, T>,
    signal: AbortSignal,
    kind: "call" | "watch" = "call",
  ): Promise<T> {
    const text = JSON.stringify(body);
    return this.session.call(kind, signal, (target, limited) =>
      post({ ...target, operation, body: text, signal: limited }, schema),
    );
  }
}

/** The first text after all that begin with `prefix`: its last character raised by one. The prefix is not empty. */
export function endOf(prefix: string): string {
  return prefix.slice(0, -1) + String.fromCharCode(prefix.charCodeAt(prefix.length - 1) + 1);
}
