import { existsSync } from "node:fs";
import { join } from "node:path";

const ROOT = join(import.meta.dir, "..", "..");
const SBIN = ["/usr/sbin", "/sbin"];

/** A command of a Debian package that the set-up unpacked into the checkout, else the system's; undefined without either. */
export function unpackedCommand(name: string, packageName: string): string | undefined {
  const folders = ["usr/bin", "usr/sbin"].map((folder) => join(ROOT, ".cache", "debs", packageName, folder));
  const found = [...folders, ...SBIN].map((folder) => join(folder, name)).find((path) => existsSync(path));
  return found ?? Bun.which(name) ?? undefined;
}
