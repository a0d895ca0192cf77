import type { HostAddress } from "../config/interface.ts";
import type { Address } from "../net/address.ts";
import type { Family } from "../net/family.ts";
import type { Mac } from "../net/mac.ts";
import type { Prefix } from "../net/prefix.ts";

/** What the kernel says it has: `struct ifinfomsg`, `ifaddrmsg`, `rtmsg`, `ndmsg` and their attributes as values. */

export interface VxlanState {
  readonly vni: number;
  readonly port: number;
  readonly local: Address | undefined;
  /** ifindex, 0 for none */
  readonly underlay: number;
  /** a default destination, which ours do not have */
  readonly group: Address | undefined;
  readonly learning: boolean;
  readonly gbp: boolean;
  readonly l2miss: boolean;
}

export interface Link {
  readonly index: number;
  readonly name: string;
  /** `vxlan`, `bridge`, … ; empty for a physical device */
  readonly kind: string;
  readonly alias: string;
  /** undefined for links without an Ethernet address */
  readonly mac: Mac | undefined;
  /** bytes */
  readonly mtu: number;
  readonly up: boolean;
  readonly vxlan: VxlanState | undefined;
  /** of our devices: whether checksums are left to the hardware; undefined where the kernel does not tell */
  readonly txChecksum?: boolean;
}

export interface InterfaceAddress extends Required<HostAddress> {
  readonly index: number;
  /** bits of its prefix */
  readonly length: number;
}

/** The metric of a route that was made without one: IPv6 has no 0 (IP6_RT_PRIO_USER, linux/ipv6_route.h). */
export const DEFAULT_METRIC: Readonly<Record<Family, number>> = { 4: 0, 6: 1024 };

export interface Route {
  readonly family: Family;
  readonly destination: Prefix;
  readonly gateway: Address | undefined;
  /** ifindex, 0 for a route without a device or with several next hops */
  readonly index: number;
  readonly onlink: boolean;
  readonly protocol: number;
  /** RTN_*: unicast, blackhole, … */
  readonly type: number;
  /** metric */
  readonly priority: number;
  readonly tos: number;
}

export interface Neighbour {
  readonly index: number;
  readonly address: Address;
  readonly mac: Mac | undefined;
  readonly permanent: boolean;
}

export interface ForwardingEntry {
  readonly index: number;
  readonly mac: Mac;
  readonly destination: Address | undefined;
  /** false for one that was learnt and will age */
  readonly permanent: boolean;
  /** a remote port, VNI or interface of its own, which ours do not have */
  readonly special: boolean;
}

/** One message of the kernel about its state. */
export type KernelEvent =
  | { readonly kind: "link"; readonly deleted: boolean; readonly value: Link }
  | { readonly kind: "address"; readonly deleted: boolean; readonly value: InterfaceAddress }
  | { readonly kind: "route"; readonly deleted: boolean; readonly value: Route; readonly place: RoutePlace }
  | { readonly kind: "neighbour"; readonly deleted: boolean; readonly value: Neighbour }
  | { readonly kind: "forwarding"; readonly deleted: boolean; readonly value: ForwardingEntry };

/** Where a new route stands among those with the same key: it took the first one's place, or stands before or after. */
export type RoutePlace = "replace" | "first" | "last";
