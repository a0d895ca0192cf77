import { describeError } from "../base/errors.ts";
import { logger } from "../base/log.ts";
import type { AgentFlags } from "../config/flags.ts";
import type { ExternalInterface } from "../config/interface.ts";
import type { NetworkConfig } from "../config/network.ts";
import { vxlanDeviceName } from "../desired/vxlan.ts";
import type { Actual } from "../kernel/mirror.ts";
import { LeaseKeeper } from "../lease/keeper.ts";
import type { Lease, Snapshot } from "../lease/lease.ts";
import type { LeaseRequest, LeaseSource } from "../lease/source.ts";
import { mapFamilies, type PerFamily } from "../net/family.ts";
import { type Mac, randomMac } from "../net/mac.ts";
import type { EventLog } from "../status/event-log.ts";
import { readPreviousSubnet } from "../status/subnet-file.ts";
import { LeaseEvents } from "./lease-events.ts";
import { RejectionLog } from "./rejection-log.ts";

const log = logger("agent");

export interface LeaseFollowerOptions {
  readonly flags: AgentFlags;
  readonly source: LeaseSource;
  readonly name?: string;
  readonly events: EventLog;
  readonly stopping: AbortSignal;
  onChange(cause: string): void;
  /** the lease is lost for good */
  onFatal(error: Error): void;
}

/** A snapshot that counts. */
export interface AcceptedSnapshot {
  readonly snapshot: Snapshot;
  /** Whether our own lease is in it. If it is only among the rejected, then nothing may be taken away by this snapshot. */
  readonly hasOwn: boolean;
}

/** Keeps this node's lease, and follows those of all nodes. */
export class LeaseFollower {
  readonly #options: LeaseFollowerOptions;
  readonly #previous: ReturnType<typeof readPreviousSubnet>;
  readonly #rejections: RejectionLog;
  readonly #leaseEvents: LeaseEvents;
  readonly #randomMacs: PerFamily<Mac> = {};
  #keeper: LeaseKeeper | undefined;
  #watching: Promise<void> | undefined;
  /** the last snapshot, and the last one that counts */
  #latest: Snapshot | undefined;
  #snapshot: Snapshot | undefined;

