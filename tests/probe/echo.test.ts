import { expect, test } from "bun:test";
import fc from "fast-check";
import type { Family } from "../../src/net/family.ts";
import { answeredNumber, messageBytes, SMALL_BYTES, writeRequest } from "../../src/probe/echo.ts";

const MARK = { identifier: 0xbeef, cookie: 0xc001d00d };
const REPLIES: Readonly<Record<Family, number>> = { 4: 0, 6: 129 };

const u32 = fc.integer({ min: 0, max: 0xffffffff });
const family = fc.constantFrom<Family>(4, 6);

function reply(of: Family, number: number): Uint8Array {
  const message = new Uint8Array(SMALL_BYTES);
  writeRequest(message, of, MARK, number);
  message[0] = REPLIES[of];
  return message;
}

test("an answer is known by identifier, cookie and number, and nothing else is one", () => {
  fc.assert(
    fc.property(family, u32, fc.integer({ min: 0, max: SMALL_BYTES - 1 }), (of, number, at) => {
      const answer = reply(of, number);
      expect(answeredNumber(answer, of, MARK)).toBe(number);
      expect(answeredNumber(answer.subarray(0, at), of, MARK)).toBeUndefined();
      // A checksum that is wrong is the kernel's to find; the upper half of the number has no second copy.
      if (at === 2 || at === 3 || at === 12 || at === 13) return;
      const other = answer.slice();
      other[at] = (other[at] ?? 0) ^ 1;
      expect(answeredNumber(other, of, MARK)).toBeUndefined();
    }),
  );
});

test("an IPv4 request has the checksum of RFC 1071 whatever its length, an IPv6 one leaves it to the kernel", () => {
  fc.assert(
    fc.property(u32, u32, fc.integer({ min: 0, max: 0xffff }), (number, cookie, identifier) => {
      const message = new Uint8Array(1424);
      writeRequest(message, 4, { cookie, identifier }, number);
      let sum = 0;
      for (let at = 0; at < message.length; at += 2) sum += (message[at] ?? 0) * 256 + (message[at + 1] ?? 0);
      expect(sum % 0xffff).toBe(0);
      writeRequest(message, 6, { cookie, identifier }, number);
      expect([...message.subarray(0, 4)]).toEqual([128, 0, 0, 0]);
    }),
  );
});

test("a message of full size fills the packet", () => {
  expect(messageBytes(4, 1450)).toBe(1430);
  expect(messageBytes(6, 1430)).toBe(1390);
  expect(messageBytes(4, 20)).toBe(SMALL_BYTES);
});
