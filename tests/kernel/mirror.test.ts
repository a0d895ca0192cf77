import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { type Actual, forwardingKey, routeKey } from "../../src/kernel/mirror.ts";
import type { KernelEvent, Route } from "../../src/kernel/state.ts";
import { exampleMac, examplePublicIP, exampleSubnet, IPV6, NETWORKS } from "../desired/examples.ts";
import { address, mac, prefix } from "../net/values.ts";
import { describeRoute } from "./describe.ts";
import { DEVICE, own, peer, settledKernel } from "./drift-cases.ts";
import { linesOf } from "./expectations.ts";
import type { FakeKernel } from "./fake-kernel.ts";
import { anyStep, anyWorld, exampleRoute, Follower, freshKernel, UNDERLAY } from "./worlds.ts";

describe("a mirror fed by notifications", () => {
  test("is what a new full read gives, unless it says that it needs one", () => {
    fc.assert(
      fc.property(anyWorld(12), fc.array(anyStep, { minLength: 1, maxLength: 12 }), (world, steps) => {
        const kernel = world.make();
        const follower = new Follower(kernel);
        for (const step of steps) {
          step.run(kernel);
          if (follower.follow() === undefined) continue;
          expect(linesOf(follower.mirror)).toEqual(linesOf(kernel.dump(NETWORKS)));
        }
      }),
      { numRuns: 500 },
    );
  });

  test("ends up the same when notifications that the full read has already come after it", () => {
    fc.assert(
      fc.property(
        anyWorld(8),
        fc.array(
          anyStep.filter(({ kind }) => kind === "entry"),
          { maxLength: 6 },
        ),
        (world, steps) => {
          const kernel = world.make();
          for (const step of steps) step.run(kernel);
          const events = kernel.takeEvents();
          const mirror = kernel.dump(NETWORKS);
          for (const event of events) mirror.apply(event);
          const expected = kernel.dump(NETWORKS);
          const others = (of: Actual) => linesOf(of).filter((line) => !line.includes("route "));
          expect(others(mirror)).toEqual(others(expected));
          // The first of each key is the one that counts.
          const firsts = ({ routes }: Actual) => new Map([...routes].map(([key, [first]]) => [key, first]));
          if (!mirror.stale) expect(firsts(mirror)).toEqual(firsts(expected));
        },
      ),
      { numRuns: 300 },
    );
  });
});

describe("a mirror has to be read again", () => {
  const cases: readonly [string, (kernel: FakeKernel) => unknown, boolean][] = [
    ["after our device went down", (kernel) => kernel.changeLink(DEVICE, { up: false }), true],
    [
      "after the last IPv4 address of our device went",
      (kernel) => kernel.deleteAddress(DEVICE, peer(0).address, 32),
      true,
    ],
    [
      "after a device became ours by its name",
      (kernel) => kernel.changeLink(UNDERLAY + 2, { name: "flannel.9" }),
      true,
    ],
    ["after a device became ours by its mark", (kernel) => kernel.changeLink(UNDERLAY + 2, { alias: "tartan" }), true],
    [
      "after our device was renamed and its mark taken off",
      (kernel) => kernel.changeLink(DEVICE, { name: "vx", alias: "" }),
      true,
    ],
    ["after our device was deleted, which goes down first", (kernel) => kernel.deleteLink(DEVICE), true],
    ["not after our device got another MAC", (kernel) => kernel.changeLink(DEVICE, { mac: exampleMac(4, 9) }), false],
    ["not after another device went down", (kernel) => kernel.changeLink(UNDERLAY + 2, { up: false }), false],
    [
      "not after one of two addresses of our device went",
      (kernel) => {
        kernel.addAddress(DEVICE, address("192.0.2.1"), 24);
        kernel.deleteAddress(DEVICE, peer(0).address, 32);
      },
      false,
    ],
    [
      "not after an address came beside another one, whose order the kernel decides",
      (kernel) => kernel.addAddress(UNDERLAY, address("192.0.2.1"), 24),
      false,
    ],
    [
      "not after a second address of our device",
      (kernel) => kernel.addAddress(DEVICE, address("192.0.2.1"), 24),
      false,
    ],
    ["not after a new device came", (kernel) => kernel.addLink({ ...VXLAN, name: "flannel.9" }), false],
    ["not after an entry changed", (kernel) => kernel.deleteRoute(own(1)), false],
  ];
  const VXLAN = {
    name: "vx9",
    kind: "vxlan",
    alias: "",
    mac: exampleMac(4, 8),
    mtu: 1450,
    up: true,
    vxlan: {
      vni: 9,
      port: 8472,
      local: undefined,
      underlay: 0,
      group: undefined,
      learning: false,
      gbp: false,
      l2miss: false,
    },
  };

  test.each(cases)("%s", (_, change, stale) => {
    const kernel = settledKernel();
    kernel.addLink({ ...VXLAN, vxlan: { ...VXLAN.vxlan, vni: 8 } });
    kernel.takeEvents();
    const mirror = kernel.dump(NETWORKS);
    change(kernel);
    for (const event of kernel.takeEvents()) mirror.apply(event);
    expect(mirror.stale).toBe(stale);
  });

  test("once it was told so", () => {
    const mirror = freshKernel().dump(NETWORKS);
    expect(mirror.stale).toBe(false);
    mirror.markStale();
    expect(mirror.stale).toBe(true);
  });
});

