import { expect } from "bun:test";
import { routeProtocol } from "../../src/desired/route-protocol.ts";
import { RTPROT_BOOT } from "../../src/ffi/constants.ts";
import type { Route } from "../../src/kernel/state.ts";
import { exampleMac, examplePublicIP, exampleSubnet, IPV4 } from "../desired/examples.ts";
import { address, mac, prefix } from "../net/values.ts";
import type { FakeKernel } from "./fake-kernel.ts";
import { converge, desiredFor, exampleRoute, freshKernel, UNDERLAY } from "./worlds.ts";

/** A kernel with the desired state of two peers in it. */
export function settledKernel(families = IPV4): FakeKernel {
  const kernel = freshKernel();
  converge(kernel, desiredFor(families, [1, 2]));
  return kernel;
}

/** ifindex of `flannel.1` there */
export const DEVICE = 2;
/** The `n`th peer's subnet, and the route to it. */
export const peer = (n: number) => exampleSubnet(4, n);
export const own = (n: number, changes: Partial<Route> = {}): Route =>
  exampleRoute({
    destination: peer(n),
    gateway: peer(n).address,
    index: DEVICE,
    onlink: true,
    protocol: routeProtocol(peer(n)),
    ...changes,
  });
const PERMANENT = { index: DEVICE, permanent: true };

/** A link without anything special; its name is to be set. */
export const PLAIN_LINK = {
  name: "",
  kind: "bridge",
  alias: "",
  mac: exampleMac(4, 9),
  mtu: 1500,
  up: true,
  vxlan: undefined,
};

export interface DriftCase {
  readonly what: string;
  /** @returns what the kernel says against it, which must be nothing */
  change(kernel: FakeKernel): unknown;
  /** operations in words */
  readonly mends: readonly string[];
}

