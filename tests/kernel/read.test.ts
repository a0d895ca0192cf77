import { expect, test } from "bun:test";
import * as v from "valibot";
import { NetlinkSocket } from "../../src/ffi/libnl/socket.ts";
import type { Mirror } from "../../src/kernel/mirror.ts";
import { inventoryOf, readKernel } from "../../src/kernel/read.ts";
import { NETWORKS } from "../desired/examples.ts";
import { address, mac } from "../net/values.ts";
import { Netns } from "../support/netns.ts";
import { describeInNamespaces } from "../support/requires.ts";
import { eventually } from "../support/wait.ts";
import { inside } from "./real-kernel.ts";

const SETUP = [
  "link add eth0 address 02:00:00:00:00:10 type veth peer name eth0p",
  "link set eth0 up mtu 1400",
  "link set eth0p up",
  "link add cni0 type bridge",
  "link add flannel.1 address 02:00:00:00:00:11 type vxlan id 1 dstport 8472 local 198.18.0.1 dev eth0 nolearning gbp",
  "link set flannel.1 up alias tartan",
  "link add flannel-v6.1 type vxlan id 1 dstport 4789 local fd00:18::1 learning l2miss",
  "link set flannel-v6.1 up",
  "link add vx7 type vxlan id 7 dstport 4790 group 239.1.1.1 dev eth0",
  "link set vx7 up",
  "tuntap add dev tun0 mode tun",
  "address add 198.18.0.1/15 dev eth0",
  "address add 198.18.0.3/15 dev eth0",
  "address add 192.0.2.1 peer 192.0.2.2/32 dev eth0",
  "address add fd00:18::1/64 dev eth0 nodad preferred_lft 0",
  "address add 10.244.1.0/32 dev flannel.1",
  "address add fd00:10:244:1::/128 dev flannel-v6.1 nodad",
  "route add default via 198.18.0.100",
  "route add default via 198.18.0.101 metric 50",
  "route add default via fd00:18::100 dev eth0",
  "route add 10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink proto 112",
  "route append 10.244.2.0/24 via 198.18.0.77",
  "route append 10.244.2.0/24 via 198.18.0.78",
  "route prepend 10.244.2.0/24 dev eth0",
  "route add 10.244.2.0/24 dev eth0 metric 7",
  "route add 10.244.2.0/24 dev eth0 tos 8",
  "route add 10.244.3.0/24 via 10.244.3.0 dev flannel.1 onlink",
  "route add blackhole 10.244.4.0/24",
  "route add 10.244.5.0/24 nexthop via 198.18.0.5 nexthop via 198.18.0.6",
  "route add 172.16.0.0/24 dev eth0 proto 120",
  "route add 172.16.1.0/24 dev eth0",
  "route add 172.16.2.0/24 dev flannel.1",
  "route add 10.244.9.0/24 dev eth0 table 100",
  "route add fd00:10:244:2::/64 via fd00:10:244:2:: dev flannel-v6.1 onlink proto 113",
  "neighbour add 10.244.2.0 lladdr 02:00:00:00:00:12 dev flannel.1 nud permanent",
  "neighbour add 10.244.3.0 lladdr 02:00:00:00:00:13 dev flannel.1 nud stale",
  "neighbour add 10.244.4.0 dev flannel.1 nud failed",
  "neighbour add fd00:10:244:2:: lladdr 02:00:00:00:00:12 dev flannel-v6.1 nud permanent",
  "neighbour add 198.18.0.9 lladdr 02:00:00:00:00:19 dev eth0 nud permanent",
  "nexthop add id 5 via 198.18.0.9 fdb",
  "nexthop add id 6 group 5 fdb",
];
const FORWARDING = [
  "fdb add 02:00:00:00:00:12 dev flannel.1 dst 198.18.0.2",
  "fdb add 02:00:00:00:00:13 dev flannel.1 dst 198.18.0.3 port 99 vni 7",
  "fdb add 02:00:00:00:00:14 dev flannel.1 nhid 6",
  "fdb add 02:00:00:00:00:15 dev flannel.1 dst 198.18.0.5 dynamic",
  "fdb append 00:00:00:00:00:00 dev flannel.1 dst 198.18.0.6",
  "fdb append 00:00:00:00:00:00 dev flannel.1 dst 198.18.0.7",
  "fdb add 02:00:00:00:00:12 dev flannel-v6.1 dst fd00:18::2",
  "fdb add 02:00:00:00:00:12 dev vx7 dst 198.18.0.2",
];

