import { describe, expect, test } from "bun:test";
import { OverlayEvidence } from "../../src/cli/lab/evidence.ts";
import { type Address, parseAddress } from "../../src/net/address.ts";
import { REPLY, REQUEST, REQUEST6, withoutVxlan } from "./frames.ts";

function endpoint(pod: string, node: string): { podAddress: Address; publicIP: Address } {
  const podAddress = parseAddress(pod);
  const publicIP = parseAddress(node);
  if (podAddress === undefined || publicIP === undefined) throw new Error(`no addresses: ${pod}, ${node}`);
  return { podAddress, publicIP };
}

const A = endpoint("10.244.84.2", "192.0.2.1");
const B = endpoint("10.244.18.2", "192.0.2.2");
const at = () => 0;

/** The request in the other direction: with the ends exchanged in both headers. */
function backwards(frame: Uint8Array): Uint8Array {
  return exchanged(frame, 4, [26, 76]);
}

function backwards6(frame: Uint8Array): Uint8Array {
  return exchanged(frame, 16, [22, 92]);
}

/** @param offsets of the sources; the destinations follow them */
function exchanged(frame: Uint8Array, bytes: number, offsets: readonly number[]): Uint8Array {
  const copy = frame.slice();
  for (const offset of offsets) {
    copy.set(frame.subarray(offset + bytes, offset + 2 * bytes), offset);
    copy.set(frame.subarray(offset, offset + bytes), offset + bytes);
  }
  return copy;
}

function evidenceOf(...frames: readonly Uint8Array[]): OverlayEvidence {
  const evidence = new OverlayEvidence([A, B]);
  for (const frame of frames) evidence.observe(frame, at);
  return evidence;
}

describe("OverlayEvidence", () => {
  test("is convinced once every pair was seen in VXLAN", () => {
    expect(evidenceOf(REQUEST).encapsulated).toBeFalse();
    expect(evidenceOf(REQUEST, backwards(REQUEST)).encapsulated).toBeTrue();
  });

  test("keeps the first request as its line", () => {
    const { lines } = evidenceOf(REPLY, backwards(REQUEST), REQUEST);
    expect(lines).toContain("IP 192.0.2.2.32861 > 192.0.2.1.8472: VXLAN");
    expect(lines).toContain("IP 10.244.18.2 > 10.244.84.2: ICMP echo request");
  });

  test("is not convinced by nothing", () => {
    expect(evidenceOf().encapsulated).toBeFalse();
    expect(evidenceOf().lines).toBeUndefined();
  });

  test("takes no answer for a request", () => {
    expect(evidenceOf(REQUEST, REPLY).encapsulated).toBeFalse();
  });

  test("is not convinced when a ping also travels outside of VXLAN", () => {
    const { encapsulated, lines } = evidenceOf(REQUEST, backwards(REQUEST), withoutVxlan(REQUEST));
    expect(encapsulated).toBeFalse();
    expect(lines).toBeDefined();
  });

  test("does not count a tunnel between other nodes than the pods'", () => {
    const evidence = new OverlayEvidence([A, endpoint("10.244.18.2", "192.0.2.3")]);
    evidence.observe(REQUEST, at);
    evidence.observe(backwards(REQUEST), at);
    expect(evidence.encapsulated).toBeFalse();
    expect(evidence.lines).toBeUndefined();
  });

  test("does not count pings of strangers, in VXLAN or not", () => {
    const evidence = new OverlayEvidence([endpoint("10.244.1.2", "192.0.2.1"), endpoint("10.244.2.2", "192.0.2.2")]);
    evidence.observe(REQUEST, at);
    evidence.observe(withoutVxlan(REQUEST), at);
    expect(evidence.lines).toBeUndefined();
  });

  test("wants every pair of each family, and none across them", () => {
    const six = [endpoint("fd00:10:244:61::2", "2001:db8::1"), endpoint("fd00:10:244:23::2", "2001:db8::2")];
    const evidence = new OverlayEvidence([A, B, ...six]);
    for (const frame of [REQUEST6, REQUEST, backwards(REQUEST)]) evidence.observe(frame, at);
    expect(evidence.encapsulated).toBeFalse();
    evidence.observe(backwards6(REQUEST6), at);
    expect(evidence.encapsulated).toBeTrue();
    const [first, second] = (evidence.lines ?? "").split("\n");
    expect(first).toContain(" IP 192.0.2.1.");
    expect(second).toContain(" IP6 2001:db8::1.");
  });
});
