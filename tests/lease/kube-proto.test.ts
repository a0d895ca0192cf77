import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { splitFrames } from "../../src/lease/kube-frames.ts";
import {
  decodeNode,
  decodeNodeList,
  decodeStatus,
  decodeWatchEvent,
  isProtobuf,
  MalformedError,
} from "../../src/lease/kube-proto.ts";

type Value = number | string | Uint8Array;

function varint(value: number): number[] {
  const bytes: number[] = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return [...bytes, rest];
    bytes.push((rest % 128) + 128);
  }
}

/** A message of fields, each with its number: a number is written as a varint, the rest with its length. */
function message(...fields: readonly (readonly [number, Value])[]): Uint8Array {
  const bytes: number[] = [];
  for (const [number, value] of fields) {
    if (typeof value === "number") bytes.push(...varint(number * 8), ...varint(value));
    else {
      const content = typeof value === "string" ? new TextEncoder().encode(value) : value;
      bytes.push(...varint(number * 8 + 2), ...varint(content.length), ...content);
    }
  }
  return Uint8Array.from(bytes);
}

function envelope(content: Uint8Array): Uint8Array {
  return Uint8Array.from([
    0x6b,
    0x38,
    0x73,
    0,
    ...message([1, message([1, "v1"], [2, "Node"])], [2, content], [3, ""]),
  ]);
}

interface Sample {
  readonly name: string;
  readonly annotations: Readonly<Record<string, string>>;
  readonly podCIDRs: readonly string[];
}

function nodeMessage({ name, annotations, podCIDRs }: Sample): Uint8Array {
  const meta = message(
    [1, name],
    [2, ""],
    [5, "a-uid"],
    [6, "42"],
    [8, message([1, 1_700_000_000], [2, 5])],
    [11, message([1, "a-label"], [2, "x"])],
    ...Object.entries(annotations).map(([key, value]) => [12, message([1, key], [2, value])] as const),
    [17, message([1, "kubelet"], [7, message([1, "{}"])])],
  );
  const [first] = podCIDRs;
  const spec = message(
    ...(first === undefined ? [] : [[1, first] as const]),
    ...podCIDRs.map((cidr) => [7, cidr] as const),
  );
  return message([1, meta], [2, spec], [3, message([4, "conditions"], [8, "images".repeat(100)])]);
}

const WANTED = new Set(["example.com/a", "example.com/b"]);
const SAMPLE = {
  name: "n1",
  annotations: { "example.com/a": "1", other: "2" },
  podCIDRs: ["10.244.1.0/24", "fd00::/64"],
};

describe("a Node", () => {
  test("keeps what is needed of it", () => {
    expect(decodeNode(envelope(nodeMessage(SAMPLE)), WANTED)).toEqual({
      name: "n1",
      uid: "a-uid",
      resourceVersion: "42",
      createdAt: 1_700_000_000_000,
      annotations: { "example.com/a": "1" },
      podCIDRs: ["10.244.1.0/24", "fd00::/64"],
    });
  });

  test("of an old server has its only podCIDR", () => {
    expect(decodeNode(envelope(message([2, message([1, "10.244.1.0/24"])])), WANTED).podCIDRs).toEqual([
      "10.244.1.0/24",
    ]);
  });

  test("is as it was written, whatever its texts", () => {
    const keys = fc.constantFrom("example.com/a", "example.com/b");
    const samples = fc.array(
      fc.record({
        name: fc.string(),
        annotations: fc.dictionary(keys, fc.string({ unit: "grapheme" })),
        podCIDRs: fc.array(fc.string({ minLength: 1 })),
      }),
    );
    fc.assert(
      fc.property(samples, fc.string(), (nodes, token) => {
        const meta = message([2, "9"], [3, token], [4, 12]);
        const list = decodeNodeList(
          envelope(message([1, meta], ...nodes.map((node) => [2, nodeMessage(node)] as const))),
          WANTED,
        );
        expect(list).toMatchObject({
          resourceVersion: "9",
          continueToken: token,
          nodes: nodes.map((node) => ({ ...node })),
        });
      }),
    );
  });
});

test("an event of a watch has its type and its object, which may be a status", () => {
  const object = envelope(
    message([1, message()], [2, "Failure"], [3, "too old resource version"], [4, "Expired"], [6, 410]),
  );
  const event = decodeWatchEvent(message([1, "ERROR"], [2, message([1, object])]));
  expect(event.type).toBe("ERROR");
  expect(decodeStatus(event.object)).toEqual({ code: 410, reason: "Expired", message: "too old resource version" });
});

test("what is cut off or no protobuf at all is malformed, and never anything worse", () => {
  const good = envelope(message([1, message([2, "9"])], [2, nodeMessage(SAMPLE)]));
  const decodeAll = (bytes: Uint8Array) => {
    for (const decode of [
      () => decodeNodeList(bytes, WANTED),
      () => decodeWatchEvent(bytes),
      () => decodeStatus(bytes),
    ]) {
      try {
        decode();
      } catch (error) {
        expect(error).toBeInstanceOf(MalformedError);
      }
    }
  };
  expect(isProtobuf(new TextEncoder().encode("{}"))).toBe(false);
  expect(() => decodeNodeList(good.subarray(0, good.length - 20), WANTED)).toThrow(MalformedError);
  fc.assert(fc.property(fc.nat(good.length), (length) => decodeAll(good.subarray(0, length))));
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => decodeAll(bytes)));
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => decodeAll(envelope(bytes))));
});

describe("frames", () => {
  const framed = (frames: readonly Uint8Array[]) =>
    Uint8Array.from(frames.flatMap((frame) => [0, 0, frame.length >> 8, frame.length & 255, ...frame]));
  const collect = (chunks: Iterable<Uint8Array>) => Array.fromAsync(splitFrames(chunks), (frame) => [...frame]);

  test("are the same however the stream is cut into pieces", async () => {
    const frames = fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(frames, fc.array(fc.nat(2000)), async (wanted, cuts) => {
        const stream = framed(wanted);
        const at = [0, ...cuts.map((cut) => Math.min(cut, stream.length)).sort((a, b) => a - b), stream.length];
        const chunks = at.slice(1).map((end, i) => stream.subarray(at[i] ?? 0, end));
        expect(await collect(chunks)).toEqual(wanted.map((frame) => [...frame]));
      }),
    );
  });

  test("that are cut off or too long to be true are malformed", async () => {
    const stream = framed([Uint8Array.of(1, 2, 3)]);
    for (let length = 1; length < stream.length; length++) {
      await expect(collect([stream.subarray(0, length)])).rejects.toThrow(MalformedError);
    }
    await expect(collect([Uint8Array.of(0xff, 0xff, 0xff, 0xff)])).rejects.toThrow(MalformedError);
  });
});
