import { describe, expect, test } from "bun:test";
import { judgeDevice, judgeTxChecksum } from "../../../src/cli/doctor/checks/interfaces.ts";
import { judgeLinkFiles, judgeManager } from "../../../src/cli/doctor/checks/mac-policy.ts";
import { judgeMtu, type MtuFacts } from "../../../src/cli/doctor/checks/mtu.ts";
import { judgeOverlap, type OverlapFacts } from "../../../src/cli/doctor/checks/overlap.ts";
import { boundTo, judgePort, type PortFacts } from "../../../src/cli/doctor/checks/vxlan-port.ts";
import type { Link, VxlanState } from "../../../src/kernel/state.ts";
import { address, mac, prefix } from "../../net/values.ts";
import { haveFixes, told } from "./judgements.ts";

const VXLAN: VxlanState = {
  vni: 1,
  port: 8472,
  local: address("192.0.2.1"),
  underlay: 2,
  group: undefined,
  learning: false,
  gbp: false,
  l2miss: false,
};
const LINK: Link = {
  index: 5,
  name: "flannel.1",
  kind: "vxlan",
  alias: "tartan",
  mac: mac("02:00:00:00:00:01"),
  mtu: 1450,
  up: true,
  vxlan: VXLAN,
};
const EXPECTED = {
  ...{ name: "flannel.1", vni: 1, port: 8472, gbp: false, learning: false, local: "192.0.2.1" },
  ...{ mac: "02:00:00:00:00:01", address: "10.244.1.0/32" },
};

describe("the device", () => {
  const judged = (link: Link | undefined, isAgentHere = true, addresses = ["10.244.1.0/32"]) =>
    judgeDevice(EXPECTED, link, addresses, isAgentHere);

  test.each<[string, Link | undefined, string]>([
    ["as it should be", LINK, "ok: flannel.1 is as it should be"],
    ["missing", undefined, "error: the device flannel.1 is not there though an agent runs"],
    ["of another VNI", { ...LINK, vxlan: { ...VXLAN, vni: 2 } }, "error: the device flannel.1: vni is 2, not 1"],
    [
      "of another port",
      { ...LINK, vxlan: { ...VXLAN, port: 4789 } },
      "error: the device flannel.1: port is 4789, not 8472",
    ],
    [
      "of another source",
      { ...LINK, vxlan: { ...VXLAN, local: address("192.0.2.9") } },
      "error: the device flannel.1: local is 192.0.2.9, not 192.0.2.1",
    ],
    [
      "learning",
      { ...LINK, vxlan: { ...VXLAN, learning: true } },
      "error: the device flannel.1: learning is true, not false",
    ],
    ["down", { ...LINK, up: false }, "error: the device flannel.1: it is down"],
    [
      "of another MAC",
      { ...LINK, mac: mac("02:00:00:00:00:02") },
      "error: the device flannel.1: its MAC is 02:00:00:00:00:02, but the others send to 02:00:00:00:00:01",
    ],
    [
      "no VXLAN device",
      { ...LINK, kind: "bridge", vxlan: undefined },
      "error: the device flannel.1: it is of kind bridge, not vxlan",
    ],
  ])("%s", (_, link, expected) => {
    expect(told(judged(link))).toBe(expected);
    expect(haveFixes(judged(link))).toBe(true);
  });

  test("without its address; and without an agent, which would mend it", () => {
    expect(told(judged(LINK, true, []))).toBe("error: the device flannel.1: it lacks the address 10.244.1.0/32");
    expect(told(judged(LINK, false, []))).toStartWith("warning: ");
    expect(told(judged(undefined, false))).toStartWith("skipped: ");
  });

  test("what is not known is not judged", () => {
    const unknown = { ...EXPECTED, mac: undefined, local: undefined, address: undefined };
    expect(told(judgeDevice(unknown, LINK, [], true))).toStartWith("ok: ");
  });
});

test.each([
  [{ why: "left as it is" }, { txChecksum: true }, "ok: "],
  [{ wanted: false, why: "vmxnet3" }, undefined, "ok: flannel.1 will be made with it off"],
  [{ wanted: false, why: "vmxnet3" }, { txChecksum: false }, "ok: flannel.1 has it off"],
  [{ wanted: false, why: "vmxnet3" }, {}, "skipped: "],
  [
    { wanted: false, why: "vmxnet3" },
    { txChecksum: true },
    "warning: checksum offload of flannel.1 is on, and should be off: vmxnet3",
  ],
])("offload wanted %j, is %j: %s", (choice, link, expected) => {
  const finding = judgeTxChecksum("flannel.1", choice, link);
  expect(told(finding)).toStartWith(expected);
  if (finding.status === "warning") expect(finding.fix).toBe("ethtool -K flannel.1 tx-checksum-ip-generic off");
});