describe("addresses and routes of other devices", () => {
  test("an address that changes keeps its place among the others, and one that stays is no change", () => {
    const kernel = freshKernel();
    kernel.addAddress(UNDERLAY, address("192.0.2.1"), 24);
    const mirror = kernel.dump(NETWORKS);
    const [first, ...others] = mirror.addresses.get(UNDERLAY) ?? [];
    if (first === undefined) throw new Error("the fake kernel has no address");
    const value = { ...first, deprecated: true };
    expect(mirror.apply({ kind: "address", deleted: false, value: first })).toEqual({ kind: "nothing" });
    expect(mirror.apply({ kind: "address", deleted: false, value })).toEqual({ kind: "interfaces" });
    expect(mirror.addresses.get(UNDERLAY)).toEqual([value, ...others]);
  });

  test("an IPv6 address that goes takes no route along", () => {
    const kernel = freshKernel();
    const follower = new Follower(kernel);
    kernel.deleteAddress(UNDERLAY, examplePublicIP(6, 0), 64);
    expect(follower.follow()).toEqual([{ kind: "interfaces" }]);
    expect([...follower.mirror.routes.keys()]).toEqual(["0.0.0.0/0", "::/0"]);
  });

  test("the last IPv4 address takes the IPv4 routes along, and no others", () => {
    const kernel = freshKernel();
    const follower = new Follower(kernel);
    kernel.deleteAddress(UNDERLAY, examplePublicIP(4, 0), 15);
    expect(follower.follow()).toEqual([{ kind: "interfaces" }]);
    expect([...follower.mirror.routes.keys()]).toEqual(["::/0"]);
  });
});

/** A device of IPv6 with one route; messages of the kernel about routes with the same key follow. */
describe("IPv6 routes with one key, which the kernel makes one route of several next hops", () => {
  const subnet = exampleSubnet(6, 1);
  const ours = (changes: Partial<Route> = {}): Route =>
    exampleRoute({
      destination: subnet,
      gateway: subnet.address,
      index: DEVICE,
      onlink: true,
      protocol: 0x70,
      ...changes,
    });
  const other = ours({ gateway: exampleSubnet(6, 2).address, protocol: 4 });
  const event = (value: Route, deleted: boolean, place: "last" | "replace"): KernelEvent => ({
    kind: "route",
    deleted,
    value,
    place,
  });

  test.each<[string, boolean, KernelEvent]>([
    ["an addition beside ours", true, event(other, false, "last")],
    ["a deletion of a part", true, event(other, true, "last")],
    ["a replacement", false, event(other, false, "replace")],
    ["ours again", false, event(ours(), false, "last")],
    ["ours deleted", false, event(ours(), true, "last")],
    ["one with another metric", false, event({ ...other, priority: 5 }, false, "last")],
    ["one outside of the network", false, event({ ...other, destination: prefix("2001:db8::/64") }, false, "last")],
  ])("%s needs a full read: %p", (_, stale, message) => {
    const mirror = settledKernel(IPV6).dump(NETWORKS);
    for (const list of mirror.routes.values()) {
      for (const route of [...list]) {
        if (route.destination.address === subnet.address) mirror.apply(event(route, true, "last"));
      }
    }
    mirror.apply(event(ours(), false, "last"));
    mirror.apply(message);
    expect(mirror.stale).toBe(stale);
  });
});

describe("the order of a link's addresses", () => {
  const added = (index: number) => {
    const kernel = settledKernel();
    const mirror = kernel.dump(NETWORKS);
    kernel.addAddress(index, address("192.0.2.1"), 24);
    for (const event of kernel.takeEvents()) mirror.apply(event);
    return { kernel, mirror };
  };

  test("is not known once one came beside another of its family, until that link's addresses are read", () => {
    const { kernel, mirror } = added(UNDERLAY);
    expect([...mirror.uncertain]).toEqual([UNDERLAY]);
    const inOrder = kernel.addresses(UNDERLAY).toReversed();
    mirror.setAddresses(UNDERLAY, inOrder);
    expect(mirror.addresses.get(UNDERLAY)).toEqual(inOrder);
    expect(mirror.uncertain.size).toBe(0);
  });

  test("is of no interest on our own devices, nor of a link that is gone", () => {
    expect(added(DEVICE).mirror.uncertain.size).toBe(0);
    const { kernel, mirror } = added(UNDERLAY);
    const before = kernel.addresses(UNDERLAY);
    kernel.deleteLink(UNDERLAY);
    for (const event of kernel.takeEvents()) mirror.apply(event);
    expect(mirror.uncertain.size).toBe(0);
    mirror.setAddresses(UNDERLAY, before);
    expect(mirror.addresses.has(UNDERLAY)).toBe(false);
  });
});

