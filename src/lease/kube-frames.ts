import { MalformedError } from "./kube-proto.ts";

/** bytes; the API server's own limit of an object is 1.5 MiB */
const LARGEST = 1 << 24;

/** Cuts a watch's stream into its frames: each has its length in front, in four bytes, the highest first. */
export async function* splitFrames(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  let rest = new Uint8Array();
  for await (const chunk of chunks) {
    let at = 0;
    const bytes = rest.length === 0 ? chunk : concat(rest, chunk);
    for (;;) {
      const left = bytes.length - at;
      const length = left < 4 ? 0 : new DataView(bytes.buffer, bytes.byteOffset + at, 4).getUint32(0);
      if (length > LARGEST) throw new MalformedError(`a frame has ${length} bytes`);
      if (left < 4 + length || left < 4) break;
      yield bytes.subarray(at + 4, at + 4 + length);
      at += 4 + length;
    }
    rest = bytes.slice(at);
  }
  if (rest.length > 0) throw new MalformedError("the last frame is cut off");
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(a.length + b.length);
  bytes.set(a);
  bytes.set(b, a.length);
  return bytes;
}
