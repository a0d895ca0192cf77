import type { NetworkConfig } from "../../src/config/network.ts";
import type { Snapshot } from "../../src/lease/lease.ts";
import type { LeaseSource } from "../../src/lease/source.ts";
import { eventually } from "../support/wait.ts";
import { NETWORK } from "./samples.ts";

/** Reads a source's snapshots as fast as they come. */
export class Follower implements AsyncDisposable {
  readonly #stop = new AbortController();
  readonly #done: Promise<void>;
  latest: Snapshot | undefined;
  /** snapshots so far */
  count = 0;
  ended = false;

  constructor(source: LeaseSource, network: NetworkConfig = NETWORK) {
    this.#done = this.#read(source, network);
  }

  async #read(source: LeaseSource, network: NetworkConfig): Promise<void> {
    for await (const snapshot of source.watch(network, this.#stop.signal)) {
      this.latest = snapshot;
      this.count++;
    }
    this.ended = true;
  }

  /** Resolves with the first snapshot that is as it should be; it may be the one that is there. */
  until(what: string, isRight: (snapshot: Snapshot) => boolean, within = 30_000): Promise<Snapshot> {
    return eventually(() => (this.latest !== undefined && isRight(this.latest) ? this.latest : undefined), {
      within,
      what,
    });
  }

  untilKeys(keys: readonly string[], within?: number): Promise<Snapshot> {
    const wanted = [...keys].sort().join(" ");
    const isRight = ({ leases }: Snapshot) => leases.map(({ key }) => key).join(" ") === wanted;
    return this.until(`a snapshot with the leases ${wanted || "of nobody"}`, isRight, within);
  }

  /** Rejects with what `watch` threw, if it did. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#done;
  }
}
