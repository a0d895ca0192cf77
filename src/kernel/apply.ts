import { writeFileSync } from "node:fs";
import { constants } from "node:os";
import { hasCode } from "../base/errors.ts";
import type { Ethtool } from "../ffi/ethtool.ts";
import { Batch, type Label } from "../ffi/libnl/batch.ts";
import { blackholeRoute, interfaceAddress, NeighbourBuilder, RouteBuilder } from "../ffi/libnl/builders.ts";
import { addVxlan, changeLink, deleteLink } from "../ffi/libnl/link.ts";
import type { Message } from "../ffi/libnl/message.ts";
import type { NetlinkSocket } from "../ffi/libnl/socket.ts";
import { type Address, familyOf } from "../net/address.ts";
import type { Family } from "../net/family.ts";
import { formatPrefix } from "../net/prefix.ts";
import type { Operation } from "./operations.ts";
import { OWN_ALIAS } from "./owned.ts";
import { DEFAULT_METRIC } from "./state.ts";

export interface FailedOperation {
  readonly operation: Operation;
  readonly error: Error;
}

/** What was really done. */
export interface ApplyResult {
  /** operations by kind that the kernel took */
  readonly done: ReadonlyMap<Operation["kind"], number>;
  readonly failed: readonly FailedOperation[];
}

interface Tag extends Label {
  readonly subject: Operation;
}

const { EEXIST, ENOENT, ESRCH, ENODEV, EADDRNOTAVAIL } = constants.errno;

/** Refusals that say that what was asked for is so already: somebody else was quicker. */
const ALREADY: Partial<Record<Operation["kind"], readonly number[]>> = {
  "link-delete": [ENODEV],
  "address-add": [EEXIST],
  "address-delete": [EADDRNOTAVAIL, ENODEV],
  "route-delete": [ESRCH, ENODEV],
  "blackhole-delete": [ESRCH],
  "neighbour-delete": [ENOENT, ENODEV],
  "forwarding-delete": [ENOENT, ENODEV],
};

const ANY_ADDRESS = "0.0.0.0" as Address;

/** The only one that changes the kernel. Owns what libnl allocates for it. */
export class Applier implements Disposable {
  readonly #batch: Batch<Tag>;
  readonly #ethtool: Ethtool;
  readonly #routes = new Map<Family, RouteBuilder>();
  readonly #neighbours = new Map<Family, NeighbourBuilder>();
  readonly #forwarding = new Map<Family, NeighbourBuilder>();

  constructor(socket: NetlinkSocket, ethtool: Ethtool) {
    this.#batch = new Batch(socket);
    this.#ethtool = ethtool;
  }

  /** Applies the operations in their order, many to a send. Between sends the event loop turns. */
  async apply(operations: readonly Operation[]): Promise<ApplyResult> {
    const failed: FailedOperation[] = [];
    for (const operation of operations) {
      let message: Message;
      try {
        if (operation.kind === "offload-change") {
          // No message of the batch: what comes before it is to be done before it.
          this.#flush(failed);
          this.#ethtool.setTxChecksum(operation.name, operation.txChecksum);
          continue;
        }
        message = this.#build(operation);
      } catch (error) {
        failed.push({ operation, error: error instanceof Error ? error : new Error(String(error)) });
        continue;
      }
      const tag = { ...labelOf(operation), subject: operation };
      if (this.#batch.add(message, tag)) continue;
      this.#flush(failed);
      await new Promise(setImmediate);
      this.#batch.add(message, tag);
    }
    this.#flush(failed);
    const refused = new Set(failed.map((failure) => failure.operation));
    const done = new Map<Operation["kind"], number>();
    for (const operation of operations) {
      if (refused.has(operation)) continue;
      done.set(operation.kind, (done.get(operation.kind) ?? 0) + 1);
      if (operation.kind === "link-add") disableRouterAdvertisements(operation.device.name);
      // Taking over a device that flanneld made comes with marking it.
      if (operation.kind === "link-change" && operation.changes.alias === OWN_ALIAS)
        disableRouterAdvertisements(operation.name);
    }
    return { done, failed };
  }

  #flush(failed: FailedOperation[]): void {
    for (const { tag, error } of this.#batch.flush()) {
      if (!ALREADY[tag.subject.kind]?.includes(error.errno)) failed.push({ operation: tag.subject, error });
    }
  }

