import { readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { hasCode } from "../base/errors.ts";
import { isTemporaryName, writeWholeFile } from "../base/write-file.ts";
import { type DelegateConf, parseDelegateConf } from "./delegate-conf.ts";
import { isContainerId } from "./environment.ts";
import { CniError, CODE } from "./errors.ts";

/**
 * The data directory: for each container, under its id, the configuration with which the delegate was called. It is
 * flannel's, in its form, so that either plugin deletes the pods of the other. It knows containers and not interfaces:
 * of a container with two interfaces the later one's configuration stays.
 */

/** milliseconds; nobody takes this long to write a file */
const ABANDONED_MS = 60_000;

/** Written before the delegate is called, so that whatever it does can be found again. */
export function writeRecord(dataDir: string, containerId: string, conf: DelegateConf): void {
  const path = join(dataDir, containerId);
  try {
    writeWholeFile(path, JSON.stringify(conf), { mode: 0o600, directoryMode: 0o700, sync: true });
  } catch (cause) {
    const details = "the plugin keeps there how to release the pod's addresses; is the disk full or read-only?";
    throw new CniError(`the record of container ${containerId} is not kept`, { code: CODE.io, details, cause });
  }
}

/**
 * @returns "unreadable" for what flannel's plugin left half written; undefined if there is none
 * @throws CniError 5
 */
export function readRecord(dataDir: string, containerId: string): DelegateConf | "unreadable" | undefined {
  const path = join(dataDir, containerId);
  try {
    return parseDelegateConf(readFileSync(path, "utf8")) ?? "unreadable";
  } catch (cause) {
    if (hasCode(cause, "ENOENT", "ENOTDIR")) return undefined;
    throw new CniError(`read ${path}`, { code: CODE.io, cause });
  }
}

export function removeRecord(dataDir: string, containerId: string): void {
  rmSync(join(dataDir, containerId), { force: true });
}

/** The ids of all containers that have a record, of whatever network. @throws CniError 5 */
export function listRecords(dataDir: string): string[] {
  const isFile = (name: string) => statSync(join(dataDir, name), { throwIfNoEntry: false })?.isFile() === true;
  return namesIn(dataDir).filter((name) => isContainerId(name) && isFile(name));
}

/** Names in a directory; none if there is no such directory. @throws CniError 5 */
export function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (cause) {
    if (hasCode(cause, "ENOENT", "ENOTDIR")) return [];
    throw new CniError(`list ${directory}`, { code: CODE.io, cause });
  }
}

/** Removes what writers left that were killed while they wrote. */
export function removeAbandoned(dataDir: string, now = Date.now()): void {
  for (const name of namesIn(dataDir).filter(isTemporaryName)) {
    const file = join(dataDir, name);
    const info = statSync(file, { throwIfNoEntry: false });
    if (info !== undefined && now - info.mtimeMs > ABANDONED_MS) rmSync(file, { force: true });
  }
}
