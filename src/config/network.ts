import type { Address } from "../net/address.ts";
import type { PerFamily } from "../net/family.ts";
import type { Prefix } from "../net/prefix.ts";

/** UDP port of VXLAN that Linux takes where none is set; IANA's is 4789. flannel's default, too. */
export const LINUX_VXLAN_PORT = 8472;

/** The pod network of one family and how it is cut into subnets, one for each node. */
export interface NetworkRange {
  readonly network: Prefix;
  /** bits of a node's subnet */
  readonly subnetLength: number;
  /** first address of the lowest and the highest subnet that may be allocated */
  readonly subnetMin: Address;
  readonly subnetMax: Address;
}

/** Flannel's VXLAN options (its Documentation/backends.md). */
export interface VxlanOptions {
  readonly type: "vxlan";
  readonly vni: number;
  /** UDP port; undefined lets the kernel choose: LINUX_VXLAN_PORT */
  readonly port: number | undefined;
  readonly gbp: boolean;
  readonly learning: boolean;
  /** of the underlay, before the encapsulation is taken off; undefined takes the external interface's */
  readonly mtu: number | undefined;
}

export type BackendOptions = VxlanOptions;

/** net-conf.json after validation, defaults filled in. */
export interface NetworkConfig {
  readonly ranges: PerFamily<NetworkRange>;
  readonly backend: BackendOptions;
  /** whether the rules are made by nftables instead of iptables */
  readonly nftables: boolean;
}
