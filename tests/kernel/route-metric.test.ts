import { expect, test } from "bun:test";
import { Ethtool } from "../../src/ffi/ethtool.ts";
import { inNetworkNamespace } from "../../src/ffi/libc.ts";
import { NetlinkSocket } from "../../src/ffi/libnl/socket.ts";
import { Applier } from "../../src/kernel/apply.ts";
import { parsePrefix } from "../../src/net/prefix.ts";
import { address } from "../net/values.ts";
import { Netns } from "../support/netns.ts";
import { describeInNamespaces } from "../support/requires.ts";

describeInNamespaces("a route that is deleted", () => {
  test.each([
    ["10.244.4.0/24", "10.244.4.0", 0],
    ["fd00:10:244:4::/64", "fd00:10:244:4::", 1024],
  ])("is the one of the usual metric, not one like it of a lower one: %s", async (subnet, gateway, metric) => {
    using ns = new Netns();
    const family = subnet.includes(":") ? "-6" : "-4";
    const ip = (command: string) => ns.exec(["ip", family, ...command.split(" ")]);
    await ip("link add eth0 index 10 type veth peer name p0");
    await ip("link set eth0 up");
    await ip("link set p0 up");
    const route = `${subnet} via ${gateway} dev eth0 onlink proto 125`;
    await ip(`route add ${route}`);
    await ip(`route add ${route} metric 50`);
    const destination = parsePrefix(subnet);
    if (destination === undefined) throw new Error(`${subnet} is no prefix`);
    const { socket, ethtool } = inNetworkNamespace(ns.path, () => ({
      socket: new NetlinkSocket({ receiveBuffer: 64 * 1024 }),
      ethtool: new Ethtool(),
    }));
    using applier = new Applier(socket, ethtool);
    const { failed } = await applier.apply([
      {
        kind: "route-delete",
        destination,
        gateway: address(gateway),
        index: 10,
        onlink: true,
        protocol: 125,
        why: "it is not wanted",
      },
    ]);
    expect(failed).toEqual([]);
    const left = await ip(`route show ${subnet}`);
    expect(left).toContain("metric 50");
    expect(left.split("\n").filter((line) => line.includes(subnet) && !line.includes("metric 50"))).toEqual([]);
    expect(left).not.toContain(`metric ${metric || "0"} `);
    ethtool[Symbol.dispose]();
    socket[Symbol.dispose]();
  });
});
