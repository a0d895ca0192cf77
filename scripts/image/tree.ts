// Files of the image before they are packed: by path, with what tar keeps of them and is the same everywhere.
import { dirname } from "node:path";

export type Entry =
  | { readonly type: "file"; readonly content: Uint8Array; readonly mode: number }
  | { readonly type: "symlink"; readonly target: string }
  | { readonly type: "directory"; readonly mode: number };

/** By path without a leading slash. What is not in it, but above something that is, is an ordinary directory. */
export type Tree = ReadonlyMap<string, Entry>;

export const file = (content: Uint8Array | string, mode = 0o644): Entry => ({
  type: "file",
  content: typeof content === "string" ? new TextEncoder().encode(content) : content,
  mode,
});
export const symlink = (target: string): Entry => ({ type: "symlink", target });
export const directory = (mode = 0o755): Entry => ({ type: "directory", mode });

/** One of several. @throws Error if two have the same path */
export function join(...trees: readonly Tree[]): Tree {
  const whole = new Map<string, Entry>();
  for (const tree of trees) {
    for (const [path, entry] of tree) {
      if (whole.has(path)) throw new Error(`the image would hold ${path} twice`);
      whole.set(path, entry);
    }
  }
  return whole;
}

/** With all directories, sorted by path: every directory comes before what is in it. */
export function complete(tree: Tree): [path: string, entry: Entry][] {
  const whole = new Map(tree);
  for (const path of tree.keys()) {
    for (let above = dirname(path); above !== "."; above = dirname(above)) {
      const entry = whole.get(above);
      if (entry === undefined) whole.set(above, directory());
      else if (entry.type !== "directory") throw new Error(`${path} would be under ${above}, which is a ${entry.type}`);
    }
  }
  return [...whole].sort(([a], [b]) => (a < b ? -1 : 1));
}

/** bytes of all files */
export function sizeOf(tree: Tree): number {
  return tree.values().reduce((sum, entry) => sum + (entry.type === "file" ? entry.content.length : 0), 0);
}
