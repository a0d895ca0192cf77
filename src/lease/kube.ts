import { type BackoffLimits, backoffDelay, sleep } from "../base/backoff.ts";
import { describeError } from "../base/errors.ts";
import { logger } from "../base/log.ts";
import type { NetworkConfig } from "../config/network.ts";
import { mapFamilies } from "../net/family.ts";
import { type ContactListener, ContactRecord } from "./contact.ts";
import { type AnnotationNames, addressesSet, annotationNames } from "./kube-annotations.ts";
import type { KubeConfigOptions } from "./kube-config.ts";
import { KubeCredentials } from "./kube-credentials.ts";
import { KubeError } from "./kube-errors.ts";
import { NodeFollower } from "./kube-nodes.ts";
import { nodeIdentity, OwnNode } from "./kube-own.ts";
import type { KubeNode } from "./kube-proto.ts";
import { leaseStillThere, planPublication, whyNoSubnets } from "./kube-publish.ts";
import { NodeRecords, type OwnTrouble } from "./kube-records.ts";
import { KubeTransport } from "./kube-transport.ts";
import type { Lease, Snapshot } from "./lease.ts";
import { SnapshotBuilder } from "./snapshot-builder.ts";
import {
  LeaseLostError,
  type LeaseRequest,
  type LeaseSource,
  type SourceContact,
  type SourceSettings,
} from "./source.ts";

const log = logger("lease");

export interface KubernetesOptions extends KubeConfigOptions {
  /** reads the network's configuration, which Nodes do not hold */
  readonly readNetwork: () => Promise<{ config: NetworkConfig; warnings: readonly string[] }>;
  /** --kube-annotation-prefix */
  readonly annotationPrefix: string;
  /** --set-node-network-unavailable */
  readonly setNodeNetworkUnavailable: boolean;
  /** see NodeFollowerOptions */
  readonly watchSeconds?: readonly [number, number];
  readonly graceMs?: number;
  readonly quietMs?: number;
}

/** All in milliseconds. Between looks at a Node that is not there yet, or lacks something: while its changes are told, and otherwise. */
const LOOK_BESIDE_WATCH = 10_000;
const LOOK = 1000;
/** The least time between two snapshots: many Nodes often change together. */
const GATHER = 50;
const ANNOUNCE: BackoffLimits = { first: 500, cap: 30_000 };

/**
 * Leases in the Nodes of a Kubernetes cluster, as flannel keeps them: subnets are the Nodes' podCIDRs, the rest is in
 * annotations. The environment's NODE_NAME, or POD_NAME and POD_NAMESPACE, say which Node is ours. Asks nothing yet.
 * @throws UsageError
 */
export function openKubernetes(options: KubernetesOptions): LeaseSource {
  return new KubernetesSource(options);
}

class KubernetesSource implements LeaseSource {
  readonly kind = "kubernetes";
  readonly onLost = "acquire";
  readonly #options: KubernetesOptions;
  readonly #closing = new AbortController();
  readonly #names: AnnotationNames;
  readonly #transport: KubeTransport;
  readonly #own: OwnNode;
  /** what is published, by the Node's name */
  readonly #requests = new Map<string, LeaseRequest>();
  readonly #records: NodeRecords;
  readonly #follower: NodeFollower;
  /** those who wait for news of Nodes */
  readonly #waiting = new Set<() => void>();
  readonly #contact = new ContactRecord(["follow", "call", "waiting", "announce"]);
  #announcing: Promise<void> | undefined;
  /** the Node, by its UID, whose network was told to be there */
  #announced: string | undefined;
  #mayAnnounce = false;

