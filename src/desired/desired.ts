import type { Address } from "../net/address.ts";
import type { Family, PerFamily } from "../net/family.ts";
import type { Mac } from "../net/mac.ts";
import type { Prefix } from "../net/prefix.ts";
import type { TxChecksum } from "./tx-checksum.ts";

/** A route of ours: to a peer's subnet, through a device named here (its index is known only once it exists). */
export interface DesiredRoute {
  readonly destination: Prefix;
  readonly gateway: Address;
  readonly device: string;
  readonly onlink: boolean;
  /** RTPROT_*, by which we know it again */
  readonly protocol: number;
}

/** A VXLAN device of ours with everything that belongs on it. */
export interface DesiredDevice {
  readonly family: Family;
  readonly name: string;
  readonly vni: number;
  /** UDP; undefined lets the kernel choose */
  readonly port: number | undefined;
  readonly gbp: boolean;
  readonly learning: boolean;
  readonly mac: Mac;
  /** bytes */
  readonly mtu: number;
  /** source of encapsulated packets, an address of the underlay */
  readonly local: Address;
  /** ifindex of the underlay */
  readonly underlay: number;
  readonly txChecksum: TxChecksum;
  /** the device's own address, with the full length (/32, /128), so that no broadcast route comes with it */
  readonly address: Address;
  /** the pod network: no other address of it stays on the device */
  readonly network: Prefix;
  /** a peer's VTEP address to its MAC */
  readonly neighbours: ReadonlyMap<Address, Mac>;
  /** a peer's VTEP MAC to its public address */
  readonly forwarding: ReadonlyMap<Mac, Address>;
}

/** A lease that nothing is programmed for, and why. */
export interface SkippedPeer {
  readonly key: string;
  readonly node?: string;
  readonly reason: string;
}

/** All that tartan wants in the kernel. What is not in it and is ours goes. */
export interface Desired {
  readonly devices: readonly DesiredDevice[];
  /** by destination, as `address/length` */
  readonly routes: ReadonlyMap<string, DesiredRoute>;
  /** subnets to which packets are dropped unless another route takes them */
  readonly blackholes: readonly Prefix[];
  /** the pod networks: routes to subnets of them may have been left by flanneld */
  readonly networks: PerFamily<Prefix>;
  readonly skipped: readonly SkippedPeer[];
}

/** Where a plan differs from the one that it was made from. */
export interface DesiredDelta {
  readonly from: Desired;
  /** destinations */
  readonly routes: ReadonlySet<string>;
  /** by device name: addresses of neighbours, MACs of forwarding entries */
  readonly neighbours: ReadonlyMap<string, ReadonlySet<Address>>;
  readonly forwarding: ReadonlyMap<string, ReadonlySet<Mac>>;
}
