// Files that make a system of it, though one without shell and package manager.
import { lstatSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { ImageError } from "./commands.ts";
import type { DebianPackage } from "./debian.ts";
import type { Platform } from "./platforms.ts";
import { directory, type Entry, file, symlink, type Tree } from "./tree.ts";

const AUTHORITIES = "usr/share/ca-certificates/mozilla";
const LICENCES = "usr/share/common-licenses";

/** What belongs to nobody else: folders, links between them, users. */
export function skeleton({ architecture }: Platform): Tree {
  return new Map<string, Entry>([
    // As on an installed Debian. The loader's own folder has a name of the machine.
    ...["bin", "lib", "sbin"].map((name) => [name, symlink(`usr/${name}`)] as const),
    ["usr/bin", directory()],
    ...(architecture === "amd64" ? [["lib64", symlink("usr/lib64")] as const] : []),
    ["etc/group", file("root:x:0:\nnogroup:x:65534:\n")],
    ["etc/nsswitch.conf", file("passwd: files\ngroup: files\nhosts: files dns\n")],
    [
      "etc/passwd",
      file("root:x:0:0:root:/root:/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin\n"),
    ],
    // What containers get mounted: a read-only root file system needs places for it.
    ...["dev", "proc", "run", "sys"].map((name) => [name, directory()] as const),
    ["root", directory(0o700)],
    ["tmp", directory(0o1777)],
    ["var/run", symlink("/run")],
  ]);
}

/** The program loader, under the name that is written into every program. */
export function loader({ architecture, triplet }: Platform): Tree {
  return architecture === "amd64"
    ? new Map([["usr/lib64/ld-linux-x86-64.so.2", symlink(`../lib/${triplet}/ld-linux-x86-64.so.2`)]])
    : new Map([["usr/lib/ld-linux-aarch64.so.1", symlink(`${triplet}/ld-linux-aarch64.so.1`)]]);
}

/** One file of all authorities, as update-ca-certificates would make it. */
export function authorities({ folder }: DebianPackage): Tree {
  const names = readdirSync(join(folder, AUTHORITIES)).filter((name) => name.endsWith(".crt"));
  const texts = names.sort().map((name) => readFileSync(join(folder, AUTHORITIES, name), "utf8"));
  return new Map([["etc/ssl/certs/ca-certificates.crt", file(texts.map((text) => `${text.trimEnd()}\n`).join(""))]]);
}

/** The common licences, to which Debian's packages refer, and what Debian it is. @throws ImageError if not Debian 12 */
export function debianItself({ folder }: DebianPackage): Tree {
  const release = readFileSync(join(folder, "usr/lib/os-release"));
  if (!/^VERSION_ID="?12"?$/m.test(release.toString())) {
    throw new ImageError("apt's sources are not those of Debian 12 (bookworm): build where they are");
  }
  const licences = readdirSync(join(folder, LICENCES)).map((name): [string, Entry] => {
    const path = join(folder, LICENCES, name);
    const isLink = lstatSync(path).isSymbolicLink();
    return [join(LICENCES, name), isLink ? symlink(readlinkSync(path)) : file(readFileSync(path))];
  });
  return new Map([
    ...licences,
    ["usr/lib/os-release", file(release)],
    ["etc/os-release", symlink("../usr/lib/os-release")],
  ]);
}