  constructor(options: KubernetesOptions) {
    const { annotationPrefix, environment, watchSeconds = [180, 240], graceMs = 10_000, quietMs = 30_000 } = options;
    this.#options = options;
    this.#names = annotationNames(annotationPrefix);
    this.#transport = new KubeTransport(new KubeCredentials(options), () => {
      this.#contact.heard(Date.now());
      this.#contact.set({ call: undefined });
    });
    this.#own = new OwnNode(this.#transport, this.#names, nodeIdentity(environment));
    this.#records = new NodeRecords(this.#names, {
      is: (name) => this.#requests.has(name),
      trouble: (node) => this.#troubleOf(node),
    });
    const { signal } = this.#closing;
    const [transport, names, records] = [this.#transport, this.#names, this.#records];
    const onState = (error: Error | undefined) => this.#followed(error);
    const onNews = () => this.#wake();
    this.#follower = new NodeFollower(
      { transport, names, records, watchSeconds, graceMs, quietMs, onState, onNews },
      signal,
    );
  }

  get location(): string {
    return this.#transport.location;
  }

  get contact(): SourceContact {
    return this.#contact.current;
  }

  onContact(listener: ContactListener): void {
    this.#contact.listen(listener);
  }

  async settings(signal: AbortSignal): Promise<SourceSettings> {
    const { config, warnings } = await this.#options.readNetwork();
    return this.#call(signal, async (stop) => {
      const node = await this.#own.read(await this.#own.name(stop), stop);
      const set = addressesSet(this.#names, "nodePublicIP", node);
      return { network: config, warnings, publicIPs: mapFamilies(config.ranges, (_, family) => set[family]) };
    });
  }

  acquire(request: LeaseRequest, network: NetworkConfig, signal: AbortSignal): Promise<Lease> {
    return this.#call(signal, async (stop) => {
      const name = request.node ?? (await this.#own.name(stop));
      this.#requests.set(name, request);
      const node = await this.#subnetted(name, stop);
      const problem = whyNoSubnets(node, network);
      if (problem !== undefined) throw new Error(problem);
      const missing = planPublication(this.#names, node, request, this.#records.candidates);
      const published = missing === undefined ? node : await this.#own.annotate(name, missing, stop);
      this.#records.refresh(published);
      if (missing !== undefined) this.#follower.expect(published.resourceVersion);
      this.#wake();
      if (this.#mayAnnounce && published.uid !== this.#announced) void this.#announce(this.#closing.signal);
      const lease = leaseStillThere(this.#names, published);
      if (typeof lease === "string") throw new Error(lease);
      return lease;
    });
  }

  /** What is wrong with our own Node as it is now. */
  #troubleOf(node: KubeNode): OwnTrouble | undefined {
    const request = this.#requests.get(node.name);
    if (request === undefined) return undefined;
    try {
      const missing = planPublication(this.#names, node, request, this.#records.candidates);
      const differing = Object.entries(missing ?? {}).find(([name, value]) => node.annotations[name] !== value);
      return differing && { reason: `annotation ${differing[0]} is to be ${differing[1]}`, toPublish: true };
    } catch (error) {
      return { reason: describeError(error), toPublish: false };
    }
  }

  renew(own: Lease, signal: AbortSignal): Promise<Lease> {
    return this.#call(signal, async (stop) => {
      const node = await this.#own.read(own.key, stop).catch((error: unknown) => {
        if (!isNotFound(error)) throw error;
        throw new LeaseLostError(`Node ${own.key} was deleted`, { cause: error });
      });
      const lease = leaseStillThere(this.#names, node, own);
      if (typeof lease === "string") throw new LeaseLostError(lease);
      return lease;
    });
  }

  async *watch(network: NetworkConfig, signal: AbortSignal): AsyncGenerator<Snapshot, void, void> {
    const stop = AbortSignal.any([signal, this.#closing.signal]);
    const builder = new SnapshotBuilder(network);
    let seen: number | undefined;
    let yieldedAt = Number.NEGATIVE_INFINITY;
    this.#follower.start();
    while (!stop.aborted) {
      if (!this.#follower.synced || seen === this.#records.version) {
        await this.#news(stop);
        continue;
      }
      const early = yieldedAt + GATHER - performance.now();
      if (early > 0) await sleep(early, stop);
      if (stop.aborted) return;
      seen = this.#records.version;
      yieldedAt = performance.now();
      yield builder.build(this.#records.candidates, Date.now());
    }
  }

  async announceReady(signal: AbortSignal): Promise<void> {
    if (!this.#options.setNodeNetworkUnavailable) return;
    this.#mayAnnounce = true;
    await this.#announce(AbortSignal.any([signal, this.#closing.signal]));
  }

  close(): void {
    this.#closing.abort(new Error(`the lease source at ${this.location} is closed`));
  }

  /** The Node once it is there and has a podCIDR. Meanwhile `contact` says what is awaited. */
  async #subnetted(name: string, stop: AbortSignal): Promise<KubeNode> {
    try {
      for (;;) {
        const look = this.#news(stop, this.#follower.connected ? LOOK_BESIDE_WATCH : LOOK);
        try {
          const node = await this.#own.read(name, stop);
          if (node.podCIDRs.length > 0) return node;
          const waiting = new Error(
            `Node ${name} has no podCIDR yet; it is awaited: see that kube-controller-manager runs with ` +
              "--allocate-node-cidrs and has free ones in its --cluster-cidr",
          );
          this.#contact.set({ waiting });
        } catch (error) {
          if (!isNotFound(error)) throw error;
          this.#contact.set({ waiting: error });
        }
        await look;
        stop.throwIfAborted();
      }
    } finally {
      this.#contact.set({ waiting: undefined });
    }
  }

  #announce(stop: AbortSignal): Promise<void> {
    this.#announcing ??= this.#keepAnnouncing(stop).finally(() => {
      this.#announcing = undefined;
    });
    return this.#announcing;
  }

  async #keepAnnouncing(stop: AbortSignal): Promise<void> {
    for (let attempt = 1; !stop.aborted; attempt++) {
      try {
        this.#announced = await this.#own.setNetworkAvailable(await this.#own.name(stop), stop);
        this.#contact.set({ announce: undefined });
        return;
      } catch (error) {
        if (stop.aborted) return;
        const problem = `can't set the Node's NetworkUnavailable condition, trying again: ${describeError(error)}`;
        if (this.#contact.get("announce")?.message !== problem) log.warn("{problem}", { problem });
        this.#contact.set({ announce: new Error(problem, { cause: error }) });
        await sleep(backoffDelay(attempt, ANNOUNCE), stop);
      }
    }
  }

  async #call<T>(signal: AbortSignal, work: (stop: AbortSignal) => Promise<T>): Promise<T> {
    const stop = AbortSignal.any([signal, this.#closing.signal]);
    stop.throwIfAborted();
    try {
      return await work(stop);
    } catch (error) {
      if (error instanceof KubeError && error.status === undefined) this.#contact.set({ call: error });
      throw error;
    }
  }

  #followed(error: Error | undefined): void {
    const before = this.#contact.get("follow");
    if (error !== undefined && before?.message !== error.message) {
      log.warn("{problem}", { problem: error.message });
    }
    if (error === undefined && before !== undefined) {
      log.info("in contact with {location} again", { location: this.location });
    }
    this.#contact.set({ follow: error });
  }

  #wake(): void {
    for (const wake of this.#waiting) wake();
  }

  /** Resolves with the next news of Nodes, when the signal aborts, or after `ms` milliseconds. */
  async #news(stop: AbortSignal, ms?: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const wake = () => resolve();
    this.#waiting.add(wake);
    stop.addEventListener("abort", wake);
    const timer = ms === undefined ? undefined : setTimeout(wake, ms);
    if (stop.aborted) wake();
    await promise;
    clearTimeout(timer);
    stop.removeEventListener("abort", wake);
    this.#waiting.delete(wake);
  }
}

function isNotFound(error: unknown): error is KubeError {
  return error instanceof KubeError && error.status === 404;
}
