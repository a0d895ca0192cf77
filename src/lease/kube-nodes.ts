import { type BackoffLimits, backoffDelay, sleep } from "../base/backoff.ts";
import type { AnnotationNames } from "./kube-annotations.ts";
import { explainStatus, KubeError } from "./kube-errors.ts";
import { ReadQueue } from "./kube-missing.ts";
import { decodeNode, decodeNodeList, decodeStatus, decodeWatchEvent, MalformedError } from "./kube-proto.ts";
import { isOlder, type NodeRecords } from "./kube-records.ts";
import type { KubeTransport } from "./kube-transport.ts";

export interface NodeFollowerOptions {
  readonly transport: KubeTransport;
  readonly names: AnnotationNames;
  readonly records: NodeRecords;
  /** how long a watch is to last, at least and at most in seconds, before another one takes its place */
  readonly watchSeconds: readonly [number, number];
  /** how much longer it may take to end, in milliseconds */
  readonly graceMs: number;
  /** how often it is looked whether the watch said anything, in milliseconds; if not, a sign of life is asked for */
  readonly quietMs: number;
  /** what is wrong with following, undefined when all is well again */
  readonly onState: (error: Error | undefined) => void;
  /** the records may have changed */
  readonly onNews: () => void;
}

const NODES = "/api/v1/nodes";
const PAGE = 500;
/** of one page, in milliseconds */
const PAGE_MS = 30_000;
/** of one Node over a pooled connection */
const POOLED_MS = 2000;
const RETRY: BackoffLimits = { first: 500, cap: 20_000 };
/** How long the watch may take to tell what was written. */
const TELL_MS = 5000;
const GONE = 410;
/** A watch that ends sooner, and told nothing, was not worth its request; milliseconds. */
const SHORT = 1000;

/** Keeps the records as the cluster's Nodes are: a list, then one watch after the other, and a list again if need be. */
export class NodeFollower {
  readonly #options: NodeFollowerOptions;
  readonly #missing: ReadQueue;
  readonly #signal: AbortSignal;
  /** up to which the records are known */
  #version: string | undefined;
  /** ends the watch that is open */
  #watching: AbortController | undefined;
  #started = false;
  #synced = false;
  #connected = false;
  #error: Error | undefined;
  #readError: Error | undefined;

  constructor(options: NodeFollowerOptions, signal: AbortSignal) {
    this.#options = options;
    this.#signal = signal;
    const onFailure = (error: unknown) => this.#report({ read: asError(error) });
    this.#missing = new ReadQueue((name) => this.#readNode(name), onFailure, signal);
  }

  /** Whether there was a complete list. */
  get synced(): boolean {
    return this.#synced;
  }

  /** Whether changes come in by themselves at present. */
  get connected(): boolean {
    return this.#connected;
  }

