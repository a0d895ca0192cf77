import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { NLM_F_ACK_TLVS, NLM_F_CAPPED, NLMSG_DONE, NLMSG_ERROR } from "../../src/ffi/constants.ts";
import { answersOf } from "../../src/ffi/libnl/answer.ts";
import { attributesOf, messagesOf, textOf, u16, u16be, u32 } from "../../src/ffi/libnl/wire.ts";
import * as packet from "./packets.ts";

describe("messages of a datagram", () => {
  test("come with their header's fields, in order, whatever their padding", () => {
    const bytes = packet.datagram(
      packet.message(16, [1, 2, 3], { flags: 0x302, sequence: 0x7fffffff }),
      packet.message(3, []),
      packet.message(24, [9, 9, 9, 9], { sequence: 5 }),
    );
    expect([...messagesOf(bytes)].map((one) => ({ ...one, payload: [...one.payload] }))).toEqual([
      { type: 16, flags: 0x302, sequence: 0x7fffffff, payload: [1, 2, 3] },
      { type: 3, flags: 0, sequence: 0, payload: [] },
      { type: 24, flags: 0, sequence: 5, payload: [9, 9, 9, 9] },
    ]);
  });

  test("are found in a view of a larger buffer", () => {
    const bytes = packet.datagram([7, 7, 7], packet.message(16, [1]), [8]);
    expect([...messagesOf(bytes.subarray(3, -1))].map(({ type }) => type)).toEqual([16]);
  });

  test.each<[string, number[]]>([
    ["too short a length", packet.u32(15)],
    ["a length of zero", packet.u32(0)],
    ["a length beyond the end", packet.u32(4096)],
    ["half a header", packet.u32(16).concat(1, 2)],
  ])("end at %s", (_, damage) => {
    const rest = damage.length < 6 ? [...damage, ...new Array<number>(12).fill(1)] : damage;
    const bytes = packet.datagram(packet.message(16, [1]), rest);
    expect([...messagesOf(bytes)].map(({ type }) => type)).toEqual([16]);
  });
});

describe("attributes", () => {
  test("come without the flags in their type, in order, whatever their padding", () => {
    const nested = 0x8000;
    const networkOrder = 0x4000;
    const bytes = packet.datagram(
      [0, 0, 0, 0],
      packet.attribute(1, [5]),
      packet.attribute(18 | nested, packet.attribute(1 | networkOrder, [1, 2])),
      packet.attribute(23, []),
    );
    const found = attributesOf(bytes, 4);
    expect(found.map(({ type, value }) => [type, value.length])).toEqual([
      [1, 1],
      [18, 8],
      [23, 0],
    ]);
    expect(attributesOf(found[1]?.value ?? new Uint8Array()).map(({ type, value }) => [type, ...value])).toEqual([
      [1, 1, 2],
    ]);
  });

  test.each<[string, number[]]>([
    ["too short a length", [3, 0, 1, 0]],
    ["a length of zero", [0, 0, 0, 0, 0, 0, 0, 0]],
    ["a length beyond the end", [9, 0, 1, 0, 1, 2, 3, 4]],
    ["half a header", [8, 0]],
  ])("end at %s", (_, damage) => {
    expect(attributesOf(packet.datagram(packet.attribute(1, [5]), damage)).map(({ type }) => type)).toEqual([1]);
  });
});

test("numbers are read in the machine's and in network order, and are 0 beyond the end", () => {
  const bytes = Uint8Array.of(0x01, 0x02, 0xff, 0xff);
  expect(u16(bytes, 0)).toBe(0x0201);
  expect(u16be(bytes, 0)).toBe(0x0102);
  expect(u32(bytes, 0)).toBe(0xffff0201);
  expect(u32(bytes, 4)).toBe(0);
  expect(u32(bytes, 2)).toBe(0xffff);
});

test("a text ends at its zero, or where the bytes end", () => {
  expect(textOf(Uint8Array.from(packet.text("eth0")))).toBe("eth0");
  expect(textOf(Uint8Array.of(97, 0, 98))).toBe("a");
  expect(textOf(Uint8Array.of(97, 98))).toBe("ab");
  expect(textOf(new Uint8Array())).toBe("");
});