  #build(operation: Exclude<Operation, { kind: "offload-change" }>): Message {
    switch (operation.kind) {
      case "link-add":
        return addVxlan({ ...operation.device, up: true, alias: OWN_ALIAS });
      case "link-change":
        return changeLink(operation.index, operation.changes);
      case "link-delete":
        return deleteLink(operation.index);
      case "address-add":
      case "address-delete": {
        const verb = operation.kind === "address-add" ? "add" : "delete";
        return interfaceAddress(
          verb,
          operation.index,
          operation.address,
          operation.length,
          familyOf(operation.address),
        );
      }
      case "route-replace":
      case "route-delete": {
        // Named, lest a deletion takes another's route of a lower metric; that of IPv4 is the lowest.
        const make = (family: Family) => new RouteBuilder(family, DEFAULT_METRIC[family]);
        const builder = builderFor(this.#routes, operation.destination.family, make);
        const parameters = { ...operation, device: operation.index };
        return operation.kind === "route-replace" ? builder.replace(parameters) : builder.delete(parameters);
      }
      case "blackhole-replace":
        return blackholeRoute("replace", operation);
      case "blackhole-delete":
        return blackholeRoute("delete", operation);
      case "neighbour-replace":
      case "neighbour-delete": {
        const { index: device, address, mac } = operation;
        const builder = builderFor(
          this.#neighbours,
          familyOf(address),
          (family) => new NeighbourBuilder(family, "neighbour"),
        );
        return operation.kind === "neighbour-replace"
          ? builder.replace({ device, address, mac })
          : builder.delete({ device, address, mac });
      }
      case "forwarding-replace":
      case "forwarding-delete": {
        const { index: device, mac } = operation;
        // With any address the whole entry goes, whatever port, VNI or next hop group it has (vxlan_fdb_delete).
        const address = operation.kind === "forwarding-replace" ? operation.destination : ANY_ADDRESS;
        const builder = builderFor(
          this.#forwarding,
          familyOf(address),
          (family) => new NeighbourBuilder(family, "forwarding"),
        );
        return operation.kind === "forwarding-replace"
          ? builder.replace({ device, address, mac })
          : builder.delete({ device, address, mac });
      }
    }
  }

  [Symbol.dispose](): void {
    this.#batch[Symbol.dispose]();
    for (const builders of [this.#routes, this.#neighbours, this.#forwarding]) {
      for (const builder of builders.values()) builder[Symbol.dispose]();
    }
  }
}

function builderFor<T>(known: Map<Family, T>, family: Family, make: (family: Family) => T): T {
  let builder = known.get(family);
  if (builder === undefined) {
    builder = make(family);
    known.set(family, builder);
  }
  return builder;
}

/** The operation and its object in words, for errors and logs: `replace route`, `10.244.1.0/24`. */
export function labelOf(operation: Operation): Label {
  const [what, verb] = operation.kind.split("-");
  return { operation: `${verb} ${what}`, object: objectOf(operation) };
}

function objectOf(operation: Operation): string {
  switch (operation.kind) {
    case "link-add":
      return operation.device.name;
    case "link-change":
    case "offload-change":
    case "link-delete":
      return operation.name;
    case "address-add":
    case "address-delete":
      return `${operation.address}/${operation.length} on ${operation.device}`;
    case "route-replace":
    case "route-delete":
    case "blackhole-replace":
    case "blackhole-delete":
      return formatPrefix(operation.destination);
    case "neighbour-replace":
    case "neighbour-delete":
      return `${operation.address} at ${operation.mac}`;
    case "forwarding-replace":
    case "forwarding-delete":
      return `${operation.mac} to ${operation.destination ?? "a next hop group"}`;
  }
}

/**
 * Keeps router advertisements of the pod network from changing the node, as flannel does. Where /proc/sys is read-only
 * (most containers) it stays as it is: the same is true of flannel.
 */
function disableRouterAdvertisements(device: string): void {
  try {
    writeFileSync(`/proc/sys/net/ipv6/conf/${device}/accept_ra`, "0");
  } catch (error) {
    const tolerated = ["ENOENT", "EROFS", "EACCES", "EPERM"];
    if (!hasCode(error, ...tolerated)) throw error;
  }
}