/** What somebody may do to a settled kernel, and what puts it right. */
export const driftCases: readonly DriftCase[] = [
  { what: "nothing", change: () => {}, mends: [] },
  {
    what: "a route deleted",
    change: (kernel) => kernel.deleteRoute(own(1)),
    mends: ["replace route 10.244.2.0/24: it is missing"],
  },
  {
    what: "a foreign route before ours",
    change: (kernel) => kernel.addRoute(exampleRoute({ destination: peer(1), index: UNDERLAY, protocol: 4 }), "first"),
    mends: [
      "delete route 10.244.2.0/24: another route stands there (protocol 4, ifindex 1)",
      "replace route 10.244.2.0/24: another route stands there (protocol 4, ifindex 1)",
    ],
  },
  {
    what: "a foreign route behind ours",
    change: (kernel) => kernel.addRoute(exampleRoute({ destination: peer(1), index: UNDERLAY, protocol: 4 }), "last"),
    mends: [],
  },
  {
    what: "a foreign route with another metric",
    change: (kernel) => kernel.addRoute(own(1, { priority: 50 }), "first"),
    mends: [],
  },
  ...(
    [
      ["another gateway", { gateway: peer(2).address }],
      ["no gateway", { onlink: false, gateway: undefined }],
      ["another protocol", { protocol: RTPROT_BOOT }],
      ["another device", { index: UNDERLAY }],
      ["another type", { type: 6 }],
    ] satisfies [string, Partial<Route>][]
  ).map(
    ([what, changes]): DriftCase => ({
      what: `a route replaced by one with ${what}`,
      change: (kernel) => kernel.addRoute(own(1, changes), "replace"),
      mends: [expect.stringMatching(/^replace route 10.244.2.0\/24: another route stands there/)],
    }),
  ),
  {
    what: "a route of ours behind the right one",
    change: (kernel) => kernel.addRoute(own(1, { index: UNDERLAY, gateway: undefined }), "last"),
    mends: ["delete route 10.244.2.0/24: no lease has it"],
  },
  {
    what: "a route of ours that no lease has, even outside of the network and on another device",
    change: (kernel) => kernel.addRoute(own(1, { destination: prefix("172.16.0.0/24"), index: UNDERLAY }), "first"),
    mends: ["delete route 172.16.0.0/24: no lease has it"],
  },
  {
    what: "what flanneld left for a node that is gone",
    change: (kernel) => kernel.addRoute(own(9, { protocol: RTPROT_BOOT }), "first"),
    mends: ["delete route 10.244.10.0/24: no lease has it"],
  },
  ...(
    [
      ["without a gateway", { onlink: false, gateway: undefined }],
      ["with another gateway", { gateway: peer(1).address }],
      ["with another protocol", { protocol: 4 }],
      ["with a metric", { priority: 5 }],
      ["with a TOS", { tos: 8 }],
      ["of another type", { type: 6 }],
      ["on another device", { index: UNDERLAY }],
      ["outside of the network", { destination: prefix("10.245.0.0/24"), gateway: address("10.245.0.0") }],
    ] satisfies [string, Partial<Route>][]
  ).map(
    ([what, changes]): DriftCase => ({
      what: `a route like flanneld's, but ${what}`,
      change: (kernel) => kernel.addRoute(own(9, { protocol: RTPROT_BOOT, ...changes }), "first"),
      mends: [],
    }),
  ),
  {
    what: "a neighbour deleted",
    change: (kernel) => kernel.deleteNeighbour(DEVICE, peer(1).address),
    mends: ["replace neighbour 10.244.2.0 at 02:04:00:00:00:01: it is missing"],
  },
  {
    what: "a neighbour with another MAC",
    change: (kernel) => kernel.setNeighbour({ ...PERMANENT, address: peer(1).address, mac: exampleMac(4, 2) }),
    mends: ["replace neighbour 10.244.2.0 at 02:04:00:00:00:01: it is 02:04:00:00:00:02"],
  },
  {
    what: "a neighbour that would age",
    change: (kernel) =>
      kernel.setNeighbour({ index: DEVICE, address: peer(1).address, mac: exampleMac(4, 1), permanent: false }),
    mends: ["replace neighbour 10.244.2.0 at 02:04:00:00:00:01: it is not permanent"],
  },
  {
    what: "a neighbour that is not resolved",
    change: (kernel) =>
      kernel.setNeighbour({ index: DEVICE, address: peer(1).address, mac: undefined, permanent: false }),
    mends: ["replace neighbour 10.244.2.0 at 02:04:00:00:00:01: it is unresolved"],
  },
  {
    what: "a permanent neighbour that no lease has",
    change: (kernel) => kernel.setNeighbour({ ...PERMANENT, address: peer(9).address, mac: exampleMac(4, 9) }),
    mends: ["delete neighbour 10.244.10.0 at 02:04:00:00:00:09: no lease has it"],
  },
  {
    what: "a neighbour that the kernel resolved",
    change: (kernel) =>
      kernel.setNeighbour({ index: DEVICE, address: peer(9).address, mac: exampleMac(4, 9), permanent: false }),
    mends: [],
  },
  {
    what: "a neighbour on another device",
    change: (kernel) =>
      kernel.setNeighbour({ index: UNDERLAY, address: peer(1).address, mac: exampleMac(4, 9), permanent: true }),
    mends: [],
  },
  {
    what: "a forwarding entry deleted",
    change: (kernel) => kernel.deleteForwarding(DEVICE, exampleMac(4, 1)),
    mends: ["replace forwarding 02:04:00:00:00:01 to 198.18.0.2: it is missing"],
  },
  ...(
    [
      ["pointed elsewhere", { destination: examplePublicIP(4, 7) }, "it points to 198.18.0.8"],
      ["with a port of its own", { special: true }, "it is not a plain permanent entry"],
      ["that would age", { permanent: false }, "it is not a plain permanent entry"],
    ] as const
  ).map(
    ([what, changes, why]): DriftCase => ({
      what: `a forwarding entry ${what}`,
      change: (kernel) =>
        kernel.setForwarding({
          ...PERMANENT,
          mac: exampleMac(4, 1),
          destination: examplePublicIP(4, 1),
          special: false,
          ...changes,
        }),
      mends: [`replace forwarding 02:04:00:00:00:01 to 198.18.0.2: ${why}`],
    }),
  ),
  {
    what: "a forwarding entry that points to a next hop group",
    change: (kernel) => {
      kernel.deleteForwarding(DEVICE, exampleMac(4, 1));
      kernel.setForwarding({ ...PERMANENT, mac: exampleMac(4, 1), destination: undefined, special: true });
    },
    mends: [
      "delete forwarding 02:04:00:00:00:01 to a next hop group: it points to a next hop group",
      "replace forwarding 02:04:00:00:00:01 to 198.18.0.2: it points to a next hop group",
    ],
  },
  {
    what: "a permanent forwarding entry that no lease has",
    change: (kernel) =>
      kernel.setForwarding({
        ...PERMANENT,
        mac: mac("00:00:00:00:00:00"),
        destination: examplePublicIP(4, 7),
        special: true,
      }),
    mends: ["delete forwarding 00:00:00:00:00:00 to 198.18.0.8: no lease has it"],
  },
  {
    what: "a forwarding entry that the device learnt",
    change: (kernel) =>
      kernel.setForwarding({
        index: DEVICE,
        permanent: false,
        special: false,
        mac: exampleMac(4, 9),
        destination: examplePublicIP(4, 7),
      }),
    mends: [],
  },
  {
    what: "the address deleted",
    change: (kernel) => kernel.deleteAddress(DEVICE, peer(0).address, 32),
    // The routes and the neighbours went with it, without a word.
    mends: [
      "add address 10.244.1.0/32 on flannel.1: it is missing",
      "replace neighbour 10.244.2.0 at 02:04:00:00:00:01: it is missing",
      "replace neighbour 10.244.3.0 at 02:04:00:00:00:02: it is missing",
      "replace route 10.244.2.0/24: it is missing",
      "replace route 10.244.3.0/24: it is missing",
    ],
  },
  {
    what: "other addresses of the network",
    change: (kernel) => {
      kernel.addAddress(DEVICE, peer(0).address, 24);
      kernel.addAddress(DEVICE, peer(5).address, 32);
    },
    mends: [
      "delete address 10.244.1.0/24 on flannel.1: only 10.244.1.0/32 of the pod network belongs there",
      "delete address 10.244.6.0/32 on flannel.1: only 10.244.1.0/32 of the pod network belongs there",
    ],
  },
  {
    what: "an address that is not of the network, and one of it on another device",
    change: (kernel) => {
      kernel.addAddress(DEVICE, address("192.0.2.1"), 24);
      kernel.addAddress(UNDERLAY, peer(5).address, 32);
    },
    mends: [],
  },
  {
    what: "the device set down",
    change: (kernel) => kernel.changeLink(DEVICE, { up: false }),
    mends: ["change link flannel.1: it is down"],
  },
  {
    what: "the MAC, the MTU, learning and the local address changed",
    change: (kernel) => {
      kernel.changeLink(DEVICE, { mac: exampleMac(4, 9), mtu: 1400 });
      kernel.changeLink(DEVICE, { learning: true, local: examplePublicIP(4, 9) });
    },
    mends: [
      "change link flannel.1: its mac is 02:04:00:00:00:09, not 02:04:00:00:00:00, its mtu is 1400, not 1450",
      "change link flannel.1: its learning is true, not false, its local is 198.18.0.10, not 198.18.0.1",
      "replace neighbour 10.244.2.0 at 02:04:00:00:00:01: it is missing",
      "replace neighbour 10.244.3.0 at 02:04:00:00:00:02: it is missing",
    ],
  },
  {
    what: "the mark taken off the device",
    change: (kernel) => kernel.changeLink(DEVICE, { alias: "" }),
    mends: ["change link flannel.1: to mark it as ours"],
  },
  {
    what: "a device of ours for the other family with the same VNI",
    change: (kernel) => {
      const { vxlan, index: _, ...link } = kernel.link("flannel.1") ?? { index: 0, ...PLAIN_LINK };
      kernel.addLink({ ...link, name: "flannel-v6.1", vxlan: vxlan && { ...vxlan, local: examplePublicIP(6, 0) } });
    },
    mends: ["delete link flannel-v6.1: it is ours and no longer wanted"],
  },
  {
    what: "the device deleted",
    change: (kernel) => kernel.deleteLink(DEVICE),
    mends: ["add link flannel.1: it is missing"],
  },
  {
    what: "the device renamed",
    change: (kernel) => kernel.changeLink(DEVICE, { name: "flannel.old" }),
    mends: ["delete link flannel.old: it holds VNI 1 of flannel.1", "add link flannel.1: it is missing"],
  },
  {
    what: "another device of ours",
    change: (kernel) => {
      const { vxlan, index: _, ...link } = kernel.link("flannel.1") ?? { index: 0, ...PLAIN_LINK };
      kernel.addLink({ ...link, name: "flannel.7", vxlan: vxlan && { ...vxlan, vni: 7 } });
    },
    mends: ["delete link flannel.7: it is ours and no longer wanted"],
  },
  {
    what: "another VXLAN device with a flannel name, not ours",
    change: (kernel) => {
      const { vxlan, index: _, ...link } = kernel.link("flannel.1") ?? { index: 0, ...PLAIN_LINK };
      kernel.addLink({ ...link, alias: "", name: "flannel.7", vxlan: vxlan && { ...vxlan, vni: 7 } });
    },
    mends: [],
  },
  ...(
    [
      ["of another VNI", { vni: 7 }, "its VNI is 7, not 1"],
      ["of another port", { port: 4789 }, "its port is 4789, not 8472"],
      ["with GBP", { gbp: true }, "GBP is on, not off"],
      ["with a group", { group: examplePublicIP(4, 50) }, "it has the group 198.18.0.51"],
      ["that reports misses", { l2miss: true }, "it reports L2 misses"],
    ] as const
  ).map(
    ([what, options, why]): DriftCase => ({
      what: `the device replaced by one ${what}`,
      change: (kernel) => {
        const { vxlan, index: _, ...link } = kernel.link("flannel.1") ?? { index: 0, ...PLAIN_LINK };
        kernel.deleteLink(DEVICE);
        kernel.addLink({ ...link, vxlan: vxlan && { ...vxlan, ...options } });
      },
      mends: [`delete link flannel.1: ${why}`, `add link flannel.1: ${why}`],
    }),
  ),
  {
    what: "the device replaced by a bridge",
    change: (kernel) => {
      kernel.deleteLink(DEVICE);
      kernel.addLink({ ...PLAIN_LINK, name: "flannel.1" });
    },
    mends: [
      "delete link flannel.1: it is of kind bridge, not vxlan",
      "add link flannel.1: it is of kind bridge, not vxlan",
    ],
  },
];
