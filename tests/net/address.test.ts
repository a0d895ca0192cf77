import { describe, expect, test } from "bun:test";
import { isIP } from "node:net";
import fc from "fast-check";
import {
  addressFromBigInt,
  addressFromBytes,
  addressToBigInt,
  addressToBytes,
  familyOf,
  parseAddress,
} from "../../src/net/address.ts";
import { anyAddress, anyFamily } from "./arbitraries.ts";
import { address } from "./values.ts";

describe("parseAddress", () => {
  test.each([
    ["0.0.0.0", "0.0.0.0"],
    ["255.255.255.255", "255.255.255.255"],
    ["10.244.0.1", "10.244.0.1"],
    ["::", "::"],
    ["::1", "::1"],
    ["FE80::A", "fe80::a"],
    ["2001:DB8::0:1", "2001:db8::1"],
    ["0:0:0:0:0:0:0:0", "::"],
    ["0001:0002:0003:0004:0005:0006:0007:0008", "1:2:3:4:5:6:7:8"],
    // The longest run of zeros is shortened, the first of two, and none of a single group (RFC 5952, 4.2).
    ["1:0:0:2:0:0:0:3", "1:0:0:2::3"],
    ["1:0:0:2:3:0:0:4", "1::2:3:0:0:4"],
    ["1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"],
    ["::1:2:3:4:5:6:7", "0:1:2:3:4:5:6:7"],
    ["::ffff:1.2.3.4", "::ffff:102:304"],
    ["::1.2.3.4", "::102:304"],
    ["64:ff9b::192.0.2.33", "64:ff9b::c000:221"],
    ["1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304"],
  ])("%s is %s", (text, canonical) => {
    expect(parseAddress(text)).toBe(canonical as ReturnType<typeof address>);
  });

  // What Go's net.ParseIP refuses and more lenient parsers (inet_aton, ipaddr.js) take.
  test.each([
    "",
    "1",
    "1.2.3",
    "1.2.3.4.5",
    "1.2.3.256",
    "1.2.3.1000",
    "01.2.3.4",
    "1.2.3.00",
    "0x1.2.3.4",
    "1.2.3.-4",
    "+1.2.3.4",
    "1.2.3.4 ",
    " 1.2.3.4",
    "1.2.3.4\n",
    "1..2.3",
    "16909060",
    "\u0661.2.3.4",
    ":",
    ":::",
    "1:",
    "::1:",
    ":1:2:3:4:5:6:7:8",
    "1::2::3",
    "1:2:3:4:5:6:7",
    "1:2:3:4:5:6:7:8:9",
    "1:2:3:4:5:6:7::8",
    "00001::",
    "::g",
    "::-1",
    "::0x1",
    "[::1]",
    "fe80::1%eth0",
    "::1/64",
    "::ffff:1.2.3",
    "::ffff:01.2.3.4",
    "::ffff:256.1.1.1",
    "::ffff:1.2.3.4.5",
    "1:2:3:4:5:6:7:1.2.3.4",
    "1::1.2.3.4:5",
  ])("refuses %j", (text) => {
    expect(parseAddress(text)).toBeUndefined();
  });

  test("takes what the runtime's own parser takes, zones aside", () => {
    const part = fc.constantFrom("0", "1", "10", "255", "256", "01", "ffff", "10000", "db8", "", "1.2.3.4", "0.0.0.0");
    const texts = fc
      .tuple(fc.array(part, { minLength: 1, maxLength: 9 }), fc.constantFrom(".", ":"))
      .map(([parts, separator]) => parts.join(separator));
    fc.assert(
      fc.property(fc.oneof(texts, fc.ipV4(), fc.ipV6(), fc.string()), (text) => {
        fc.pre(!text.includes("%"));
        expect(parseAddress(text) !== undefined).toBe(isIP(text) !== 0);
      }),
      { numRuns: 2_000 },
    );
  });
});

describe("an address", () => {
  const anyOne = anyFamily.chain(anyAddress);

  test("is its own canonical text", () => {
    fc.assert(fc.property(anyOne, (one) => expect(parseAddress(one)).toBe(one)));
  });

  test("survives bytes and numbers", () => {
    fc.assert(
      fc.property(anyOne, (one) => {
        expect(addressToBytes(one)).toHaveLength(familyOf(one) === 4 ? 4 : 16);
        expect(addressFromBytes(addressToBytes(one))).toBe(one);
        expect(addressFromBigInt(addressToBigInt(one), familyOf(one))).toBe(one);
      }),
    );
  });

  test("is written as the URL standard writes it, which follows RFC 5952 too", () => {
    fc.assert(fc.property(anyAddress(6), (one) => expect(new URL(`http://[${one}]/`).hostname).toBe(`[${one}]`)));
  });

  test("has one text for all spellings", () => {
    fc.assert(
      fc.property(anyAddress(6), fc.boolean(), (one, upper) => {
        const bytes = [...addressToBytes(one)].map((byte) => byte.toString(16).padStart(2, "0"));
        const long = Array.from({ length: 8 }, (_, group) => bytes.slice(2 * group, 2 * group + 2).join("")).join(":");
        expect(parseAddress(upper ? long.toUpperCase() : long)).toBe(one);
      }),
    );
  });

  test("is ordered by its number", () => {
    expect(addressToBigInt(address("0.0.1.0"))).toBe(256n);
    expect(addressToBigInt(address("::1:0"))).toBe(65536n);
    expect(addressFromBigInt(2n ** 32n - 1n, 4)).toBe(address("255.255.255.255"));
  });

  test("is not made of other lengths or numbers", () => {
    expect(() => addressFromBytes(new Uint8Array(5))).toThrow("4 or 16 bytes, not 5");
    expect(() => addressFromBigInt(-1n, 4)).toThrow(RangeError);
    expect(() => addressFromBigInt(2n ** 32n, 4)).toThrow("no IPv4 address has the number 4294967296");
    expect(() => addressFromBigInt(2n ** 128n, 6)).toThrow(RangeError);
  });
});
