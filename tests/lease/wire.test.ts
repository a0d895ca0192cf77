import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { LeaseAttributes } from "../../src/lease/lease.ts";
import {
  claimedSubnets,
  decodeAttributes,
  encodeAttributes,
  formatSubnetKey,
  parseSubnetKey,
} from "../../src/lease/wire.ts";
import { addressFromBigInt } from "../../src/net/address.ts";
import { ADDRESS_BITS, type Family, type PerFamily } from "../../src/net/family.ts";
import { formatPrefix, makePrefix, type Prefix } from "../../src/net/prefix.ts";
import { anyPublicAddress, anyVtep } from "./arbitraries.ts";
import { address, mac, prefix } from "./samples.ts";

const anyPrefix = (family: Family): fc.Arbitrary<Prefix> =>
  fc
    .tuple(fc.bigInt(0n, (1n << BigInt(ADDRESS_BITS[family])) - 1n), fc.integer({ min: 1, max: ADDRESS_BITS[family] }))
    .map(([value, length]) => makePrefix(addressFromBigInt(value, family), length));

/** A VTEP has a public address beside it. */
const anyAttributes: fc.Arbitrary<LeaseAttributes> = fc
  .record({
    four: fc.option(fc.tuple(anyPublicAddress[4], fc.option(anyVtep))),
    six: fc.option(fc.tuple(anyPublicAddress[6], fc.option(anyVtep))),
    backendType: fc.constantFrom("vxlan", "host-gw", ""),
  })
  .map(({ four, six, backendType }) => {
    const publicIPs: LeaseAttributes["publicIPs"] = {};
    const vteps: LeaseAttributes["vteps"] = {};
    for (const [family, given] of [
      [4, four],
      [6, six],
    ] as const) {
      if (given === null) continue;
      publicIPs[family] = given[0];
      if (given[1] !== null && backendType === "vxlan") vteps[family] = given[1];
    }
    return { publicIPs, backendType, vteps };
  });

describe("subnet key", () => {
  test.each<[string, PerFamily<Prefix>]>([
    ["10.244.20.0-24", { 4: prefix("10.244.20.0/24") }],
    ["10.12.13.0-24&fd00:12:13::-56", { 4: prefix("10.12.13.0/24"), 6: prefix("fd00:12:13::/56") }],
    ["0.0.0.0-0&fc00::-64", { 6: prefix("fc00::/64") }],
  ])("%s stands for its subnets, both ways", (key, subnets) => {
    expect(parseSubnetKey(key)).toEqual({ ok: true, value: subnets });
    expect(formatSubnetKey(subnets)).toBe(key);
  });

  // The first eleven are flannel's own (pkg/subnet/subnet_test.go).
  test.each([
    "10",
    "10.12.13.0",
    "10.12.13-24",
    "10.12.13.300-24",
    "10.12.13.0-24hi",
    "&2001::-56",
    "10.12.13.0-24&:12:13:-56",
    "10.12.13.0-24&20011::-56",
    "10.12.13.0-24&2001-56",
    "10.12.13.0-24&2001::",
    "10.12.13.0-24&2001::-56hi",
    "",
    "-24",
    "10.12.13.0-33",
    "10.12.13.0-0",
    "0.0.0.0-0",
    "fc00::-64",
    "fc00::-64&10.12.13.0-24",
    "10.12.13.0-24&fc00::-64&fc00:1::-64",
    "10.12.13.0-24&10.12.14.0-24",
    "0.0.0.0-0&fc00::-0",
  ])("%j is refused", (key) => {
    expect(parseSubnetKey(key)).toMatchObject({
      ok: false,
      reason: expect.stringContaining("is not a subnet such as"),
    });
  });

  test("host bits are named together with the subnet that was meant", () => {
    expect(parseSubnetKey("10.244.20.5-24")).toEqual({
      ok: false,
      reason: `the key's "10.244.20.5-24" has host bits set; the subnet would be 10.244.20.0-24`,
    });
    expect(claimedSubnets("10.244.20.5-24")).toEqual([prefix("10.244.20.0/24")]);
  });

  test("a key that is half garbage claims its other half", () => {
    expect(claimedSubnets("10.244.20.0-24&garbage")).toEqual([prefix("10.244.20.0/24")]);
    expect(claimedSubnets("garbage&fc00::-64")).toEqual([prefix("fc00::/64")]);
    expect(claimedSubnets("0.0.0.0-0")).toEqual([]);
  });

  test("every lease's key can be read again, and claims what it stands for", () => {
    const anySubnets = fc.oneof(
      fc.record({ 4: anyPrefix(4) }),
      fc.record({ 6: anyPrefix(6) }),
      fc.record({ 4: anyPrefix(4), 6: anyPrefix(6) }),
    );
    fc.assert(
      fc.property(anySubnets, (subnets: PerFamily<Prefix>) => {
        const key = formatSubnetKey(subnets);
        expect(parseSubnetKey(key)).toEqual({ ok: true, value: subnets });
        expect(claimedSubnets(key).map(formatPrefix)).toEqual(Object.values(subnets).map(formatPrefix));
      }),
    );
  });

  test("no text makes it throw", () => {
    const nearlyKey = fc.stringMatching(/^[0-9a-f.:&-]{0,40}$/);
    fc.assert(
      fc.property(fc.oneof(fc.string(), nearlyKey), (key) => {
        const result = parseSubnetKey(key);
        // What is taken as a key claims something: it can't be given away by mistake.
        if (result.ok) expect(claimedSubnets(key)).toEqual(Object.values(result.value));
      }),
    );
  });
});

