import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { isUnicastMac, macFromBytes, macToBytes, parseMac, randomMac } from "../../src/net/mac.ts";
import { anyMac } from "./arbitraries.ts";
import { mac } from "./values.ts";

describe("parseMac", () => {
  test.each([
    ["0a:1b:2c:3d:4e:5f", "0a:1b:2c:3d:4e:5f"],
    ["0A:1B:2C:3D:4E:5F", "0a:1b:2c:3d:4e:5f"],
    ["0a-1b-2c-3d-4e-5f", "0a:1b:2c:3d:4e:5f"],
  ])("%s is %s", (text, expected) => {
    expect(parseMac(text)).toBe(expected as ReturnType<typeof mac>);
  });

  test.each([
    "",
    "0a:1b:2c:3d:4e",
    "0a:1b:2c:3d:4e:5f:60",
    "0a:1b:2c:3d:4e:5g",
    "a:1b:2c:3d:4e:5f",
    "0a1b2c3d4e5f",
    " 0a:1b:2c:3d:4e:5f",
    "0a:1b:2c:3d:4e:5f\n",
  ])("refuses %j", (text) => {
    expect(parseMac(text)).toBeUndefined();
  });
});

test("an Ethernet address survives its text and its bytes", () => {
  fc.assert(
    fc.property(anyMac, (one) => {
      expect(parseMac(one.toUpperCase())).toBe(one);
      expect(macFromBytes(macToBytes(one))).toBe(one);
    }),
  );
  expect(() => macFromBytes(new Uint8Array(8))).toThrow("6 bytes, not 8");
});

test.each([
  ["00:00:00:00:00:00", false],
  ["ff:ff:ff:ff:ff:ff", false],
  ["01:00:5e:00:00:01", false],
  ["33:33:00:00:00:01", false],
  ["00:00:00:00:00:01", true],
  ["02:42:ac:11:00:02", true],
])("%s is the address of one station: %p", (text, expected) => {
  expect(isUnicastMac(mac(text))).toBe(expected);
});

test("random addresses are local, of one station, and not alike", () => {
  const made = Array.from({ length: 200 }, randomMac);
  for (const one of made) {
    expect(isUnicastMac(one)).toBe(true);
    expect((macToBytes(one)[0] ?? 0) & 0x02).toBe(0x02);
  }
  expect(new Set(made).size).toBe(200);
});
