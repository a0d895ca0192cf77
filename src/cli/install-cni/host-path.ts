import { readlinkSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";

/** As many as the kernel follows. */
const MOST_LINKS = 40;

/**
 * Where a path of the host is in this mount namespace, with the host's root mounted at `root`: links are followed as they
 * are on the host, where `/` is that root.
 * @returns undefined if there is no such file
 */
export function hostPath(root: string, path: string): string | undefined {
  let links = 0;
  let at = "/";
  const left = path.split("/");
  for (let name = left.shift(); name !== undefined; name = left.shift()) {
    if (name === "") continue;
    // ".." does not lead out of the root.
    const next = resolve(at, name);
    const target = linkTarget(join(root, next));
    if (target === undefined) {
      at = next;
      continue;
    }
    links++;
    if (links > MOST_LINKS) return undefined;
    at = target.startsWith("/") ? "/" : dirname(next);
    left.unshift(...target.split("/"));
  }
  const found = join(root, at);
  return statSync(found, { throwIfNoEntry: false }) === undefined ? undefined : found;
}

function linkTarget(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    // It is no link, or is missing.
    return undefined;
  }
}
