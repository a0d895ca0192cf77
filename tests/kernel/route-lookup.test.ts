import { expect, test } from "bun:test";
import { inNetworkNamespace } from "../../src/ffi/libc.ts";
import { NetlinkSocket } from "../../src/ffi/libnl/socket.ts";
import { lookUpRoute, routeTowards } from "../../src/kernel/route-lookup.ts";
import { address } from "../net/values.ts";
import { Netns } from "../support/netns.ts";
import { describeInNamespaces } from "../support/requires.ts";

describeInNamespaces("the way to an address", () => {
  test("is the one that the kernel would take", async () => {
    using ns = new Netns();
    for (const command of [
      "link add eth0 index 10 type veth peer name p0",
      "link add eth1 index 11 type veth peer name p1",
      "link set eth0 up",
      "link set eth1 up",
      "link set p0 up",
      "link set p1 up",
      "address add 198.18.0.1/24 dev eth0",
      "address add 198.18.1.1/24 dev eth1",
      "address add 198.18.1.2/24 dev eth1",
      "address add 2001:db8:1::1/64 dev eth1 nodad",
      "route add default via 198.18.0.254",
      "route add 203.0.113.0/24 via 198.18.1.254 src 198.18.1.2",
      "route add unreachable 198.51.100.0/24",
      // Another table decides for this one.
      "route add default via 198.18.1.254 table 100",
      "rule add to 192.0.2.0/24 lookup 100",
    ]) {
      await ns.exec(["ip", ...command.split(" ")]);
    }
    const [way, failure] = inNetworkNamespace(ns.path, () => {
      using socket = new NetlinkSocket({ receiveBuffer: 64 * 1024 });
      const towards = (text: string) => routeTowards(socket, address(text));
      const failing = (text: string) => {
        try {
          return towards(text);
        } catch (error) {
          return String(error);
        }
      };
      const targets = ["8.8.8.8", "203.0.113.7", "192.0.2.7", "2001:db8:1::7", "198.18.1.1"];
      return [targets.map(towards), ["198.51.100.1", "2001:db8:2::1"].map(failing)];
    });
    expect(way).toEqual([
      { index: 10, local: false, source: address("198.18.0.1") },
      { index: 11, local: false, source: address("198.18.1.2") },
      { index: 11, local: false, source: address("198.18.1.1") },
      { index: 11, local: false, source: address("2001:db8:1::1") },
      { index: 1, local: true, source: address("198.18.1.1") },
    ]);
    expect(failure).toEqual([
      expect.stringContaining("look up the route to 198.51.100.1: EHOSTUNREACH"),
      expect.stringContaining("look up the route to 2001:db8:2::1: ENETUNREACH"),
    ]);
  });

  test("is told with the entry of the table, too", async () => {
    using ns = new Netns();
    for (const command of [
      "link add eth0 index 10 type veth peer name p0",
      "link set eth0 up",
      "link set p0 up",
      "address add 198.18.0.1/24 dev eth0",
      "address add 2001:db8:1::1/64 dev eth0 nodad",
      "route add 10.244.2.0/24 via 10.244.2.0 dev eth0 onlink proto 115 mtu 1400",
      "route add 2001:db8:2::/64 via 2001:db8:1::9 proto 116",
    ]) {
      await ns.exec(["ip", ...command.split(" ")]);
    }
    const found = inNetworkNamespace(ns.path, () => {
      using socket = new NetlinkSocket({ receiveBuffer: 64 * 1024 });
      const both = (text: string) => [false, true].map((entry) => lookUpRoute(socket, address(text), { entry }));
      return ["10.244.2.7", "2001:db8:2::7"].flatMap(both);
    });
    const four = { type: 1, index: 10, gateway: "10.244.2.0", table: 254, mtu: 1400 };
    const six = { type: 1, index: 10, gateway: "2001:db8:1::9", table: 254, protocol: 116, mtu: undefined };
    expect(found as unknown[]).toMatchObject([
      { ...four, source: "198.18.0.1", destination: { address: "10.244.2.7", length: 32 } },
      { ...four, protocol: 115, onlink: true, destination: { address: "10.244.2.0", length: 24 } },
      { ...six, source: "2001:db8:1::1", destination: { length: 128 } },
      { ...six, destination: { address: "2001:db8:2::", length: 64 } },
    ]);
  });
});
