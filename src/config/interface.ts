import type { Address } from "../net/address.ts";
import type { Family, PerFamily } from "../net/family.ts";

/** An address of a host interface as far as the choice of the external interface needs it. */
export interface HostAddress {
  readonly family: Family;
  readonly address: Address;
  /** IFA_F_DEPRECATED (linux/if_addr.h): not to be used as a source any more */
  readonly deprecated: boolean;
  /** IFA_F_DADFAILED: another host has it, and the kernel does not answer for it; undefined counts as false */
  readonly duplicate?: boolean;
  /** IFA_F_PERMANENT: set by hand, not by DHCP or a router's advertisement; undefined counts as true */
  readonly permanent?: boolean;
  /** IFA_F_TEMPORARY, the same bit as IFA_F_SECONDARY for IPv4; undefined counts as false */
  readonly temporary?: boolean;
}

export interface HostInterface {
  readonly index: number;
  readonly name: string;
  /** bytes */
  readonly mtu: number;
  /** in the kernel's order */
  readonly addresses: readonly HostAddress[];
}

/** The way that a packet to some address takes from here. */
export interface RouteTowards {
  /** of the interface */
  readonly index: number;
  /** the address is one of this host's own */
  readonly local: boolean;
  /** the source address that the kernel would choose */
  readonly source?: Address;
}

/** What the kernel says of the host's interfaces, read by `kernel/`. */
export interface HostInventory {
  readonly interfaces: readonly HostInterface[];
  /** index of the interface of the first default route */
  readonly defaultRoutes: PerFamily<number>;
  /** towards --iface-can-reach, if that is given; an error where there is no way */
  readonly towards?: RouteTowards | Error;
}

/** The interface that carries the encapsulated packets. */
export interface ExternalInterface {
  readonly index: number;
  readonly name: string;
  readonly mtu: number;
  /** the source of encapsulated packets */
  readonly addresses: PerFamily<Address>;
  /** what is published to the others: --public-ip, else the interface's address */
  readonly publicIPs: PerFamily<Address>;
}
