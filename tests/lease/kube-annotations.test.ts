import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { UsageError } from "../../src/base/errors.ts";
import {
  addressesSet,
  annotationNames,
  decodeNodeLease,
  encodeAnnotations,
  publishedVteps,
  subnetsOf,
} from "../../src/lease/kube-annotations.ts";
import type { KubeNode } from "../../src/lease/kube-proto.ts";
import type { LeaseAttributes } from "../../src/lease/lease.ts";
import { anyPublicAddress, anyVtep } from "./arbitraries.ts";
import { address, mac, prefix } from "./samples.ts";

const NAMES = annotationNames("flannel.alpha.coreos.com");
const FLANNEL = "flannel.alpha.coreos.com/";

function nodeOf(annotations: Record<string, string>, podCIDRs: readonly string[] = ["10.244.3.0/24"]): KubeNode {
  return { name: "n1", uid: "u1", resourceVersion: "7", createdAt: 1000, annotations, podCIDRs };
}

/** Annotations under flannel's prefix. */
function under(short: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(short).map(([name, value]) => [FLANNEL + name, value]));
}

const GOOD = {
  "backend-data": '{"VNI":1,"VtepMAC":"12:c6:65:89:b4:e3"}',
  "backend-type": "vxlan",
  "public-ip": "172.18.0.3",
  "kube-subnet-manager": "true",
};

describe("the prefix", () => {
  test.each([
    ["flannel.alpha.coreos.com", "flannel.alpha.coreos.com/backend-type"],
    ["example.com/", "example.com/backend-type"],
    ["example.com/blue", "example.com/blue-backend-type"],
    ["example.com/blue-", "example.com/blue-backend-type"],
    ["a_b.c-d.0/x_1", "a_b.c-d.0/x_1-backend-type"],
  ])("%s makes %s", (prefix, name) => {
    expect(annotationNames(prefix).backendType).toBe(name);
  });

  test.each([
    "",
    "/",
    "com",
    "com/",
    "com/blue",
    "example.COM",
    "example.com/Blue",
    "example.com/a/b",
    "exa mple.com",
    "example.com/-",
  ])("%j is refused", (prefix) => {
    expect(() => annotationNames(prefix)).toThrow(UsageError);
  });

  test("names all that flannel has", () => {
    const short = [...NAMES.all].map((name) => name.replace(FLANNEL, ""));
    expect(short.sort()).toEqual([
      "backend-data",
      "backend-type",
      "backend-v6-data",
      "kube-subnet-manager",
      "node-public-ip",
      "node-public-ipv6",
      "public-ip",
      "public-ip-overwrite",
      "public-ipv6",
      "public-ipv6-overwrite",
    ]);
  });
});

describe("written byte for byte as flannel does", () => {
  const four = { publicIPs: { 4: address("172.18.0.3") }, vteps: { 4: { vni: 1, mac: mac("12:c6:65:89:b4:e3") } } };
  const six = { publicIPs: { 6: address("fc00:f853::3") }, vteps: { 6: { vni: 1, mac: mac("aa:bb:cc:dd:ee:f0") } } };
  const both = { publicIPs: { ...four.publicIPs, ...six.publicIPs }, vteps: { ...four.vteps, ...six.vteps } };
  const V6 = { "backend-v6-data": '{"VNI":1,"VtepMAC":"aa:bb:cc:dd:ee:f0"}', "public-ipv6": "fc00:f853::3" };
  const table: [string, Omit<LeaseAttributes, "node">, Record<string, string>, Record<string, string>][] = [
    ["VXLAN over IPv4", { ...four, backendType: "vxlan" }, {}, GOOD],
    ["VXLAN over both", { ...both, backendType: "vxlan" }, {}, { ...GOOD, ...V6 }],
    [
      "VXLAN over IPv6",
      { ...six, backendType: "vxlan" },
      {},
      { ...V6, "backend-type": "vxlan", "kube-subnet-manager": "true" },
    ],
    [
      "host-gw",
      { publicIPs: four.publicIPs, vteps: {}, backendType: "host-gw" },
      {},
      { "backend-data": "null", "backend-type": "host-gw", "public-ip": "172.18.0.3", "kube-subnet-manager": "true" },
    ],
    [
      "an overwritten address, in its very text",
      { ...both, backendType: "vxlan" },
      { "public-ip-overwrite": "198.51.100.9", "public-ipv6-overwrite": "2001:DB8::1" },
      { ...GOOD, ...V6, "public-ip": "198.51.100.9", "public-ipv6": "2001:DB8::1" },
    ],
    ["an empty overwrite", { ...four, backendType: "vxlan" }, { "public-ip-overwrite": "" }, GOOD],
  ];
  test.each(table)("%s", (_name, attributes, present, expected) => {
    expect(encodeAnnotations(NAMES, attributes, under(present))).toEqual(under(expected));
  });

  test("whatever the MAC, VNI and address, what is written is read again as it was", () => {
    fc.assert(
      fc.property(
        fc.tuple(anyPublicAddress[4], anyVtep),
        fc.option(fc.tuple(anyPublicAddress[6], anyVtep)),
        ([address4, vtep4], six) => {
          const publicIPs = { 4: address4, ...(six && { 6: six[0] }) };
          const vteps = { 4: vtep4, ...(six && { 6: six[1] }) };
          const annotations = encodeAnnotations(NAMES, { backendType: "vxlan", publicIPs, vteps }, {});
          // A family counts where the Node has a podCIDR of it.
          const decoded = decodeNodeLease(NAMES, nodeOf(annotations, ["10.244.3.0/24", "fc00:0:0:3::/64"]));
          expect(decoded).toMatchObject({ ok: true, value: { vteps, publicIPs, backendType: "vxlan" } });
        },
      ),
    );
  });
});