function read(ns: Netns): Promise<Mirror> {
  return inside(ns, async () => {
    using socket = new NetlinkSocket({ receiveBuffer: 1024 * 1024 });
    return readKernel(socket, NETWORKS);
  });
}

const Link = v.object({
  ifindex: v.number(),
  ifname: v.string(),
  flags: v.array(v.string()),
  mtu: v.number(),
  address: v.optional(v.string()),
  ifalias: v.optional(v.string(), ""),
  linkinfo: v.optional(v.object({ info_kind: v.optional(v.string()) })),
});
const Addresses = v.object({
  ifindex: v.number(),
  addr_info: v.array(
    v.object({
      local: v.string(),
      prefixlen: v.number(),
      address: v.optional(v.string()),
      deprecated: v.optional(v.boolean(), false),
      secondary: v.optional(v.boolean(), false),
    }),
  ),
});
const Route = v.object({
  type: v.optional(v.string(), "unicast"),
  dst: v.string(),
  gateway: v.optional(v.string()),
  dev: v.optional(v.string()),
  protocol: v.optional(v.string(), "boot"),
  metric: v.optional(v.number(), 0),
  tos: v.optional(v.string(), "0"),
  flags: v.array(v.string()),
});
const Neighbour = v.object({ dst: v.string(), lladdr: v.optional(v.string()), state: v.array(v.string()) });
const Forwarding = v.object({
  mac: v.string(),
  dst: v.optional(v.string()),
  port: v.optional(v.number()),
  nhid: v.optional(v.number()),
  state: v.optional(v.string()),
});

const PROTOCOLS: Readonly<Record<number, string>> = { 2: "kernel", 3: "boot" };
const TYPES: Readonly<Record<number, string>> = { 1: "unicast", 6: "blackhole" };

/** As ip prints a destination, in full. */
function whole(destination: string, family: 4 | 6): string {
  if (destination === "default") return family === 4 ? "0.0.0.0/0" : "::/0";
  return destination.includes("/") ? destination : `${destination}/${family === 4 ? 32 : 128}`;
}

