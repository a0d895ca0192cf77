import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { networkRange } from "../../src/config/network-range.ts";
import { addressFromBigInt, addressToBigInt, parseAddress } from "../../src/net/address.ts";
import { ADDRESS_BITS, type Family } from "../../src/net/family.ts";
import { containsPrefix, formatPrefix, makePrefix, parsePrefix } from "../../src/net/prefix.ts";

interface Wanted {
  length?: number;
  min?: string;
  max?: string;
}

function range(family: Family, network: string | undefined, { length, min, max }: Wanted = {}) {
  const fields = {
    network: network === undefined ? undefined : parsePrefix(network),
    subnetLength: length,
    subnetMin: min === undefined ? undefined : parseAddress(min),
    subnetMax: max === undefined ? undefined : parseAddress(max),
  };
  const found = networkRange(family, fields, (text) => new Error(text));
  return `${formatPrefix(found.network)} /${found.subnetLength} ${found.subnetMin} ${found.subnetMax}`;
}

describe("accepted", () => {
  test.each<[Family, string, Wanted, string]>([
    [4, "10.244.0.0/16", {}, "10.244.0.0/16 /24 10.244.1.0 10.244.255.0"],
    [4, "10.3.7.9/16", {}, "10.3.0.0/16 /24 10.3.1.0 10.3.255.0"],
    [4, "10.0.0.0/22", {}, "10.0.0.0/22 /24 10.0.1.0 10.0.3.0"],
    [4, "10.0.0.0/23", {}, "10.0.0.0/23 /25 10.0.0.128 10.0.1.128"],
    [4, "10.0.0.0/28", {}, "10.0.0.0/28 /30 10.0.0.4 10.0.0.12"],
    [4, "128.0.0.0/1", {}, "128.0.0.0/1 /24 128.0.1.0 255.255.255.0"],
    [4, "10.3.0.0/16", { length: 0, min: "0.0.0.0", max: "0.0.0.0" }, "10.3.0.0/16 /24 10.3.1.0 10.3.255.0"],
    [4, "10.3.0.0/16", { length: 28, min: "10.3.5.0", max: "10.3.8.0" }, "10.3.0.0/16 /28 10.3.5.0 10.3.8.0"],
    [4, "10.3.0.0/16", { length: 18, min: "10.3.0.0", max: "10.3.0.0" }, "10.3.0.0/16 /18 10.3.0.0 10.3.0.0"],
    [4, "10.3.0.0/16", { length: 30 }, "10.3.0.0/16 /30 10.3.0.4 10.3.255.252"],
    [6, "fc00::/48", {}, "fc00::/48 /64 fc00:0:0:1:: fc00:0:0:ffff::"],
    [6, "fc00::/62", {}, "fc00::/62 /64 fc00:0:0:1:: fc00:0:0:3::"],
    [6, "fc00::/63", {}, "fc00::/63 /65 fc00::8000:0:0:0 fc00:0:0:1:8000::"],
    [6, "fc00::/124", {}, "fc00::/124 /126 fc00::4 fc00::c"],
    [
      6,
      "fc00::/48",
      { length: 124, min: "fc00:0:0:1::", max: "fc00:0:0:f::" },
      "fc00::/48 /124 fc00:0:0:1:: fc00:0:0:f::",
    ],
    [6, "fc00::/48", { min: "::", max: "::" }, "fc00::/48 /64 fc00:0:0:1:: fc00:0:0:ffff::"],
  ])("IPv%d %s %j", (family, network, wanted, expected) => {
    expect(range(family, network, wanted)).toBe(expected);
  });
});

describe("refused", () => {
  test.each<[Family, string | undefined, Wanted, string]>([
    [4, undefined, {}, 'Network is missing; set it to the pod network, such as "10.244.0.0/16"'],
    [6, undefined, {}, 'IPv6Network is missing; set it to the pod network, such as "fd00:10:244::/48"'],
    [4, "0.0.0.0/0", {}, "Network must not be 0.0.0.0/0"],
    [6, "::/0", {}, "IPv6Network must not be ::/0"],
    [4, "10.0.0.0/29", {}, "Network 10.0.0.0/29 is too small: it must have room for four /30 subnets; use /28"],
    [6, "fc00::/125", {}, "IPv6Network fc00::/125 is too small: it must have room for four /126 subnets; use /124"],
    [4, "10.0.0.0/16", { length: 31 }, "SubnetLen must be from 18 to 30, not 31"],
    [4, "10.0.0.0/16", { length: 17 }, "SubnetLen must be from 18 to 30, not 17"],
    [6, "fc00::/48", { length: 127 }, "IPv6SubnetLen must be from 50 to 126, not 127"],
    [6, "fc00::/48", { length: 49 }, "IPv6SubnetLen must be from 50 to 126, not 49"],
    [4, "10.0.0.0/16", { min: "10.1.0.0" }, "SubnetMin 10.1.0.0 lies outside Network 10.0.0.0/16"],
    [4, "10.0.0.0/16", { max: "9.255.255.0" }, "SubnetMax 9.255.255.0 lies outside Network 10.0.0.0/16"],
    [6, "fc00::/48", { min: "fc01::" }, "IPv6SubnetMin fc01:: lies outside IPv6Network fc00::/48"],
    [
      4,
      "10.0.0.0/16",
      { min: "10.0.5.16" },
      "SubnetMin 10.0.5.16 is not where a /24 subnet (SubnetLen) starts; 10.0.5.0 would be",
    ],
    [6, "fc00::/48", { max: "fc00::1" }, "IPv6SubnetMax fc00::1 is not where a /64 subnet (IPv6SubnetLen) starts"],
    [4, "10.0.0.0/16", { min: "10.0.9.0", max: "10.0.8.0" }, "SubnetMin must not be above SubnetMax"],
  ])("IPv%d %s %j", (family, network, wanted, message) => {
    expect(() => range(family, network, wanted)).toThrow(message);
  });
});

test("by default the subnets fill the network but for the first", () => {
  const network = fc
    .constantFrom<Family>(4, 6)
    .chain((family) =>
      fc
        .tuple(
          fc.bigInt(0n, 2n ** BigInt(ADDRESS_BITS[family]) - 1n),
          fc.integer({ min: 1, max: ADDRESS_BITS[family] - 4 }),
        )
        .map(([value, length]) => makePrefix(addressFromBigInt(value, family), length)),
    );
  fc.assert(
    fc.property(network, fc.integer({ min: 2, max: 126 }), (prefix, more) => {
      const { family } = prefix;
      const wanted = prefix.length + more <= ADDRESS_BITS[family] - 2 ? prefix.length + more : undefined;
      const fields = { network: prefix, subnetLength: wanted, subnetMin: undefined, subnetMax: undefined };
      const found = networkRange(family, fields, (text) => new Error(text));
      const lowest = makePrefix(found.subnetMin, found.subnetLength);
      const highest = makePrefix(found.subnetMax, found.subnetLength);
      if (wanted !== undefined) expect(found.subnetLength).toBe(wanted);
      expect(containsPrefix(prefix, lowest) && containsPrefix(prefix, highest)).toBe(true);
      // Least: the first is left out, so four subnets leave three.
      const size = 2n ** BigInt(ADDRESS_BITS[family] - found.subnetLength);
      const count = (addressToBigInt(found.subnetMax) - addressToBigInt(found.subnetMin)) / size + 1n;
      expect(count).toBe(2n ** BigInt(found.subnetLength - prefix.length) - 1n);
    }),
  );
});