describe("MTU", () => {
  const facts: MtuFacts = {
    external: { name: "eth0", mtu: 1500 },
    configured: undefined,
    devices: [{ name: "flannel.1", wanted: 1450, actual: 1450 }],
    subnetEnv: 1450,
    bridge: { name: "cni0", mtu: 1450 },
    paths: undefined,
  };
  const device = (actual: number | undefined) => [{ name: "flannel.1", wanted: 1450, actual }];

  test.each<[string, Partial<MtuFacts>, string]>([
    ["all alike", {}, "ok: eth0 carries 1500, which leaves 1450 to pods"],
    ["before the installation", { devices: device(undefined), subnetEnv: undefined, bridge: undefined }, "ok: eth0"],
    ["Backend.MTU too large", { configured: 9000 }, "warning: Backend.MTU is 9000, but eth0 carries 1500"],
    ["the device's too large", { devices: device(1500) }, "error: flannel.1 has MTU 1500 instead of 1450"],
    ["the device's too small", { devices: device(1400) }, "warning: flannel.1 has MTU 1400 instead of 1450"],
    [
      "subnet.env's too large",
      { subnetEnv: 1500 },
      "error: FLANNEL_MTU is 1500 in subnet.env, but the devices carry 1450",
    ],
    ["subnet.env's too small", { subnetEnv: 1400 }, "warning: FLANNEL_MTU is 1400"],
    ["the bridge's too large", { bridge: { name: "cni0", mtu: 1500 } }, "warning: pods' bridge cni0 has MTU 1500"],
    [
      "full size passes",
      { paths: { failing: [], passing: 3 } },
      "ok: eth0 carries 1500, which leaves 1450 to pods; packets of full size reach 3 nodes",
    ],
    [
      "full size is lost on the way",
      { paths: { failing: ["n2", "n3"], passing: 1 } },
      "warning: packets of full size do not reach 2 nodes (n2, n3)",
    ],
  ])("%s", (_, change, expected) => {
    const findings = judgeMtu({ ...facts, ...change });
    expect(told(findings)).toStartWith(expected);
    expect(findings).toHaveLength(1);
    expect(haveFixes(findings)).toBe(true);
  });
});

describe("overlap", () => {
  const facts: OverlapFacts = {
    networks: { 4: prefix("10.244.0.0/16") },
    subnets: { 4: prefix("10.244.1.0/24") },
    addresses: [{ device: "eth0", address: address("192.0.2.1") }],
    routes: [{ device: "eth0", destination: prefix("192.0.2.0/24") }],
    services: [{ name: "the API server's Service", address: address("10.96.0.1") }],
  };
  const route = (text: string) => ({ routes: [{ device: "eth1", destination: prefix(text) }] });

  test.each<[string, Partial<OverlapFacts>, string]>([
    ["none", {}, "ok: no other address or route of this host lies in 10.244.0.0/16"],
    [
      "pods of this node",
      { addresses: [{ device: "cni0", address: address("10.244.1.1") }], ...route("10.244.1.0/24") },
      "ok: ",
    ],
    [
      "a host's address",
      { addresses: [{ device: "eth1", address: address("10.244.7.1") }] },
      "error: eth1 has the address 10.244.7.1 of the pod network",
    ],
    ["a route within", route("10.244.7.0/24"), "error: the route to 10.244.7.0/24 by eth1 takes packets"],
    ["a route to just that", route("10.244.0.0/16"), "error: the route to 10.244.0.0/16 by eth1 takes packets"],
    ["a route around it", route("10.0.0.0/8"), "warning: the route to 10.0.0.0/8 by eth1 leads to hosts"],
    ["a route beside it", route("10.245.0.0/16"), "ok: "],
    ["the other family's", route("fd00::/8"), "ok: "],
    [
      "a Service",
      { services: [{ name: "the API server's Service", address: address("10.244.0.1") }] },
      "error: the API server's Service (10.244.0.1) lies in the pod network",
    ],
  ])("%s", (_, change, expected) => {
    const findings = judgeOverlap({ ...facts, ...change });
    expect(told(findings)).toStartWith(expected);
    expect(findings).toHaveLength(1);
    expect(haveFixes(findings)).toBe(true);
  });
});

