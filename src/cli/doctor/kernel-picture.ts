import type { HostInventory } from "../../config/interface.ts";
import { Ethtool } from "../../ffi/ethtool.ts";
import { NetlinkSocket } from "../../ffi/libnl/socket.ts";
import type { Actual } from "../../kernel/mirror.ts";
import { inventoryOf, readKernel } from "../../kernel/read.ts";
import { EVERYWHERE } from "../../kernel/removal.ts";
import { routeTowards } from "../../kernel/route-lookup.ts";
import type { Link } from "../../kernel/state.ts";
import type { Address } from "../../net/address.ts";
import { type KernelPeer, kernelPeers } from "../kernel-peers.ts";
import { ownDevices } from "../local-node.ts";

export { type KernelPeer, nameOf, type Part } from "../kernel-peers.ts";

/** The interfaces, addresses and routes of this network namespace at one moment. */
export interface KernelPicture {
  readonly actual: Actual;
  readonly inventory: HostInventory;
  /** VXLAN devices that tartan or flanneld made */
  readonly ownDevices: readonly Link[];
  /** the other nodes by what is on those */
  readonly peers: readonly KernelPeer[];
  /** the driver of an interface; undefined where it has none */
  driverOf(name: string): string | undefined;
}

/** @param canReach an address to which the way is looked up @throws Error if libnl is missing, KernelError */
export function readPicture(canReach: Address | undefined): KernelPicture {
  using socket = new NetlinkSocket({ receiveBuffer: 8 * 1024 * 1024 });
  using ethtool = new Ethtool();
  const actual = readKernel(socket, EVERYWHERE, ethtool);
  const drivers = new Map([...actual.links.values()].map(({ name }) => [name, ethtool.driver(name)]));
  const towards = canReach && attempt(() => routeTowards(socket, canReach));
  const inventory = { ...inventoryOf(actual), ...(towards === undefined ? {} : { towards }) };
  return {
    ...{ actual, inventory, ownDevices: ownDevices(actual), peers: kernelPeers(actual) },
    driverOf: (name) => drivers.get(name),
  };
}

function attempt<T>(action: () => T): T | Error {
  try {
    return action();
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}
