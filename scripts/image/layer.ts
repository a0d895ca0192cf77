// One layer of an image: a compressed archive, and its digests.
import { tar } from "./tar.ts";
import type { Tree } from "./tree.ts";

/** Bytes with the digest that they are known by. */
export interface Blob {
  readonly content: Uint8Array<ArrayBuffer>;
  /** `sha256:…` */
  readonly digest: string;
}

export interface Layer extends Blob {
  /** what is in it, for the image's history */
  readonly comment: string;
  /** the digest before compression */
  readonly diffId: string;
}

export function blob(content: Uint8Array<ArrayBuffer> | string): Blob {
  const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
  return { content: bytes, digest: digest(bytes) };
}

/** @param mtime seconds since 1970 */
export function layer(comment: string, tree: Tree, mtime: number): Layer {
  const archive = tar(tree, mtime);
  // gzip, since containerd 1.6 and every docker read it. Of libdeflate because its output is the same on every machine;
  // level 12 would save one in fifty bytes for five times the time.
  const content = Bun.gzipSync(archive, { library: "libdeflate", level: 9 });
  return { ...blob(content), comment, diffId: digest(archive) };
}

function digest(bytes: Uint8Array): string {
  return `sha256:${new Bun.CryptoHasher("sha256").update(bytes).digest("hex")}`;
}
