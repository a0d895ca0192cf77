import type { Address } from "../net/address.ts";
import type { PerFamily } from "../net/family.ts";
import type { Mac } from "../net/mac.ts";
import type { Prefix } from "../net/prefix.ts";

/** One VXLAN tunnel end point, as flannel publishes it in `BackendData`. */
export interface Vtep {
  readonly vni: number;
  readonly mac: Mac;
}

/** What a node publishes about itself beside its subnets. */
export interface LeaseAttributes {
  /** the node's name where the source knows one (etcd does not) */
  readonly node?: string;
  readonly publicIPs: PerFamily<Address>;
  /** flannel's `BackendType`: `vxlan`, `host-gw`, … */
  readonly backendType: string;
  /** empty unless the backend type is `vxlan` */
  readonly vteps: PerFamily<Vtep>;
}

/** One node's claim on its slice of the pod network. Values are immutable; an unchanged lease keeps its identity. */
export interface Lease extends LeaseAttributes {
  /** unique in the source: flannel's etcd key (`10.244.20.0-24`) or the Node's name */
  readonly key: string;
  readonly subnets: PerFamily<Prefix>;
  /** milliseconds since the epoch; undefined where the source has no such time (a reservation does not expire) */
  readonly createdAt?: number;
  readonly expiresAt?: number;
}

/** A record of the source that is left out, and why. It never stops the others. */
export interface RejectedLease {
  readonly key: string;
  readonly node?: string;
  /** as far as they could be read: whose record it is */
  readonly publicIPs?: PerFamily<Address>;
  readonly reason: string;
}

/** What became of the lease whose record was rejected. @param isKept its last good one stays in use */
export function outcomeOf(isKept: boolean): string {
  return isKept ? "stays as it was" : "is left out";
}

/** Everything that the source holds at one moment: what is not in it does not exist. */
export interface Snapshot {
  readonly leases: readonly Lease[];
  readonly rejected: readonly RejectedLease[];
  /** milliseconds since the epoch */
  readonly takenAt: number;
}
