// Takes a lease in the embedded store at PATH while its file system is STATE (`full` or `read-only`), prints the error, and
// takes it once the file system is in order again; fails if it can't: `bun bad-disk.ts PATH STATE`. A process that the
// tests start in a mount namespace of its own, where the store's folder is a small tmpfs.
import { rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { openEmbeddedStore } from "../../src/lease/embedded.ts";
import { NETWORK, readSampleNetwork, requestOf } from "./samples.ts";

const [path = "", state] = process.argv.slice(2);
const folder = dirname(path);
const filler = join(folder, "filler");

const remount = (mode: string) => Bun.spawnSync(["mount", "-o", `remount,${mode}`, folder]);

const disturb: Readonly<Record<string, () => void>> = {
  full: () => {
    try {
      writeFileSync(filler, new Uint8Array(1 << 20));
    } catch {
      // It took what was left.
    }
  },
  "read-only": () => remount("ro"),
};

async function acquire(n: number): Promise<void> {
  const source = openEmbeddedStore({ readNetwork: readSampleNetwork, path });
  try {
    await source.acquire(requestOf(n), NETWORK, new AbortController().signal);
  } finally {
    source.close();
  }
}

await acquire(1);
disturb[state ?? ""]?.();
try {
  await acquire(2);
  console.log("no error");
} catch (error) {
  console.log(error instanceof Error ? error.message : error);
}
remount("rw");
rmSync(filler, { force: true });
await acquire(2);