  constructor(options: LeaseFollowerOptions) {
    this.#options = options;
    this.#rejections = new RejectionLog(options.events);
    this.#leaseEvents = new LeaseEvents(options.events, `${options.source.kind} ${options.source.location}`);
    this.#previous = readPreviousSubnet(options.flags.subnetFile);
    if (this.#previous.problem !== undefined) log.warn("{problem}", { problem: this.#previous.problem });
  }

  get own(): Lease | undefined {
    return this.#keeper?.own;
  }

  /** The last snapshot that counts; see `accept`. */
  get snapshot(): Snapshot | undefined {
    return this.#snapshot;
  }

  /** records that were rejected since the start */
  get rejections(): number {
    return this.#rejections.count;
  }

  /** Has this node have a lease that says the interface's addresses; goes on by itself. @returns it, once there is one */
  keep(network: NetworkConfig, external: ExternalInterface, links: Actual["links"]): Lease | undefined {
    const request = this.#request(network, external, links);
    if (this.#keeper === undefined) this.#start(network, request);
    else this.#keeper.update(request);
    return this.#keeper?.own;
  }

  /** Why there is no lease though one was asked for; undefined if there is one, or none was asked for. */
  missing(): string | undefined {
    if (this.#keeper === undefined || this.#keeper.own !== undefined) return undefined;
    const error = this.#keeper.error ?? this.#options.source.contact.error;
    return error ? describeError(error) : "it is being acquired";
  }

  /** Why the lease that we have does not count, or could not be published as it should be. */
  problem(): string | undefined {
    const own = this.#keeper?.own;
    if (own === undefined) return undefined;
    const error = this.#keeper?.error && describeError(this.#keeper.error);
    const reason = this.#latest?.rejected.find(({ key }) => key === own.key)?.reason;
    if (reason === undefined) return error;
    if (this.#latest?.leases.some(({ key }) => key === own.key))
      return `this node's lease ${own.key} stays as it was: ${reason}`;
    const more = error === undefined || error.includes(reason) ? "" : `; ${error}`;
    const meanwhile =
      this.#snapshot && "; until that is mended, this node follows the others' leases, but removes nothing";
    return `this node's lease ${own.key} does not count as it is: ${reason}${more}${meanwhile ?? ""}`;
  }

  /**
   * Only a snapshot that knows of our own lease counts: one that does not speaks of another network, or of a store that was
   * wiped. One that rejects our lease tells of the others all the same, but is no ground to begin with.
   */
  accept(own: Lease): AcceptedSnapshot | undefined {
    const latest = this.#latest;
    if (latest === undefined) return undefined;
    this.#leaseEvents.look(latest, own.key);
    const isOwn = ({ key }: { readonly key: string }) => key === own.key;
    if (latest.leases.some(isOwn) || (this.#snapshot !== undefined && latest.rejected.some(isOwn)))
      this.#snapshot = latest;
    // Ours may have another key than when the snapshot was accepted.
    return this.#snapshot && { snapshot: this.#snapshot, hasOwn: this.#snapshot.leases.some(isOwn) };
  }

  /** Resolves when nothing is read any more, for which the signal has to abort. */
  async stop(): Promise<void> {
    this.#keeper?.stop();
    await this.#watching;
  }

  /** Asks for the MAC that the device has, so that a node without a lease keeps it; else for a random one. */
  #request(network: NetworkConfig, external: ExternalInterface, links: Actual["links"]): LeaseRequest {
    const { vni } = network.backend;
    const { name } = this.#options;
    const vteps = mapFamilies(network.ranges, (_, family) => {
      const name = vxlanDeviceName(family, vni);
      this.#randomMacs[family] ??=
        links.values().find((link) => link.kind === "vxlan" && link.name === name)?.mac ?? randomMac();
      return { vni, mac: this.#keeper?.own?.vteps[family]?.mac ?? this.#randomMacs[family] };
    });
    return {
      ...(name === undefined ? {} : { node: name }),
      publicIPs: external.publicIPs,
      backendType: network.backend.type,
      vteps,
      previous: this.#previous.subnets,
    };
  }

  #start(network: NetworkConfig, request: LeaseRequest): void {
    const { source, flags, events, onFatal, onChange } = this.#options;
    let [before, since] = ["", performance.now()];
    const keeper = new LeaseKeeper({
      source,
      network,
      renewMarginMinutes: flags.renewMarginMinutes,
      onChange: ({ key }) => {
        log.info("this node has the lease {key}", { key });
        const message = `this node has the lease ${key}${before === "" || before === key ? "" : `, before it had ${before}`}`;
        const took = before === "" ? { durationMs: performance.now() - since } : {};
        events.add({ kind: "ownLease", node: this.#options.name ?? key, message, ...took });
        before = key;
        onChange("own lease");
      },
      onLost: (error) => {
        log.warn("{error}", { error: describeError(error) });
        events.add({
          kind: "ownLease",
          level: "warning",
          message: "this node's lease is lost",
          cause: describeError(error),
        });
      },
      onFatal,
    });
    this.#keeper = keeper;
    // First: taking a lease may make use of the list that a watch begins with.
    this.#watching = this.#watch(network, keeper);
    keeper.start(request);
  }

  async #watch(network: NetworkConfig, keeper: LeaseKeeper): Promise<void> {
    const { source, stopping, onChange } = this.#options;
    for await (const snapshot of source.watch(network, stopping)) {
      this.#latest = snapshot;
      this.#rejections.look(snapshot);
      keeper.observe(snapshot);
      onChange("leases changed");
    }
  }
}