describe("a lease is read", () => {
  test("with the Node's name, its podCIDR and its age", () => {
    expect(decodeNodeLease(NAMES, nodeOf(under(GOOD)))).toEqual({
      ok: true,
      value: {
        key: "n1",
        node: "n1",
        subnets: { 4: prefix("10.244.3.0/24") },
        publicIPs: { 4: address("172.18.0.3") },
        backendType: "vxlan",
        vteps: { 4: { vni: 1, mac: mac("12:c6:65:89:b4:e3") } },
        createdAt: 1000,
      },
    });
  });

  test("of the families that have both a podCIDR and an address", () => {
    const dual = { ...GOOD, "backend-v6-data": '{"VNI":1,"VtepMAC":"aa:bb:cc:dd:ee:f0"}', "public-ipv6": "fc00::3" };
    const families = (annotations: Record<string, string>, podCIDRs: readonly string[]) => {
      const decoded = decodeNodeLease(NAMES, nodeOf(under(annotations), podCIDRs));
      return decoded.ok ? Object.keys(decoded.value.subnets) : decoded.reason;
    };
    expect(families(dual, ["10.244.3.0/24", "fd00:3::/64"])).toEqual(["4", "6"]);
    expect(families(dual, ["10.244.3.0/24"])).toEqual(["4"]);
    expect(families(GOOD, ["10.244.3.0/24", "fd00:3::/64"])).toEqual(["4"]);
    expect(
      families({ ...dual, "backend-type": "host-gw", "public-ip": "0.0.0.0" }, ["10.244.3.0/24", "fd00:3::/64"]),
    ).toEqual(["6"]);
  });

  test.each<[Record<string, string>, string]>([
    [{ ...GOOD, "backend-type": "" }, "backend-type is missing"],
    [{ "kube-subnet-manager": "true", "backend-type": "vxlan" }, "public-ip is missing"],
    [{ ...GOOD, "backend-data": '{"VNI":"x"}' }, `${FLANNEL}backend-data.VNI must be a whole number`],
    [{ ...GOOD, "backend-data": '{"VNI":1}' }, "VtepMAC is missing"],
    [
      { ...GOOD, "backend-data": '{"VNI":1,"VtepMAC":"01:00:00:00:00:01"}' },
      "VtepMAC must be a unicast Ethernet address",
    ],
    [{ ...GOOD, "backend-data": "null" }, "must be a JSON object"],
    [{ ...GOOD, "backend-data": '{"VNI":1,' }, "is not JSON"],
    [{ ...GOOD, "backend-data": "\u0000\u{1f980}".repeat(1000) }, "is not JSON"],
    [{ ...GOOD, "public-ip": "x" }, "public-ip must be a unicast IPv4 address"],
    [{ ...GOOD, "public-ip": "fc00::1" }, "public-ip must be a unicast IPv4 address"],
    [{ ...GOOD, "public-ip": "224.0.0.1" }, "public-ip must be a unicast IPv4 address"],
  ])("unless it makes no sense: %j", (annotations, reason) => {
    const decoded = decodeNodeLease(NAMES, nodeOf(under(annotations)));
    expect(decoded.ok ? decoded : decoded.reason).toEqual(expect.stringContaining(reason));
    expect(JSON.stringify(decoded).length).toBeLessThan(400);
  });
});

test("the VTEPs of another backend are none to be kept", () => {
  expect(publishedVteps(NAMES, under(GOOD))).toEqual({ 4: { vni: 1, mac: mac("12:c6:65:89:b4:e3") } });
  expect(publishedVteps(NAMES, under({ ...GOOD, "backend-type": "host-gw" }))).toEqual({});
  expect(publishedVteps(NAMES, under({ ...GOOD, "backend-data": "x" }))).toEqual({});
});

test("podCIDRs: the first of each family, without host bits", () => {
  expect(subnetsOf(["10.244.3.7/24", "10.9.0.0/24", "fd00:3::/64"])).toEqual({
    4: prefix("10.244.3.0/24"),
    6: prefix("fd00:3::/64"),
  });
  expect(subnetsOf(["garbage"])).toEqual({});
});

test("an administrator's address that is none is refused with the annotation's name", () => {
  const set = under({
    "public-ip-overwrite": "198.51.100.9",
    "node-public-ip": "198.51.100.x",
    "public-ipv6-overwrite": "",
  });
  expect(addressesSet(NAMES, "overwrite", nodeOf(set))).toEqual({ 4: address("198.51.100.9") });
  expect(() => addressesSet(NAMES, "nodePublicIP", nodeOf(set))).toThrow(
    `Node n1: annotation ${FLANNEL}node-public-ip must be a unicast IPv4 address, not "198.51.100.x"`,
  );
});
