import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type Address, parseAddress } from "../net/address.ts";
import type { DelegateConf } from "./delegate-conf.ts";
import { namesIn } from "./records.ts";

/** What the IPAM plugin host-local has given out: a file for each address, named by it, with its holder in it. */

export interface GivenAddress {
  readonly address: Address;
  readonly containerId: string;
  /** undefined in files of very old versions */
  readonly ifName: string | undefined;
}

/** host-local's default data directory. */
const DATA_DIR = "/var/lib/cni/networks";

export function usesHostLocal({ ipam }: Pick<DelegateConf, "ipam">): boolean {
  return (ipam?.type ?? "host-local") === "host-local";
}

/** The directory with the addresses of the configuration's network. */
export function hostLocalFolder({ ipam, name }: Pick<DelegateConf, "ipam" | "name">): string {
  return join(ipam?.dataDir || DATA_DIR, name);
}

/** All that is given out in a network. @throws CniError 5 */
export function givenAddresses(folder: string): GivenAddress[] {
  return namesIn(folder).flatMap((name) => {
    // Beside them lie a lock and the last address that was given.
    const address = parseAddress(name);
    const holder = address === undefined ? [] : readLines(join(folder, name));
    const [containerId, ifName] = holder;
    return address === undefined || !containerId ? [] : [{ address, containerId, ifName: ifName || undefined }];
  });
}

function readLines(path: string): string[] {
  try {
    return readFileSync(path, "utf8").trim().split(/\s+/);
  } catch {
    // Released since the directory was listed.
    return [];
  }
}
