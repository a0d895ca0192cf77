import { copyFileSync, mkdirSync, readFileSync, realpathSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { TemporaryFolder } from "../../support/temp.ts";

const LOADER = process.arch === "arm64" ? "/lib/ld-linux-aarch64.so.1" : "/lib64/ld-linux-x86-64.so.2";
const LIBRARIES = ["libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0"];

/** The folder of this machine's C library. */
const HERE = dirname(realpathSync(LOADER));

export const LIBC = join(HERE, "libc.so.6");

/** The version of glibc that this machine runs, as the library itself greets. */
export const GLIBC = /release version (\d+\.\d+)/.exec(readFileSync(LIBC, "latin1"))?.[1] ?? "";

/** A host's root with a real C library in it: this machine's, in a folder of its own, with the links that Debian has. */
export class HostRoot extends TemporaryFolder {
  constructor({ without, libc = readFileSync(LIBC) }: { without?: string; libc?: Uint8Array } = {}) {
    super();
    const folder = this.at("opt", "libraries");
    mkdirSync(folder, { recursive: true });
    for (const name of LIBRARIES) if (name !== without) copyFileSync(join(HERE, name), join(folder, name));
    copyFileSync(realpathSync(LOADER), join(folder, "loader"));
    writeFileSync(join(folder, "libc.so.6"), libc);
    mkdirSync(this.at(dirname(LOADER)));
    symlinkSync("/opt/libraries/loader", this.at(LOADER));
  }

  /** The path of the loader in it, without links. */
  get loader(): string {
    return this.at("opt", "libraries", "loader");
  }
}

/** This machine's C library, as one that is older: it says so, and lacks a version of its symbols. */
export function oldLibc(lacks: string, says: string): Uint8Array {
  const text = readFileSync(LIBC).toString("latin1");
  const other = `GLIBC_${"X".repeat(lacks.length)}`;
  return Buffer.from(
    text.replaceAll(`GLIBC_${lacks}\0`, `${other}\0`).replace(`release version ${GLIBC}`, `release version ${says}`),
    "latin1",
  );
}