  /**
   * Something was written that the watch must tell soon. If it does not, it is dead: the way back to us is gone, as when
   * our own address has changed.
   * @param version the resource version that was written
   */
  expect(version: string): void {
    const watch = this.#watching;
    if (watch === undefined) return;
    const timer = setTimeout(() => {
      this.#signal.removeEventListener("abort", forget);
      if (this.#version === undefined || !isOlder(this.#version, version)) return;
      watch.abort(
        new KubeError(`the watch of nodes at ${this.#options.transport.location} does not tell what was written`),
      );
    }, TELL_MS);
    const forget = () => clearTimeout(timer);
    this.#signal.addEventListener("abort", forget, { once: true });
  }

  /** Begins, once; ends with the signal. */
  start(): void {
    if (this.#started) return;
    this.#started = true;
    void this.#run();
  }

  async #run(): Promise<void> {
    let failures = 0;
    while (!this.#signal.aborted) {
      let error: unknown;
      const began = performance.now();
      const before = this.#version;
      try {
        this.#version ??= await this.#list();
        await this.#watch(this.#version);
      } catch (cause) {
        if (this.#signal.aborted) return;
        error = cause;
      }
      const useful = this.#connected && (this.#version !== before || performance.now() - began > SHORT);
      this.#connected = false;
      failures = useful ? 0 : failures + 1;
      if (isGone(error)) {
        this.#version = undefined;
        // The server answers, and remembers less than we do: all is listed at once, unless that was just done.
        failures = before === undefined ? Math.max(failures, 1) : 0;
      } else if (error !== undefined) {
        failures = Math.max(failures, 1);
        // What was not understood can't be continued.
        if (!(error instanceof KubeError)) this.#version = undefined;
        this.#report({ follow: this.#explained(error) });
      }
      if (failures > 0) await sleep(backoffDelay(failures, RETRY), this.#signal);
    }
  }

  /** Page by page, so that never more than one of them is in memory. @returns the version to watch from */
  async #list(): Promise<string> {
    const { transport, names, records } = this.#options;
    const seen = new Set<string>();
    for (let next = ""; ; ) {
      const query = new URLSearchParams({ limit: `${PAGE}`, ...(next && { continue: next }) });
      const bytes = await transport.bytes(`${NODES}?${query}`, this.#signal, { timeoutMs: PAGE_MS });
      const page = decodeNodeList(bytes, names.all);
      // Megabytes, which would otherwise stay until the collector comes by.
      bytes.buffer.transfer(0);
      for (const node of page.nodes) {
        seen.add(node.name);
        records.put(node);
        if (records.lacksPodCIDR(node.name)) records.refresh(node);
      }
      next = page.continueToken;
      if (next !== "") continue;
      records.retain(seen);
      this.#synced = true;
      this.#report({ follow: undefined });
      this.#options.onNews();
      return page.resourceVersion;
    }
  }

  async #watch(from: string): Promise<void> {
    const { transport, watchSeconds, graceMs, quietMs } = this.#options;
    const [least, most] = watchSeconds;
    const seconds = Math.round(least + Math.random() * (most - least));
    const query = new URLSearchParams({
      watch: "1",
      allowWatchBookmarks: "true",
      resourceVersion: from,
      timeoutSeconds: `${seconds}`,
    });
    const watching = new AbortController();
    const onOpen = () => {
      this.#connected = true;
      this.#watching = watching;
      this.#report({ follow: undefined });
    };
    const stop = AbortSignal.any([this.#signal, watching.signal]);
    let heard = true;
    const pulse = setInterval(() => {
      if (!heard) void this.#askForLife(watching);
      heard = false;
    }, quietMs);
    try {
      for await (const frame of transport.watch(`${NODES}?${query}`, stop, seconds * 1000 + graceMs, onOpen)) {
        heard = true;
        this.#version = (await this.#take(frame)) || this.#version;
      }
    } finally {
      clearInterval(pulse);
      this.#watching = undefined;
    }
  }

  /** In a small cluster a watch may be silent for minutes, and so is one whose server hangs: that is told in time. */
  async #askForLife(watching: AbortController): Promise<void> {
    try {
      await this.#options.transport.bytes(`${NODES}?limit=1`, this.#signal);
    } catch (error) {
      // A refusal is an answer, too.
      if (error instanceof KubeError && error.status === undefined) watching.abort(error);
    }
  }

  /** @returns the version that the records have now */
  async #take(frame: Uint8Array): Promise<string> {
    const { names, records, transport } = this.#options;
    const { type, object } = decodeWatchEvent(frame);
    if (type === "ERROR")
      throw explainStatus({ verb: "watch", resource: "nodes" }, await transport.access(), decodeStatus(object));
    const node = decodeNode(object, names.all);
    if (type === "ADDED" || type === "MODIFIED") {
      records.put(node);
      if (records.lacksPodCIDR(node.name)) this.#missing.add(node.name);
      this.#options.onNews();
    } else if (type === "DELETED") {
      records.delete(node.name, node.uid);
      this.#options.onNews();
    }
    return node.resourceVersion;
  }

  /** The watch does not tell a Node's podCIDR. */
  async #readNode(name: string): Promise<void> {
    const { transport, names, records } = this.#options;
    if (records.lacksPodCIDR(name)) {
      const path = `${NODES}/${encodeURIComponent(name)}`;
      // There may be hundreds of them. A pooled connection may be dead: then another one is made soon.
      const pooled = this.#readError === undefined;
      const patience = pooled ? { pooled, timeoutMs: POOLED_MS } : {};
      try {
        records.refresh(decodeNode(await transport.bytes(path, this.#signal, patience), names.all));
      } catch (error) {
        // It may be gone again.
        if (!(error instanceof KubeError) || error.status !== 404) throw error;
      }
      this.#options.onNews();
    }
    this.#report({ read: undefined });
  }

  #explained(error: unknown): Error {
    if (!(error instanceof MalformedError)) return asError(error);
    const where = this.#options.transport.location;
    return new KubeError(`can't read the answer of ${where} about nodes: ${error.message}; all is listed again`, {
      cause: error,
    });
  }

  #report(change: { follow?: Error | undefined; read?: Error | undefined }): void {
    if ("follow" in change) this.#error = change.follow;
    if ("read" in change) this.#readError = change.read;
    this.#options.onState(this.#error ?? this.#readError);
  }
}

/** Whether what is known is too old to be continued from. */
function isGone(error: unknown): boolean {
  return error instanceof KubeError && error.status === GONE;
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