describeInNamespaces("a full read", () => {
  test("says what ip and bridge say", async () => {
    using ns = new Netns();
    await ns.exec(["ip", "-batch", "-"], SETUP.join("\n"));
    await ns.exec(["bridge", "-batch", "-"], FORWARDING.join("\n"));
    // The kernel gives the ends of the pair these once it has noticed that they are joined, which it does by and by.
    const isJoined = async () => {
      const shown = await ns.exec(["ip", "-6", "-o", "address", "show", "scope", "link"]);
      return ["eth0", "eth0p"].every((name) => shown.includes(` ${name} `));
    };
    await eventually(isJoined, { within: 20_000, what: "both ends of the pair have a link-local address" });
    const json = async <T>(schema: v.GenericSchema<unknown, T>, command: string): Promise<T[]> => {
      const found: unknown = JSON.parse(await ns.exec(command.split(" ")));
      return v.parse(v.array(schema), found);
    };
    const mirror = await read(ns);
    const names = new Map([...mirror.links.values()].map(({ index, name }) => [index, name]));

    const links = await json(Link, "ip -j -d link show");
    expect([...mirror.links.values()].map(({ vxlan: _, ...link }) => link)).toEqual(
      links.map(({ ifindex, ifname, flags, mtu, address: lladdr, ifalias, linkinfo }) => ({
        index: ifindex,
        name: ifname,
        kind: linkinfo?.info_kind ?? "",
        alias: ifalias,
        mac: lladdr === undefined ? undefined : mac(lladdr),
        mtu,
        up: flags.includes("UP"),
      })),
    );
    const vxlan = (name: string) => [...mirror.links.values()].find((link) => link.name === name)?.vxlan;
    const eth0 = links.find(({ ifname }) => ifname === "eth0")?.ifindex ?? 0;
    const plain = { vni: 1, port: 8472, underlay: 0, group: undefined, learning: false, gbp: false, l2miss: false };
    const local = address("198.18.0.1");
    expect(vxlan("flannel.1")).toEqual({ ...plain, local, underlay: eth0, gbp: true });
    expect(vxlan("flannel-v6.1")).toEqual({
      ...plain,
      port: 4789,
      local: address("fd00:18::1"),
      learning: true,
      l2miss: true,
    });
    const group = address("239.1.1.1");
    expect(vxlan("vx7")).toEqual({
      ...plain,
      vni: 7,
      port: 4790,
      local: undefined,
      underlay: eth0,
      group,
      learning: true,
    });

    for (const { ifindex, addr_info } of await json(Addresses, "ip -j address show")) {
      const found = mirror.addresses.get(ifindex) ?? [];
      expect(
        found.map((one) => [one.address as string, one.length, one.deprecated, one.family === 4 && one.temporary]),
      ).toEqual(addr_info.map((one) => [one.local, one.prefixlen, one.deprecated, one.secondary]));
    }

    for (const family of [4, 6] as const) {
      const routes = await json(Route, `ip -j -${family} route show table main`);
      const lines = routes.map(({ type, dst, gateway, dev, protocol, metric, tos, flags }) =>
        [type, whole(dst, family), gateway, dev, protocol, flags.includes("onlink"), metric, Number(tos)].join(" "),
      );
      const found = [...mirror.routes.values()].flat().filter((route) => route.family === family);
      const own = found.map(({ type, destination, gateway, index, protocol, onlink, priority, tos }) =>
        [
          TYPES[type],
          `${destination.address}/${destination.length}`,
          gateway,
          names.get(index),
          PROTOCOLS[protocol] ?? protocol,
          onlink,
          priority,
          tos,
        ].join(" "),
      );
      // In the kernel's order, but for what is not followed.
      expect(own.filter((line) => !lines.includes(line))).toEqual([]);
      const followed = /(10\.244\.|0\.0\.0\.0\/0| 112 | 120 | flannel|^unicast ::\/0|fd00:10:244)/;
      expect(lines.filter((line) => followed.test(line)).sort()).toEqual(own.sort());
    }
    expect(
      mirror.routes
        .get("10.244.2.0/24")
        ?.map(({ gateway, index }) => [gateway as string | undefined, names.get(index)]),
    ).toEqual([
      [undefined, "eth0"],
      ["10.244.2.0", "flannel.1"],
      ["198.18.0.77", "eth0"],
      ["198.18.0.78", "eth0"],
    ]);
    expect([...mirror.routes.keys()].filter((key) => key.startsWith("172.16."))).toEqual([
      "172.16.0.0/24",
      "172.16.2.0/24",
    ]);

    for (const [index, neighbours] of mirror.neighbours) {
      const shown = [4, 6].map((family) =>
        json(Neighbour, `ip -j -${family} neighbour show dev ${names.get(index)} nud all`),
      );
      // The kernel adds and removes those of multicast groups by itself at any time.
      const isGroup = (address: string): boolean => address.startsWith("ff");
      expect(
        [...neighbours.values()]
          .filter((one) => !isGroup(one.address))
          .map((one) => [one.address as string, one.mac as string | undefined, one.permanent])
          .sort(),
      ).toEqual(
        (await Promise.all(shown))
          .flat()
          .filter(({ dst }) => !isGroup(dst))
          .map(
            ({ dst, lladdr, state }) =>
              [dst, lladdr, state.includes("PERMANENT")] as [string, string | undefined, boolean],
          )
          .sort(),
      );
      const entries = await json(Forwarding, `bridge -j fdb show dev ${names.get(index)}`);
      expect(
        [...(mirror.forwarding.get(index)?.values() ?? [])]
          .map((one) => [one.mac as string, one.destination as string | undefined, one.permanent, one.special])
          .sort(),
      ).toEqual(
        entries
          .map(
            ({ mac, dst, port, nhid, state }) =>
              [mac, dst, state === "permanent", (port ?? nhid) !== undefined] as [
                string,
                string | undefined,
                boolean,
                boolean,
              ],
          )
          .sort(),
      );
    }
    expect([...mirror.neighbours.keys()].map((index) => names.get(index))).toEqual(["flannel.1", "flannel-v6.1"]);
  });

  test("gives the choice of the external interface what it needs, without our own devices", async () => {
    using ns = new Netns();
    await ns.exec(["ip", "-batch", "-"], SETUP.join("\n"));
    await ns.exec(["ip", "-6", "route", "add", "unreachable", "default", "metric", "7"]);
    const { interfaces, defaultRoutes } = inventoryOf(await read(ns));
    const eth0 = interfaces.find(({ name }) => name === "eth0");
    expect(interfaces.map(({ name }) => name)).not.toContain("flannel.1");
    expect(eth0?.mtu).toBe(1400);
    expect(eth0?.addresses.map((one) => one.address as string).slice(0, 2)).toEqual(["198.18.0.1", "192.0.2.1"]);
    expect(defaultRoutes).toEqual({ 4: eth0?.index ?? 0, 6: eth0?.index ?? 0 });
  });

  test("of an empty namespace has its loopback", async () => {
    using ns = new Netns();
    const mirror = await read(ns);
    expect([...mirror.links.values()].map(({ name }) => name)).toContain("lo");
    expect(mirror.neighbours.size).toBe(0);
  });
});
