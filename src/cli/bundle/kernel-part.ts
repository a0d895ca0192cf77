import type { Mirror } from "../../kernel/mirror.ts";
import { formatPrefix } from "../../net/prefix.ts";
import { kernelPeers } from "../kernel-peers.ts";
import { LocalNode } from "../local-node.ts";
import type { Collection } from "./collection.ts";

/** The kernel of this network namespace, by our own netlink code: with or without the agent. */
export async function takeKernel(into: Collection): Promise<void> {
  let actual: Mirror | undefined;
  const read = () => {
    using node = new LocalNode();
    actual ??= node.read();
    return actual;
  };
  await into.take("kernel/links.json", "network interfaces", () => [...read().links.values()]);
  await into.take("kernel/addresses.json", "addresses of interfaces", () => [...read().addresses.values()].flat());
  await into.take("kernel/routes.json", "routes of the main table", () =>
    [...read().routes.values()].flat().map((route) => ({ ...route, destination: formatPrefix(route.destination) })),
  );
  await into.take("kernel/neighbours.json", "neighbours on the VXLAN devices", () => entries(read().neighbours));
  await into.take("kernel/forwarding.json", "forwarding entries (FDB) of the VXLAN devices", () =>
    entries(read().forwarding),
  );
  await into.take("kernel/peers.json", "peers as the kernel has them, incomplete ones first", () =>
    kernelPeers(read()),
  );
}

function entries<T>(byDevice: ReadonlyMap<number, ReadonlyMap<string, T>>): T[] {
  return [...byDevice.values()].flatMap((byKey) => [...byKey.values()]);
}
