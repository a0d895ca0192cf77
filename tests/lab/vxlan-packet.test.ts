import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { decodeFrame, formatVxlanPing } from "../../src/cli/lab/vxlan-packet.ts";
import { REPLY, REQUEST, REQUEST6, withoutVxlan } from "./frames.ts";

/** tcpdump on the captured frame: `IP 10.244.84.2 > 10.244.18.2: ICMP echo request, id 20102, seq 1, length 64`. */
const ECHO = {
  source: "10.244.84.2",
  destination: "10.244.18.2",
  kind: "request",
  id: 20102,
  sequence: 1,
  length: 64,
};
const OUTER = {
  source: "192.0.2.1",
  sourcePort: 32861,
  destination: "192.0.2.2",
  destinationPort: 8472,
  flags: 0x08,
  vni: 1,
};

const ECHO6 = {
  source: "fd00:10:244:61::2",
  destination: "fd00:10:244:23::2",
  kind: "request",
  id: 1379,
  sequence: 1,
  length: 64,
};
const OUTER6 = { ...OUTER, source: "2001:db8::1", sourcePort: 60972, destination: "2001:db8::2" };

function changed(frame: Uint8Array, ...changes: readonly (readonly [offset: number, byte: number])[]): Uint8Array {
  const copy = frame.slice();
  for (const [offset, byte] of changes) copy[offset] = byte;
  return copy;
}

describe("decodeFrame", () => {
  test("reads a captured ping in VXLAN", () => {
    expect<unknown>(decodeFrame(REQUEST)).toEqual({ echo: ECHO, outer: OUTER });
  });

  test("reads its answer", () => {
    expect(decodeFrame(REPLY)?.echo.kind).toBe("reply");
    expect<unknown>(decodeFrame(REPLY)?.outer?.source).toBe("192.0.2.2");
  });

  test("reads a ping that is not in VXLAN", () => {
    expect<unknown>(decodeFrame(withoutVxlan(REQUEST))).toEqual({ echo: ECHO });
  });

  test("reads both over IPv6, too", () => {
    expect<unknown>(decodeFrame(REQUEST6)).toEqual({ echo: ECHO6, outer: OUTER6 });
    expect<unknown>(decodeFrame(withoutVxlan(REQUEST6, 6))).toEqual({ echo: ECHO6 });
    expect(decodeFrame(changed(REQUEST6, [124, 129]))?.echo.kind).toBe("reply");
  });

  test("reads a frame in the middle of a larger buffer", () => {
    const buffer = new Uint8Array(500).fill(0xff);
    buffer.set(REQUEST, 100);
    expect(decodeFrame(buffer.subarray(100, 100 + REQUEST.length))).toEqual(decodeFrame(REQUEST));
  });

  test("ignores the padding of a short frame", () => {
    const padded = new Uint8Array(REQUEST.length + 6);
    padded.set(withoutVxlan(REQUEST));
    expect(decodeFrame(padded)?.echo.length).toBe(64);
  });

  test("reads a VNI of 24 bits and the flag of a group policy", () => {
    const outer = decodeFrame(changed(REQUEST, [42, 0x88], [46, 0xff], [47, 0xff], [48, 0xfe]))?.outer;
    expect(outer).toMatchObject({ vni: 0xfffffe, flags: 0x88 });
  });

  test.each<[string, Uint8Array]>([
    ["an empty frame", new Uint8Array(0)],
    ["a frame that is no IPv4", changed(REQUEST, [12, 0x86], [13, 0xdd])],
    ["an IP version that is not 4", changed(REQUEST, [14, 0x65])],
    ["an IP header shorter than the least", changed(REQUEST, [14, 0x44])],
    ["a length beyond the frame", changed(REQUEST, [16, 0x10])],
    ["a fragment that is not the first", changed(REQUEST, [21, 0x10])],
    ["another protocol than UDP", changed(REQUEST, [23, 6])],
    ["another port", changed(REQUEST, [37, 0x19])],
    ["no valid VNI", changed(REQUEST, [42, 0x00])],
    ["an inner frame that is no IPv4", changed(REQUEST, [62, 0x08], [63, 0x06])],
    ["an inner packet that is no ICMP", changed(REQUEST, [73, 17])],
    ["an ICMP message that is no echo", changed(REQUEST, [84, 3])],
    ["an IP version that is not 6", changed(REQUEST6, [14, 0x45])],
    ["a length beyond the frame, over IPv6", changed(REQUEST6, [18, 0x10])],
    ["another protocol than UDP, over IPv6", changed(REQUEST6, [20, 6])],
    ["an inner packet that is no ICMPv6", changed(REQUEST6, [90, 1])],
    ["an ICMPv6 message that is no echo", changed(REQUEST6, [124, 8])],
  ])("takes %s for none", (_, frame) => {
    expect(decodeFrame(frame)).toBeUndefined();
  });

  test.each([
    ["IPv4", REQUEST],
    ["IPv6", REQUEST6],
  ])("takes a truncated frame for none, wherever it ends: %s", (_, frame) => {
    for (let length = 0; length < frame.length; length++) {
      expect(decodeFrame(frame.subarray(0, length))).toBeUndefined();
    }
  });

  test("never fails, whatever the bytes", () => {
    const flips = fc.array(fc.tuple(fc.nat(REQUEST.length - 1), fc.nat(255)), { maxLength: 8 });
    const frames = fc.constantFrom(REQUEST, REQUEST6);
    fc.assert(
      fc.property(frames, flips, fc.nat(REQUEST6.length), (frame, changes, length) => {
        decodeFrame(changed(frame, ...changes).subarray(0, length));
      }),
    );
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => void decodeFrame(bytes)));
  });
});

describe("formatVxlanPing", () => {
  const seen = decodeFrame(REQUEST);
  if (seen?.outer === undefined) throw new Error("the captured frame is not read");
  const { outer, echo } = seen;
  const noon = new Date(2026, 0, 2, 12, 0, 1, 123).getTime();

  test("prints what tcpdump would", () => {
    expect(formatVxlanPing(outer, echo, noon + 0.456)).toBe(
      "12:00:01.123456 IP 192.0.2.1.32861 > 192.0.2.2.8472: VXLAN, flags [I] (0x08), vni 1: " +
        "IP 10.244.84.2 > 10.244.18.2: ICMP echo request, id 20102, seq 1, length 64",
    );
  });

  test("prints what tcpdump would of IPv6", () => {
    const six = decodeFrame(REQUEST6);
    expect(six?.outer && formatVxlanPing(six.outer, six.echo, noon)).toBe(
      "12:00:01.123000 IP6 2001:db8::1.60972 > 2001:db8::2.8472: VXLAN, flags [I] (0x08), vni 1: " +
        "IP6 fd00:10:244:61::2 > fd00:10:244:23::2: ICMP6, echo request, id 1379, seq 1, length 64",
    );
  });

  test.each([
    [noon, "12:00:01.123000 "],
    [noon - 123 + 0.001, "12:00:01.000001 "],
    [noon + 876.9999, "12:00:02.000000 "],
  ])("prints the time %p", (time, start) => {
    expect(formatVxlanPing(outer, echo, time)).toStartWith(start);
  });
});
