import { sleep } from "../../src/base/backoff.ts";
import { type EtcdOptions, openEtcd } from "../../src/lease/etcd.ts";
import type { LeaseSource } from "../../src/lease/source.ts";
import { base64, type EtcdServer } from "../support/etcd.ts";
import type { StoreUnderTest } from "./contract.ts";

let made = 0;

/** One prefix of an etcd, for one test. */
export class EtcdSample implements StoreUnderTest {
  readonly prefix = `/test-${process.pid}-${made++}/network`;
  readonly #server: EtcdServer;
  readonly #options: Partial<EtcdOptions>;

  constructor(server: EtcdServer, options: Partial<EtcdOptions> = {}) {
    this.#server = server;
    this.#options = options;
  }

  readonly allocating = {
    putRaw: async (key: string, value: string) => {
      await this.put(`subnets/${key}`, value);
    },
    clear: async () => {
      const from = `${this.prefix}/subnets/`;
      await this.#server.post("kv/deleterange", { key: base64(from), range_end: base64(`${from}\x7f`) });
    },
  };

  /** etcd has its own clock, so the time that passes is real. */
  readonly expiry = {
    // Longer than a busy machine takes for a few steps.
    ttlMs: 8000,
    pass: (ms: number) => sleep(ms),
  };

  open(options: Partial<EtcdOptions> = {}): LeaseSource {
    return openEtcd({
      endpoints: [this.#server.endpoint],
      prefix: this.prefix,
      ttlSeconds: this.expiry.ttlMs / 1000,
      ...this.#options,
      ...options,
    });
  }

  async remove(key: string): Promise<void> {
    await this.delete(`subnets/${key}`);
  }

  /** @param key behind the prefix @param lease of etcd, in decimal; else the key is bound to none */
  async put(key: string, value: string, lease?: string): Promise<void> {
    const binding = lease === undefined ? {} : { lease };
    await this.#server.post("kv/put", { key: base64(`${this.prefix}/${key}`), value: base64(value), ...binding });
  }

  async delete(key: string): Promise<void> {
    await this.#server.post("kv/deleterange", { key: base64(`${this.prefix}/${key}`) });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.allocating.clear();
  }
}