describe("attributes", () => {
  const four = { publicIPs: { 4: address("172.31.0.3") }, backendType: "vxlan" };
  const vtep = { vni: 1, mac: mac("c6:d2:32:6f:8f:44") };

  test.each<[string, LeaseAttributes]>([
    [
      '{"PublicIP":"172.31.0.3","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:44"}}',
      { ...four, vteps: { 4: vtep } },
    ],
    [
      '{"PublicIP":"172.31.0.3","PublicIPv6":"fd00::3","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:44"},"BackendV6Data":{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:44"}}',
      { ...four, publicIPs: { 4: address("172.31.0.3"), 6: address("fd00::3") }, vteps: { 4: vtep, 6: vtep } },
    ],
    [
      '{"PublicIP":"0.0.0.0","PublicIPv6":"fd00::3","BackendType":"vxlan","BackendV6Data":{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:44"}}',
      { publicIPs: { 6: address("fd00::3") }, backendType: "vxlan", vteps: { 6: vtep } },
    ],
    [
      '{"PublicIP":"172.31.0.3","PublicIPv6":null,"BackendType":"host-gw"}',
      { ...four, backendType: "host-gw", vteps: {} },
    ],
    ['{"PublicIP":"172.31.0.3","PublicIPv6":null}', { ...four, backendType: "", vteps: {} }],
  ])("%s is flannel's form, both ways", (text, attributes) => {
    expect(decodeAttributes(text)).toEqual({ ok: true, value: attributes });
    expect(encodeAttributes(attributes)).toBe(text);
  });

  test.each<[string, LeaseAttributes]>([
    // written by hand: fields left out, another order, a reservation for a node that has not come yet
    ['{"BackendType":"vxlan","PublicIP":"172.31.0.3","Extra":[1]}', { ...four, vteps: {} }],
    ['{"PublicIP":"172.31.0.3","BackendType":"vxlan","BackendData":null}', { ...four, vteps: {} }],
    [
      '{"PublicIP":"172.31.0.3","BackendType":"wireguard","BackendData":{"PublicKey":"x"}}',
      { ...four, backendType: "wireguard", vteps: {} },
    ],
    [
      '{"PublicIP":"172.31.0.3","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"C6-D2-32-6F-8F-44"}}',
      { ...four, vteps: { 4: vtep } },
    ],
  ])("%s is understood", (text, attributes) => {
    expect(decodeAttributes(text)).toEqual({ ok: true, value: attributes });
  });

  const withData = (data: string) => `{"PublicIP":"172.31.0.3","BackendType":"vxlan","BackendData":${data}}`;
  test.each([
    ["", "the value is not JSON"],
    ["{", "the value is not JSON"],
    ["null", "the value must be a JSON object, not null"],
    ["[]", "the value must be a JSON object, not a list"],
    ['"x"', 'the value must be a JSON object, not "x"'],
    ['{"PublicIP":3}', "PublicIP must be a unicast IPv4 address, not 3"],
    ['{"PublicIP":"fd00::1"}', 'PublicIP must be a unicast IPv4 address, not "fd00::1"'],
    ['{"PublicIP":"224.0.0.1"}', 'PublicIP must be a unicast IPv4 address, not "224.0.0.1"'],
    ['{"PublicIP":"127.0.0.1"}', 'PublicIP must be a unicast IPv4 address, not "127.0.0.1"'],
    ['{"PublicIP":"0.1.2.3"}', 'PublicIP must be a unicast IPv4 address, not "0.1.2.3"'],
    ['{"PublicIPv6":"::1"}', 'PublicIPv6 must be a unicast IPv6 address, not "::1"'],
    ['{"PublicIPv6":"1.2.3.4"}', 'PublicIPv6 must be a unicast IPv6 address, not "1.2.3.4"'],
    ['{"PublicIPv6":"ff02::1"}', 'PublicIPv6 must be a unicast IPv6 address, not "ff02::1"'],
    ['{"BackendType":1}', "BackendType must be a text, not 1"],
    [withData("[]"), "BackendData must be a JSON object, not a list"],
    [withData('"x"'), 'BackendData must be a JSON object, not "x"'],
    [withData("{}"), "BackendData.VNI is missing"],
    [withData('{"VNI":1}'), "BackendData.VtepMAC is missing"],
    [
      withData('{"VNI":"1","VtepMAC":"02:00:00:00:00:01"}'),
      'BackendData.VNI must be a whole number from 0 to 16777215, not "1"',
    ],
    [
      withData('{"VNI":16777216,"VtepMAC":"02:00:00:00:00:01"}'),
      "BackendData.VNI must be a whole number from 0 to 16777215, not 16777216",
    ],
    [withData('{"VNI":1.5,"VtepMAC":"02:00:00:00:00:01"}'), "BackendData.VNI must be"],
    [withData('{"VNI":1,"VtepMAC":"zz"}'), 'BackendData.VtepMAC must be a unicast Ethernet address, not "zz"'],
    [withData('{"VNI":1,"VtepMAC":"01:00:5e:00:00:01"}'), "BackendData.VtepMAC must be a unicast Ethernet address"],
    [withData('{"VNI":1,"VtepMAC":"00:00:00:00:00:00"}'), "BackendData.VtepMAC must be a unicast Ethernet address"],
    [
      '{"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:01"}}',
      "PublicIP is missing beside BackendData",
    ],
    [
      '{"PublicIP":"1.2.3.4","BackendType":"vxlan","BackendV6Data":{"VNI":1,"VtepMAC":"02:00:00:00:00:01"}}',
      "PublicIPv6 is missing beside BackendV6Data",
    ],
  ])("%s is refused and the field named", (text, reason) => {
    const result = decodeAttributes(text);
    expect(result.ok ? "taken" : result.reason).toStartWith(reason);
  });

  test("a broken VTEP still says whose record it is", () => {
    expect(decodeAttributes(withData('{"VNI":-1}'))).toMatchObject({ ok: false, publicIPs: { 4: "172.31.0.3" } });
  });

  test("whatever is published can be read again", () => {
    fc.assert(
      fc.property(anyAttributes, (attributes) => {
        expect(decodeAttributes(encodeAttributes(attributes))).toEqual({ ok: true, value: attributes });
      }),
    );
  });

  test("no text makes it throw", () => {
    const fields = fc.record(
      {
        PublicIP: fc.oneof(fc.ipV4(), fc.jsonValue()),
        PublicIPv6: fc.oneof(fc.ipV6(), fc.jsonValue()),
        BackendType: fc.oneof(fc.constant("vxlan"), fc.jsonValue()),
        BackendData: fc.oneof(fc.record({ VNI: fc.jsonValue(), VtepMAC: fc.jsonValue() }), fc.jsonValue()),
        BackendV6Data: fc.jsonValue(),
      },
      { requiredKeys: [] },
    );
    const texts = fc.oneof(
      fc.string(),
      fc.json(),
      fields.map((value) => JSON.stringify(value)),
    );
    fc.assert(
      fc.property(texts, (text) => {
        const result = decodeAttributes(text);
        if (!result.ok) expect(result.reason).not.toBe("");
      }),
      { numRuns: 500 },
    );
    expect(decodeAttributes("[".repeat(100_000)).ok).toBe(false);
  });
});
