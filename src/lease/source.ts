import type { NetworkConfig } from "../config/network.ts";
import type { Address } from "../net/address.ts";
import type { PerFamily } from "../net/family.ts";
import type { Prefix } from "../net/prefix.ts";
import type { ContactListener } from "./contact.ts";
import type { Lease, LeaseAttributes, Snapshot } from "./lease.ts";

/** What a node asks for. Its VTEP MAC is a proposal: that of the node's published lease wins (see `acquire`). */
export interface LeaseRequest extends LeaseAttributes {
  /** the subnets that this node had before, from subnet.env */
  readonly previous: PerFamily<Prefix>;
  /** the lease that this node has had from the source up to now, though it may publish something else from now on */
  readonly held?: Lease;
}

/** When the source last answered, and what is wrong if it does not. Times are milliseconds since the epoch. */
export interface SourceContact {
  readonly lastContactAt?: number;
  /** undefined while in contact */
  readonly error?: Error;
}

/** What a source, or the file that it goes with, says before there is a lease. */
export interface SourceSettings {
  readonly network: NetworkConfig;
  /** about the network's configuration: unknown keys and the like */
  readonly warnings: readonly string[];
  /** addresses that the store has for this node to publish; they win over --public-ip (flannel: `node-public-ip`) */
  readonly publicIPs: PerFamily<Address>;
}

export type LeaseSourceKind = "embedded" | "etcd" | "kubernetes";

/**
 * Where leases are kept. One driver each for the embedded store, etcd and Kubernetes; one contract suite holds for all.
 * Drivers reconnect by themselves: an outage shows in `contact`, never as the end of `watch`.
 */
export interface LeaseSource {
  readonly kind: LeaseSourceKind;
  /** for messages: the store's path or address */
  readonly location: string;
  readonly contact: SourceContact;
  /** Has a listener told whenever contact is lost, and when it is back. */
  onContact(listener: ContactListener): void;
  /**
   * What to do when this node's lease is gone from the store though nobody here gave it up: take it again at once, or
   * stop the agent (exit code 1), so that a supervisor starts it anew.
   */
  readonly onLost: "acquire" | "exit";

  /**
   * The pod network's configuration and what is set for this node.
   * @throws Error that says what is missing; the caller tries again
   */
  settings(signal: AbortSignal): Promise<SourceSettings>;

  /**
   * Takes this node's lease, or takes it back: one with the same public address, else the previous subnet if nobody has
   * it, else a free one. The published VTEP MAC is kept. Calling it again with other attributes publishes those.
   * @throws OutOfSubnetsError, or an error with its cause when the source can't be reached or holds garbage
   */
  acquire(request: LeaseRequest, network: NetworkConfig, signal: AbortSignal): Promise<Lease>;

  /**
   * Extends the lease's life where the source has one.
   * @throws LeaseLostError if it is no longer ours
   */
  renew(own: Lease, signal: AbortSignal): Promise<Lease>;

  /**
   * Complete snapshots: the first at once, then one after each change (the latest, if several came meanwhile). Leases
   * outside the network are among the rejected. Ends when the signal aborts or the source is closed.
   */
  watch(network: NetworkConfig, signal: AbortSignal): AsyncIterable<Snapshot>;

  /** Tells the cluster that this node's pods have their network, where there is somebody to tell. */
  announceReady(signal: AbortSignal): Promise<void>;

  close(): void;
}

export class OutOfSubnetsError extends Error {
  override readonly name = "OutOfSubnetsError";
}

export class LeaseLostError extends Error {
  override readonly name = "LeaseLostError";
}
