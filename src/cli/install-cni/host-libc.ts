import { dirname, join, sep } from "node:path";
import { hostPath } from "./host-path.ts";

/**
 * The C library of the host, seen from a container that has the host's root mounted somewhere. The container runtime runs
 * the plugin on the host, with that library and not with the image's; calling the host's own dynamic loader as a program,
 * with the host's folders of libraries, does the same from within the container, and needs no privilege.
 */

interface Abi {
  /** path of the dynamic loader, which the ABI fixes */
  readonly loader: string;
  /** Debian's name of it, for folders */
  readonly triplet: string;
}

const ABIS: Readonly<Record<string, Abi>> = {
  x64: { loader: "/lib64/ld-linux-x86-64.so.2", triplet: "x86_64-linux-gnu" },
  arm64: { loader: "/lib/ld-linux-aarch64.so.1", triplet: "aarch64-linux-gnu" },
};

export interface HostLibc {
  readonly root: string;
  readonly loader: string;
  /** of libraries */
  readonly folders: readonly string[];
}

/** @throws Error if the host has no glibc */
export function findHostLibc(root: string, arch: string = process.arch): HostLibc {
  const abi = ABIS[arch];
  if (abi === undefined) throw new Error(`the plugin is not made for ${arch}`);
  const loader = hostPath(root, abi.loader);
  if (loader === undefined) {
    throw new Error(
      `${root}${abi.loader} is missing: the C library of the host is not glibc, which the plugin needs; or ${root} is ` +
        "not the root of the host",
    );
  }
  const usual = ["/lib", "/usr/lib"].flatMap((folder) => [`${folder}/${abi.triplet}`, `${folder}64`, folder]);
  const present = usual.flatMap((folder) => hostPath(root, folder) ?? []);
  // glibc's libraries lie beside its loader, wherever that is.
  return { root, loader, folders: [...new Set([dirname(loader), ...present])] };
}

/** Runs a program with the host's loader and libraries, or with `--list` tells which libraries those are. */
export function loaderCommand({ loader, folders }: HostLibc, program: string, list?: "--list"): string[] {
  return [loader, "--inhibit-cache", "--library-path", folders.join(":"), ...(list ? [list] : []), program];
}

/** What the loader writes with `--list`. */
export interface Listing {
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Why a program can't run with the host's libraries, from the loader's own list of them.
 * @param versionOf reads a library's version of glibc
 * @returns undefined if nothing speaks against it
 */
export function libraryProblem(
  { root }: HostLibc,
  { stdout, stderr }: Listing,
  versionOf: (libc: string) => string | undefined,
): string | undefined {
  const found = new Map([...stdout.matchAll(/^\s*(\S+) => (.+?)(?: \(0x[\da-f]+\))?$/gm)].map(([, a, b]) => [a, b]));
  const needed = neededGlibc(stderr);
  if (needed !== undefined) {
    const libc = found.get("libc.so.6");
    const present = libc === undefined ? undefined : versionOf(libc);
    return `the host's glibc is ${present ?? "too old"}, and the plugin needs ${needed}`;
  }
  // Where the host lacks one, its loader takes the image's.
  const inRoot = join(root, sep);
  const missing = [...found].filter(([, path]) => !path?.startsWith(inRoot)).map(([name]) => name);
  if (missing.length > 0) return `the host lacks ${missing.join(", ")}, which the plugin needs`;
  if (found.has("libc.so.6")) return undefined;
  return `the host's loader does not list the plugin's libraries: ${stderr.trim() || stdout.trim() || "it says nothing"}`;
}

/** The newest version of glibc that the loader misses, as in `2.38`. */
export function neededGlibc(stderr: string): string | undefined {
  const versions = [...stderr.matchAll(/version [`']GLIBC_([\d.]+)' not found/g)].map(([, version = ""]) => version);
  return versions.sort(Bun.semver.order).at(-1);
}

/** The version that glibc has in its greeting, as in `2.36`. */
export function glibcVersion(libc: Uint8Array): string | undefined {
  const text = Buffer.from(libc.buffer, libc.byteOffset, libc.byteLength);
  const at = text.indexOf("GNU C Library ");
  const greeting = at < 0 ? "" : text.toString("latin1", at, at + 200);
  return / release version (\d+\.\d+)/.exec(greeting)?.[1];
}