/** `struct nlmsgerr`: a negative errno and the header of the request, whose length counts the payload that was there. */
const refusal = (errno: number, original: number[]) => [...packet.u32(-errno >>> 0), ...original];

describe("answers", () => {
  const request = packet.message(24, [1, 2, 3, 4, 5], { sequence: 12 });
  const header = request.slice(0, 16);
  const words = packet.attribute(1, packet.text("Nexthop has invalid gateway"));

  test.each<[string, number, number[], string | undefined]>([
    ["without the kernel's words", 0, refusal(17, request), undefined],
    [
      "with them behind the whole request",
      NLM_F_ACK_TLVS,
      [...refusal(17, request), ...words],
      "Nexthop has invalid gateway",
    ],
    [
      "with them behind the header alone",
      NLM_F_ACK_TLVS | NLM_F_CAPPED,
      [...refusal(17, header), ...words],
      "Nexthop has invalid gateway",
    ],
    [
      "with other attributes only",
      NLM_F_ACK_TLVS | NLM_F_CAPPED,
      [...refusal(17, header), ...packet.attribute(2, [1, 0, 0, 0])],
      undefined,
    ],
  ])("%s", (_, flags, payload, expected) => {
    const bytes = packet.datagram(packet.message(NLMSG_ERROR, payload, { flags, sequence: 12 }));
    expect([...answersOf(bytes)]).toEqual([
      { sequence: 12, errno: 17, ...(expected === undefined ? {} : { text: expected }) },
    ]);
  });

  test("are told from other messages, and success from failure", () => {
    const bytes = packet.datagram(
      packet.message(NLMSG_DONE, packet.u32(0), { sequence: 1 }),
      packet.message(NLMSG_ERROR, refusal(0, header), { sequence: 2 }),
      packet.message(24, refusal(1, header), { sequence: 3 }),
      packet.message(NLMSG_ERROR, [1, 0, 0, 0], { sequence: 4 }),
    );
    expect([...answersOf(bytes)]).toEqual([{ sequence: 2, errno: 0 }]);
  });
});

describe("arbitrary bytes", () => {
  const anyBytes = fc.uint8Array({ maxLength: 512 });
  /** Lengths that fit get past the framing. */
  const anyAnswer = fc
    .tuple(fc.array(fc.nat(255), { maxLength: 120 }), fc.nat(0xffff))
    .map(([payload, flags]) => packet.datagram(packet.message(NLMSG_ERROR, payload, { flags })));

  test("never throw, and what is found lies within them, without overlap", () => {
    fc.assert(
      fc.property(fc.oneof(anyBytes, anyAnswer), (bytes) => {
        let end = 0;
        for (const { payload } of messagesOf(bytes)) {
          expect(payload.byteOffset - bytes.byteOffset).toBeGreaterThanOrEqual(end + 16);
          end = payload.byteOffset - bytes.byteOffset + payload.length;
          expect(end).toBeLessThanOrEqual(bytes.length);
          attributesOf(payload);
        }
        for (const { errno } of answersOf(bytes)) expect(errno).toBeInteger();
      }),
      { numRuns: 2_000 },
    );
  });

  test("that were framed come back", () => {
    const anyParts = fc.array(fc.tuple(fc.nat(0x3fff), fc.array(fc.nat(255), { maxLength: 20 })), { maxLength: 20 });
    fc.assert(
      fc.property(anyParts, (parts) => {
        const attributes = packet.datagram(...parts.map(([type, value]) => packet.attribute(type, value)));
        expect(attributesOf(attributes).map(({ type, value }) => [type, [...value]])).toEqual(parts);
        const messages = packet.datagram(...parts.map(([type, value]) => packet.message(type, value)));
        expect([...messagesOf(messages)].map(({ type, payload }) => [type, [...payload]])).toEqual(parts);
      }),
    );
  });
});
