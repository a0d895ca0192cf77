import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { type Address, addressToBytes } from "../../src/net/address.ts";
import { ADDRESS_BITS } from "../../src/net/family.ts";
import {
  containsAddress,
  containsPrefix,
  formatPrefix,
  makePrefix,
  nthAddress,
  overlaps,
  type Prefix,
  parsePrefix,
  rangeOf,
  samePrefix,
  sizeOf,
  splitCidr,
} from "../../src/net/prefix.ts";
import { anyAddress, anyFamily, anyPrefix } from "./arbitraries.ts";
import { address, prefix } from "./values.ts";

/** The naive model: an address as a text of bits, a network as the texts that begin alike. */
function bitsOf(value: Address): string {
  return [...addressToBytes(value)].map((byte) => byte.toString(2).padStart(8, "0")).join("");
}
const networkBits = ({ address: first, length }: Prefix): string => bitsOf(first).slice(0, length);

const anyOne = anyFamily.chain(anyPrefix);
/** Two of one family, near each other often enough. */
const twoNear = anyFamily.chain((family) =>
  fc
    .tuple(anyPrefix(family), anyPrefix(family), fc.integer({ min: 0, max: ADDRESS_BITS[family] }))
    .chain(([a, b, n]) =>
      fc.constantFrom<[Prefix, Prefix]>([a, b], [a, makePrefix(a.address, n)], [makePrefix(b.address, n), b], [a, a]),
    ),
);

describe("parsePrefix", () => {
  test.each([
    ["10.244.0.0/16", "10.244.0.0/16"],
    ["10.244.3.7/16", "10.244.0.0/16"],
    ["0.0.0.0/0", "0.0.0.0/0"],
    ["255.255.255.255/0", "0.0.0.0/0"],
    ["10.0.0.1/32", "10.0.0.1/32"],
    ["FC00::1/48", "fc00::/48"],
    ["::/0", "::/0"],
    ["fc00::1/128", "fc00::1/128"],
  ])("%s is %s", (text, expected) => {
    const found = parsePrefix(text);
    expect(found && formatPrefix(found)).toBe(expected);
  });

  test.each([
    "",
    "/",
    "10.0.0.0",
    "10.0.0.0/",
    "10.0.0.0/33",
    "10.0.0.0/-1",
    "10.0.0.0/+8",
    "10.0.0.0/8 ",
    "10.0.0.0/0x8",
    "10.0.0.0/8/8",
    "10.0.0/8",
    "fc00::/129",
    "fc00::%eth0/64",
    "/24",
  ])("refuses %j", (text) => {
    expect(parsePrefix(text)).toBeUndefined();
    expect(splitCidr(text)).toBeUndefined();
  });

  test("splitCidr keeps the host bits", () => {
    expect(splitCidr("10.244.3.1/24")).toEqual({ address: address("10.244.3.1"), length: 24 });
  });
});

describe("a prefix", () => {
  test("survives its text", () => {
    fc.assert(fc.property(anyOne, (one) => expect(parsePrefix(formatPrefix(one))).toEqual(one)));
  });

  test("is the address with its host bits cleared", () => {
    fc.assert(
      fc.property(
        anyFamily.chain((family) => fc.tuple(anyAddress(family), fc.integer({ min: 0, max: ADDRESS_BITS[family] }))),
        ([value, length]) => {
          const made = makePrefix(value, length);
          expect(bitsOf(made.address)).toBe(bitsOf(value).slice(0, length).padEnd(ADDRESS_BITS[made.family], "0"));
          expect(containsAddress(made, value)).toBe(true);
        },
      ),
    );
  });

  test("contains what the bit-by-bit model says", () => {
    fc.assert(
      fc.property(twoNear, ([outer, inner]) => {
        const within = inner.length >= outer.length && networkBits(inner).startsWith(networkBits(outer));
        expect(containsPrefix(outer, inner)).toBe(within);
        expect(containsAddress(outer, inner.address)).toBe(bitsOf(inner.address).startsWith(networkBits(outer)));
        expect(samePrefix(outer, inner)).toBe(formatPrefix(outer) === formatPrefix(inner));
      }),
    );
  });

  test("overlaps another if their ranges of numbers meet, whichever is asked", () => {
    fc.assert(
      fc.property(twoNear, ([a, b]) => {
        const [x, y] = [rangeOf(a), rangeOf(b)];
        const meet = x.first <= y.last && y.first <= x.last;
        expect(overlaps(a, b)).toBe(meet);
        expect(overlaps(b, a)).toBe(meet);
      }),
    );
  });

  test("has as many addresses as its range, from first to last", () => {
    fc.assert(
      fc.property(anyOne, (one) => {
        const { first, last } = rangeOf(one);
        const size = sizeOf(one.family, one.length);
        expect(last - first + 1n).toBe(size);
        expect(nthAddress(one, 0n)).toBe(one.address);
        expect(containsAddress(one, nthAddress(one, size - 1n))).toBe(true);
        const isLast = last === sizeOf(one.family, 0) - 1n;
        if (isLast) expect(() => nthAddress(one, size)).toThrow(RangeError);
        else expect(containsAddress(one, nthAddress(one, size))).toBe(false);
      }),
    );
  });

  test("of one family holds nothing of the other", () => {
    expect(containsAddress(prefix("0.0.0.0/0"), address("::"))).toBe(false);
    expect(containsAddress(prefix("::/0"), address("1.2.3.4"))).toBe(false);
    expect(overlaps(prefix("::/0"), prefix("0.0.0.0/0"))).toBe(false);
    expect(nthAddress(prefix("10.244.3.0/24"), 1n)).toBe(address("10.244.3.1"));
  });
});
