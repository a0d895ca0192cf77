// What of Debian's packages goes into the image: the two programs of iptables, the libraries that are loaded, all that
// those need, and the licences of it all. Folders are as on an installed Debian, where /lib and /sbin are those of /usr.
import { existsSync, lstatSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { ImageError } from "./commands.ts";
import type { DebianPackage } from "./debian.ts";
import { readElf } from "./elf.ts";
import type { Platform } from "./platforms.ts";
import { type Entry, file, symlink, type Tree } from "./tree.ts";

/** The agent loads these by name, and glibc the last one. */
const LOADED = ["libnl-3.so.200", "libnl-route-3.so.200", "libnftables.so.1", "libgcc_s.so.1"];

const PROGRAMS = { legacy: "xtables-legacy-multi", nft: "xtables-nft-multi" } as const;

/** What goes into the image, by the package that it is of. */
export type Contents = ReadonlyMap<string, Tree>;

/** A file of a package, by its path on an installed system. */
interface Found {
  readonly owner: DebianPackage;
  readonly path: string;
  readonly source: string;
}

/**
 * @param executable of the image: what it needs goes in as well
 * @throws ImageError if the packages lack something
 */
export function contentsOf(packages: readonly DebianPackage[], platform: Platform, executable: Uint8Array): Contents {
  const contents = new Map(packages.map(({ name }) => [name, new Map<string, Entry>()]));
  const add = ({ owner, path }: Found, entry: Entry) => contents.get(owner.name)?.set(path, entry);
  const wanted = new Set(LOADED);
  const need = (bytes: Uint8Array, path: string) => {
    const { machine, needed } = readElf(bytes);
    if (machine !== platform.machine) throw new ImageError(`${path} is for ${machine}, not ${platform.machine}`);
    for (const name of needed) wanted.add(name);
  };
  const takeElf = (found: Found, mode: number) => {
    const bytes = new Uint8Array(readFileSync(found.source));
    need(bytes, found.path);
    add(found, file(bytes, mode));
  };

  need(executable, "the executable");
  for (const name of Object.values(PROGRAMS)) takeElf(find(packages, join("usr/sbin", name)), 0o755);
  // All of the extensions: iptables-save reads other programs' rules too, and fails at one whose extension it lacks.
  const extensions = join("usr/lib", platform.triplet, "xtables");
  const iptables = find(packages, join("usr/sbin", PROGRAMS.nft)).owner;
  for (const name of readdirSync(join(iptables.folder, extensions)).sort()) {
    const found = find(packages, join(extensions, name));
    if (lstatSync(found.source).isSymbolicLink()) add(found, symlink(readlinkSync(found.source)));
    else takeElf(found, 0o644);
  }
  // The set grows while it is walked through: a Set's iterator comes to what is added.
  for (const name of wanted) {
    const found = find(packages, join("usr/lib", platform.triplet, name));
    if (lstatSync(found.source).isSymbolicLink()) {
      const target = basename(readlinkSync(found.source));
      add(found, symlink(target));
      takeElf(find(packages, join(dirname(found.path), target)), 0o644);
    } else takeElf(found, name.startsWith("ld-") ? 0o755 : 0o644);
  }
  for (const [name, entry] of iptablesNames()) contents.get(iptables.name)?.set(join("usr/sbin", name), entry);
  return contents;
}

/** `iptables` and `ip6tables` are the nft ones, as on Debian; which of them a node's rules are in, the agent finds out. */
function iptablesNames(): [string, Entry][] {
  return ["iptables", "ip6tables"].flatMap((base) =>
    ["", "-save", "-restore"].flatMap((verb): [string, Entry][] => [
      [`${base}${verb}`, symlink(PROGRAMS.nft)],
      [`${base}-nft${verb}`, symlink(PROGRAMS.nft)],
      [`${base}-legacy${verb}`, symlink(PROGRAMS.legacy)],
    ]),
  );
}

function find(packages: readonly DebianPackage[], path: string): Found {
  // Some packages still name the folders that are links to those in /usr.
  for (const inPackage of [path, path.replace(/^usr\//, "")]) {
    for (const owner of packages) {
      const source = join(owner.folder, inPackage);
      if (isThere(source)) return { owner, path, source };
    }
  }
  throw new ImageError(`none of the packages ${packages.map(({ name }) => name).join(", ")} has ${path}`);
}

/** Also if it is a link to something that is not. */
function isThere(path: string): boolean {
  return existsSync(path) || lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}

/** The licence of a package, and its entry among those that are installed: scanners look for weak versions there. */
export function documentation({ name, control, folder }: DebianPackage): Tree {
  const [copyright, status] = [join("usr/share/doc", name, "copyright"), join("var/lib/dpkg/status.d", name)];
  const documents = join(folder, dirname(copyright));
  // Where one source makes several packages, their documents may be in one of them.
  if (lstatSync(documents).isSymbolicLink()) {
    return new Map([
      [dirname(copyright), symlink(readlinkSync(documents))],
      [status, file(control)],
    ]);
  }
  return new Map([
    [copyright, file(readFileSync(join(folder, copyright)))],
    [status, file(control)],
  ]);
}
