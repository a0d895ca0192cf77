import type { DesiredDevice } from "../desired/desired.ts";
import type { LinkChanges } from "../ffi/libnl/link.ts";
import type { Address } from "../net/address.ts";
import type { Mac } from "../net/mac.ts";
import { formatPrefix, type Prefix } from "../net/prefix.ts";
import { type Change, forwardingKey, routeKey } from "./mirror.ts";

/** One change of the kernel. Each says why it is needed, for logs and the state. */
export type Operation =
  | LinkOperation
  | AddressOperation
  | RouteOperation
  | BlackholeOperation
  | NeighbourOperation
  | ForwardingOperation;

export type LinkOperation =
  | { readonly kind: "link-add"; readonly device: DesiredDevice; readonly why: string }
  | {
      readonly kind: "link-change";
      readonly index: number;
      readonly name: string;
      readonly changes: LinkChanges;
      readonly why: string;
    }
  | {
      readonly kind: "offload-change";
      readonly index: number;
      readonly name: string;
      readonly txChecksum: boolean;
      readonly why: string;
    }
  | { readonly kind: "link-delete"; readonly index: number; readonly name: string; readonly why: string };

export interface AddressOperation {
  readonly kind: "address-add" | "address-delete";
  readonly index: number;
  readonly device: string;
  readonly address: Address;
  readonly length: number;
  readonly why: string;
}

export interface RouteOperation {
  readonly kind: "route-replace" | "route-delete";
  readonly destination: Prefix;
  readonly gateway: Address | undefined;
  readonly index: number;
  readonly onlink: boolean;
  readonly protocol: number;
  readonly why: string;
}

/** A route whose packets are dropped; its metric is a part of its key. */
export interface BlackholeOperation {
  readonly kind: "blackhole-replace" | "blackhole-delete";
  readonly destination: Prefix;
  readonly metric: number;
  readonly protocol: number;
  readonly why: string;
}

export interface NeighbourOperation {
  readonly kind: "neighbour-replace" | "neighbour-delete";
  readonly index: number;
  readonly address: Address;
  readonly mac: Mac;
  readonly why: string;
}

interface ForwardingPlace {
  readonly index: number;
  readonly mac: Mac;
  readonly why: string;
}

export type ForwardingOperation =
  | (ForwardingPlace & { readonly kind: "forwarding-replace"; readonly destination: Address })
  /** a destination is only for messages: all that the device has for this MAC goes */
  | (ForwardingPlace & { readonly kind: "forwarding-delete"; readonly destination: Address | undefined });

/** The places in the kernel's state that an operation touches. */
export function placeOf(operation: Operation): Change {
  switch (operation.kind) {
    case "route-replace":
    case "route-delete":
      return { kind: "route", key: formatPrefix(operation.destination) };
    case "blackhole-replace":
    case "blackhole-delete": {
      const { destination, metric: priority } = operation;
      return { kind: "route", key: routeKey({ destination, priority, tos: 0 }) };
    }
    case "neighbour-replace":
    case "neighbour-delete":
      return { kind: "neighbour", index: operation.index, address: operation.address };
    case "forwarding-replace":
    case "forwarding-delete":
      return { kind: "forwarding", index: operation.index, key: forwardingKey(operation) };
    default:
      return { kind: "interfaces" };
  }
}
