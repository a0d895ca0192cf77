// The image's files as files, for a builder that makes layers of its own (manifests/Dockerfile).
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { complete, type Tree } from "./tree.ts";

/** @throws Error if `folder` is there */
export function writeTree(tree: Tree, folder: string): void {
  mkdirSync(folder);
  for (const [path, entry] of complete(tree)) {
    const target = join(folder, path);
    if (entry.type === "symlink") symlinkSync(entry.target, target);
    else if (entry.type === "directory") mkdirSync(target);
    else writeFileSync(target, entry.content);
    // Whatever the umask.
    if (entry.type !== "symlink") chmodSync(target, entry.mode);
  }
}