describe("the VXLAN port", () => {
  const facts: PortFacts = { port: 8472, vni: 1, gbp: false, own: ["flannel.1"], unused: [], links: [], sockets: [] };
  const other = (change: Partial<VxlanState>) => ({ name: "vxlan9", up: true, vxlan: { ...VXLAN, ...change } });

  test.each<[string, Partial<PortFacts>, string]>([
    ["free", {}, "ok: UDP port 8472 is free"],
    [
      "our own",
      { links: [LINK], sockets: [{ inode: "7", owner: undefined }] },
      "ok: UDP port 8472 is in use by VXLAN devices alone",
    ],
    ["another device of another port", { links: [other({ port: 4789 })] }, "ok: UDP port 8472 is free"],
    [
      "another VNI",
      { links: [other({ vni: 9 })] },
      "ok: UDP port 8472 is in use by VXLAN devices alone, shared with vxlan9",
    ],
    ["ours of a family that the network does not have", { links: [other({})], unused: ["vxlan9"] }, "ok: "],
    ["our VNI", { links: [other({})] }, "error: the device vxlan9 has VNI 1 and UDP port 8472, which flannel.1 needs"],
    [
      "another device with GBP",
      { links: [other({ vni: 9, gbp: true })] },
      "error: the device vxlan9 has UDP port 8472 too",
    ],
    [
      "a process",
      { sockets: [{ inode: "7", owner: "nc (process 3)" }] },
      "error: UDP port 8472 is in use by nc (process 3)",
    ],
    [
      "a process of another container",
      { sockets: [{ inode: "7", owner: undefined }] },
      "error: UDP port 8472 is in use by a process that can't be seen",
    ],
  ])("%s", (_, change, expected) => {
    const findings = judgePort({ ...facts, ...change });
    expect(told(findings)).toStartWith(expected);
    expect(haveFixes(findings)).toBe(true);
  });

  test("sockets are found by their port", () => {
    const text = [
      "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops",
      "  101: 00000000:2118 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4711 2 0000000000000000 0",
      "  102: 0100007F:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4712 2 0000000000000000 0",
    ].join("\n");
    expect(boundTo(8472, text)).toEqual(["4711"]);
    expect(boundTo(53, text)).toEqual(["4712"]);
    expect(boundTo(1, text)).toEqual([]);
  });
});

describe("MAC policy", () => {
  const DEFAULT = {
    path: "/usr/lib/systemd/network/99-default.link",
    text: "[Match]\nOriginalName=*\n\n[Link]\nNamePolicy=keep\nMACAddressPolicy=persistent\n",
  };
  const OURS = {
    path: "/etc/systemd/network/10-flannel.link",
    text: "[Match]\nOriginalName=flannel*\n[Link]\nMACAddressPolicy=none\n",
  };
  const ETH = {
    path: "/etc/systemd/network/05-eth.link",
    text: "[Match]\nMACAddress=00:11:22:33:44:55\n[Link]\nName=lan\n",
  };

  test.each<[string, (typeof DEFAULT)[], boolean, string]>([
    ["no files", [], false, "ok: no link file"],
    [
      "systemd's default",
      [DEFAULT],
      false,
      "warning: /usr/lib/systemd/network/99-default.link has MACAddressPolicy=persistent for flannel.1",
    ],
    ["the default, and the MAC was kept", [DEFAULT], true, "ok: "],
    ["ours before it", [OURS, DEFAULT], false, "ok: 10-flannel.link lets flannel.1 keep its MAC"],
    ["one for another device before it", [ETH, DEFAULT], false, "warning: "],
    [
      "a fixed MAC",
      [{ path: "/etc/x.link", text: "[Match]\nOriginalName=flannel.1\n[Link]\nMACAddress=02:00:00:00:00:01" }],
      true,
      "warning: /etc/x.link gives flannel.1 the MAC",
    ],
  ])("systemd-udevd: %s", (_, files, isKept, expected) => {
    const finding = judgeLinkFiles("flannel.1", files, isKept);
    expect(told(finding)).toStartWith(expected);
    expect(haveFixes(finding)).toBe(true);
  });

  test.each([
    ["", false, "warning: NetworkManager runs"],
    ["", true, "ok: "],
    ["[keyfile]\nunmanaged-devices=interface-name:flannel*\n", false, "ok: NetworkManager leaves flannel.1 alone"],
    [
      "[keyfile]\nunmanaged-devices=mac:00:11:22:33:44:55;interface-name:cali*;interface-name:flannel.*\n",
      false,
      "ok: NetworkManager leaves",
    ],
    ["[keyfile]\nunmanaged-devices=interface-name:cali*\n", false, "warning: "],
    ["[keyfile]\nunmanaged-devices=type:vxlan\n", false, "ok: NetworkManager leaves"],
  ])("NetworkManager with %j, kept: %p", (text, isKept, expected) => {
    expect(told(judgeManager("flannel.1", [{ path: "x.conf", text }], isKept))).toStartWith(expected);
  });
});
