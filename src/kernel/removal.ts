import { isOwnProtocol } from "../desired/route-protocol.ts";
import { RTN_BLACKHOLE, RTPROT_BOOT, RTPROT_KERNEL } from "../ffi/constants.ts";
import { Ethtool } from "../ffi/ethtool.ts";
import { NetlinkSocket } from "../ffi/libnl/socket.ts";
import type { Address } from "../net/address.ts";
import type { PerFamily } from "../net/family.ts";
import { formatPrefix, makePrefix, type Prefix, samePrefix } from "../net/prefix.ts";
import { Applier } from "./apply.ts";
import type { Actual } from "./mirror.ts";
import type { Operation } from "./operations.ts";
import { isOwnDevice } from "./owned.ts";
import { readKernel } from "./read.ts";
import { DEFAULT_METRIC, type Link, type Route } from "./state.ts";

/** Something in the kernel that tartan or flanneld made. */
export interface OwnObject {
  readonly kind: "device" | "route";
  /** in words, with what goes along with it */
  readonly name: string;
  /** what takes it out */
  readonly operation: Operation;
}

const WHY = "it was made by tartan or flanneld";

/** Of any pod network: which one it was is not known any more. */
export const EVERYWHERE: PerFamily<Prefix> = {
  4: makePrefix("0.0.0.0" as Address, 0),
  6: makePrefix("::" as Address, 0),
};

/**
 * What of the kernel's state is tartan's or flanneld's: their devices, which take their routes and entries along, and
 * routes of ours that lead nowhere or elsewhere. Pure.
 * @param subnets this node's, whose blackhole routes may be flanneld's
 */
function ownObjects(actual: Actual, subnets: PerFamily<Prefix>): OwnObject[] {
  const devices = [...actual.links.values()].filter(isOwnDevice);
  const own = new Set(devices.map(({ index }) => index));
  const routes = [...actual.routes.values()].flat();
  return [
    ...routes.filter((route) => !own.has(route.index) && isOwnRoute(route, subnets)).map(routeObject),
    ...devices.map((link) => deviceObject(link, actual, routes)),
  ];
}

function isOwnRoute({ type, protocol, priority, destination, family }: Route, subnets: PerFamily<Prefix>): boolean {
  if (isOwnProtocol(protocol)) return true;
  const subnet = subnets[family];
  const isForSubnet = subnet !== undefined && samePrefix(subnet, destination);
  return type === RTN_BLACKHOLE && protocol === RTPROT_BOOT && priority === DEFAULT_METRIC[family] && isForSubnet;
}

function routeObject({ type, destination, gateway, index, onlink, protocol, priority: metric }: Route): OwnObject {
  const text = formatPrefix(destination);
  return type === RTN_BLACKHOLE
    ? {
        kind: "route",
        name: `blackhole ${text}`,
        operation: { kind: "blackhole-delete", destination, metric, protocol, why: WHY },
      }
    : {
        kind: "route",
        name: `${text}${gateway === undefined ? "" : ` via ${gateway}`}`,
        operation: { kind: "route-delete", destination, gateway, index, onlink, protocol, why: WHY },
      };
}

function deviceObject({ index, name }: Link, actual: Actual, routes: readonly Route[]): OwnObject {
  // Not the kernel's own, which every device has.
  const made = routes.filter((route) => route.index === index && route.protocol !== RTPROT_KERNEL);
  const neighbours = [...(actual.neighbours.get(index)?.values() ?? [])].filter(({ permanent }) => permanent);
  const entries = [
    `${made.length} routes`,
    `${neighbours.length} neighbours`,
    `${actual.forwarding.get(index)?.size ?? 0} forwarding entries`,
  ];
  const operation: Operation = { kind: "link-delete", index, name, why: WHY };
  return { kind: "device", name: `${name} (with ${entries.join(", ")})`, operation };
}

/** Finds and removes what tartan or flanneld made in the network namespace that the thread is in. */
export class KernelRemoval implements Disposable {
  readonly #socket = new NetlinkSocket({ receiveBuffer: 8 * 1024 * 1024 });
  readonly #ethtool = new Ethtool();
  readonly #applier = new Applier(this.#socket, this.#ethtool);

  /** @throws KernelError */
  find(subnets: PerFamily<Prefix>): OwnObject[] {
    return ownObjects(readKernel(this.#socket, EVERYWHERE), subnets);
  }

  /** @throws Error that says why the kernel refused */
  async remove({ operation }: OwnObject): Promise<void> {
    const { failed } = await this.#applier.apply([operation]);
    const [failure] = failed;
    if (failure !== undefined) throw failure.error;
  }

  [Symbol.dispose](): void {
    this.#applier[Symbol.dispose]();
    this.#ethtool[Symbol.dispose]();
    this.#socket[Symbol.dispose]();
  }
}
