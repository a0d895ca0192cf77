import { readFileSync } from "node:fs";
import { Nftables } from "../ffi/libnftables.ts";
import { Nfnetlink } from "../ffi/nfnetlink.ts";
import { NftablesWatch } from "../ffi/nftables-watch.ts";
import { LegacyTables } from "../ffi/xtables.ts";
import type { Family } from "../net/family.ts";
import { type RunCommand, runCommand } from "./command.ts";

/** The packet filters of one network namespace, as far as they are asked and changed from here. */
export interface Host {
  readonly run: RunCommand;
  /** @returns the program's path, if it is on the PATH */
  which(program: string): string | undefined;
  /** @returns the text of a file of the kernel's; undefined if there is none */
  read(path: string): string | undefined;
  openNfnetlink(): Nfnetlink;
  watchNftables(onChange: () => void): NftablesWatch;
  openNftables(): Nftables;
  openLegacyTables(family: Family): LegacyTables;
}

/** This process's. */
export const thisHost: Host = {
  run: runCommand,
  which: (program) => Bun.which(program) ?? undefined,
  read: readIfPresent,
  openNfnetlink: () => new Nfnetlink(),
  watchNftables: (onChange) => new NftablesWatch(onChange),
  openNftables: () => new Nftables(),
  openLegacyTables: (family) => new LegacyTables(family),
};

function readIfPresent(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