describe("the place of a new route among those with its key", () => {
  const [a, b, c] = [1, 2, 3].map((n) => own(1, { gateway: peer(n).address, protocol: 4 }));

  test.each<[KernelEvent["kind"] & "route", "first" | "last" | "replace", (Route | undefined)[]]>([
    ["route", "first", [c, a, b]],
    ["route", "last", [a, b, c]],
    ["route", "replace", [c, b]],
  ])("a new %s put %s", (kind, place, expected) => {
    const mirror = settledKernel().dump(NETWORKS);
    const key = routeKey(own(1));
    mirror.apply({ kind, deleted: true, place: "first", value: own(1) });
    for (const value of [b, a]) if (value) mirror.apply({ kind, deleted: false, place: "first", value });
    if (c) expect(mirror.apply({ kind, deleted: false, place, value: c })).toEqual({ kind: "route", key });
    expect(mirror.routes.get(key)?.map(describeRoute)).toEqual(
      expected.map((route) => (route ? describeRoute(route) : "")),
    );
  });

  test.each<[string, Partial<Route>]>([
    ["gateway", { gateway: peer(5).address }],
    ["device", { index: UNDERLAY }],
    ["protocol", { protocol: 4 }],
    ["type", { type: 6 }],
    ["onlink", { onlink: false }],
  ])("two that differ in their %s alone are two", (_, changes) => {
    const mirror = settledKernel().dump(NETWORKS);
    mirror.apply({ kind: "route", deleted: false, place: "last", value: own(1, changes) });
    expect(mirror.routes.get(routeKey(own(1)))).toEqual([own(1), own(1, changes)]);
    mirror.apply({ kind: "route", deleted: true, place: "last", value: own(1, changes) });
    expect(mirror.routes.get(routeKey(own(1)))).toEqual([own(1)]);
  });

  test("a foreign one that may have replaced one of ours outside of the network needs a full read", () => {
    const outside = { destination: prefix("172.16.0.0/24"), gateway: undefined, index: UNDERLAY };
    const mirror = settledKernel().dump(NETWORKS);
    const foreign: KernelEvent = {
      kind: "route",
      deleted: false,
      place: "replace",
      value: own(1, { ...outside, protocol: 4 }),
    };
    expect(mirror.apply(foreign)).toEqual({ kind: "nothing" });
    expect(mirror.stale).toBe(false);
    mirror.apply({ kind: "route", deleted: false, place: "first", value: own(1, outside) });
    expect(mirror.apply(foreign)).toEqual({ kind: "route", key: "172.16.0.0/24" });
    expect(mirror.stale).toBe(true);
  });

  test("routes that nobody asked for are not kept", () => {
    const mirror = freshKernel().dump(NETWORKS);
    const outside = exampleRoute({ destination: prefix("172.16.0.0/24"), index: UNDERLAY, protocol: 4 });
    expect(mirror.apply({ kind: "route", deleted: false, place: "first", value: outside })).toEqual({
      kind: "nothing",
    });
    expect(mirror.routes.has("172.16.0.0/24")).toBe(false);
    const defaultRoute = exampleRoute({ destination: prefix("0.0.0.0/0"), index: UNDERLAY, priority: 7 });
    expect(mirror.apply({ kind: "route", deleted: false, place: "first", value: defaultRoute })).toEqual({
      kind: "interfaces",
    });
  });
});

test("keys: a plain route by its destination, a unicast MAC by itself, others with what tells them apart", () => {
  expect(routeKey(own(1))).toBe("10.244.2.0/24");
  expect(routeKey(own(1, { priority: 7, tos: 8 }))).toBe("10.244.2.0/24 metric 7 tos 8");
  const six = exampleRoute({ destination: exampleSubnet(6, 1) });
  expect(routeKey(six)).toBe("fd00:10:244:2::/64");
  expect(routeKey({ ...six, priority: 0 })).toBe("fd00:10:244:2::/64 metric 0 tos 0");
  expect(forwardingKey({ mac: exampleMac(4, 1), destination: examplePublicIP(4, 1) })).toBe("02:04:00:00:00:01");
  const zero = mac("00:00:00:00:00:00");
  expect(forwardingKey({ mac: zero, destination: examplePublicIP(4, 1) })).toBe("00:00:00:00:00:00 198.18.0.2");
});
