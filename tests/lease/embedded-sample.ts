import { Database } from "bun:sqlite";
import { openEmbeddedStore } from "../../src/lease/embedded.ts";
import type { LeaseSource } from "../../src/lease/source.ts";
import { TemporaryFolder } from "../support/temp.ts";
import type { StoreUnderTest } from "./contract.ts";
import { readSampleNetwork } from "./samples.ts";

/** An embedded store of its own, with a clock that can be moved. */
export class EmbeddedSample implements StoreUnderTest {
  readonly folder = new TemporaryFolder();
  readonly path = this.folder.at("run", "leases.db");
  readonly #sources: LeaseSource[] = [];
  #shift = 0;

  readonly allocating = {
    putRaw: async (key: string, value: string) =>
      this.sql("INSERT OR REPLACE INTO leases(key, value) VALUES (?, ?)", key, value),
    clear: async () => this.sql("DELETE FROM leases"),
  };

  readonly expiry = {
    ttlMs: 3_600_000,
    pass: async (ms: number) => {
      this.#shift += ms;
    },
  };

  open(): LeaseSource {
    const { path } = this;
    const source = openEmbeddedStore({
      readNetwork: readSampleNetwork,
      path,
      ttlMs: this.expiry.ttlMs,
      now: () => Date.now() + this.#shift,
    });
    this.#sources.push(source);
    return source;
  }

  async remove(key: string): Promise<void> {
    this.sql("DELETE FROM leases WHERE key = ?", key);
  }

  /** Runs a statement as somebody with the sqlite3 command would. */
  sql(statement: string, ...values: (string | number | null | Uint8Array)[]): void {
    const db = new Database(this.path, { readwrite: true, create: true });
    try {
      db.run("PRAGMA busy_timeout = 5000");
      db.run(statement, values);
    } finally {
      db.close(true);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const source of this.#sources) source.close();
    this.folder[Symbol.dispose]();
  }
}
