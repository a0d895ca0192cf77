import { readFileSync } from "node:fs";
import * as v from "valibot";
import { describeError, hasCode } from "../base/errors.ts";
import { parseSubnetEnv, type SubnetEnv } from "../config/subnet-env.ts";
import { Ethtool } from "../ffi/ethtool.ts";
import { NetlinkSocket } from "../ffi/libnl/socket.ts";
import type { Actual, Mirror } from "../kernel/mirror.ts";
import { isOwnDevice } from "../kernel/owned.ts";
import { readKernel, readNeighbours } from "../kernel/read.ts";
import { type FoundRoute, lookUpRoute } from "../kernel/route-lookup.ts";
import type { Link, Neighbour } from "../kernel/state.ts";
import type { Address } from "../net/address.ts";
import type { PerFamily } from "../net/family.ts";
import { makePrefix, type Prefix } from "../net/prefix.ts";
import type { RulesInKernel } from "../rules/leftovers.ts";
import { PacketFilter } from "../rules/packet-filter.ts";
import type { OptionSpecs } from "./options.ts";

/** What this node says by itself, without its agent: the kernel, by this process, and subnet.env. */

export const SUBNET_FILE = "/run/flannel/subnet.env";

export const NODE_OPTIONS = {
  "subnet-file": {
    value: "PATH",
    usage: `the agent's subnet.env; ${SUBNET_FILE} if not given`,
    schema: v.optional(v.string(), SUBNET_FILE),
  },
} as const satisfies OptionSpecs;

/** bytes: a dump of 5,000 neighbours comes in parts of 32 KiB as they are read */
const RECEIVE_BUFFER = 1024 * 1024;

const EVERYTHING: PerFamily<Prefix> = { 4: makePrefix("0.0.0.0" as Address, 0), 6: makePrefix("::" as Address, 0) };

/** The kernel of the network namespace that the command runs in. Reading needs no root. */
export class LocalNode implements Disposable {
  readonly #socket = new NetlinkSocket({ receiveBuffer: RECEIVE_BUFFER });
  readonly #ethtool = new Ethtool();

  /** Everything at this moment. @param networks whose routes are read; else all of the main table's @throws KernelError */
  read(networks: PerFamily<Prefix> = EVERYTHING): Mirror {
    return readKernel(this.#socket, networks, this.#ethtool);
  }

  /** @throws KernelError, such as ENETUNREACH */
  lookUp(target: Address, options?: { readonly entry?: boolean }): FoundRoute {
    return lookUpRoute(this.#socket, target, options);
  }

  /** Of any link. @throws KernelError */
  neighbours(index: number): Neighbour[] {
    return readNeighbours(this.#socket, index);
  }

  [Symbol.dispose](): void {
    this.#ethtool[Symbol.dispose]();
    this.#socket[Symbol.dispose]();
  }
}

export interface SubnetEnvFile {
  readonly path: string;
  readonly content?: SubnetEnv;
  /** why there is none */
  readonly problem?: string;
}

export function readSubnetEnv(path: string): SubnetEnvFile {
  try {
    return { path, content: parseSubnetEnv(readFileSync(path, "utf8")) };
  } catch (error) {
    return { path, problem: hasCode(error, "ENOENT") ? "it is missing" : describeError(error) };
  }
}

/** Where rules of ours are, or why that can't be told: only root may ask. */
export function rulesPresent(): RulesInKernel | Error {
  const filter = new PacketFilter("iptables");
  try {
    return filter.present();
  } catch (cause) {
    return new Error("the packet filter can't be read", { cause });
  } finally {
    filter[Symbol.dispose]();
  }
}

export function ownDevices({ links }: Pick<Actual, "links">): Link[] {
  return [...links.values()].filter(isOwnDevice);
}
