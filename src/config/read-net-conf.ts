import { readFile, stat } from "node:fs/promises";
import { type NetConfOptions, parseNetConf } from "./net-conf.ts";
import { NetConfError } from "./net-conf-error.ts";
import type { NetworkConfig } from "./network.ts";

/** bytes; the largest ConfigMap has 1 MiB */
const LARGEST = 1 << 20;

const ADVICE: Readonly<Record<string, string>> = {
  ENOENT: "does not exist; create it, or name another file with --net-config-path",
  ENOTDIR: "does not exist: a part of the path is not a directory; name another file with --net-config-path",
  EACCES: "is not readable (EACCES); check its permissions",
  EPERM: "is not readable (EPERM); check its permissions",
};

/**
 * Reads net-conf.json.
 * @throws NetConfError if there is no such file, it can't be read, or parseNetConf refuses it
 */
export async function readNetConf(
  path: string,
  options: NetConfOptions = {},
): Promise<{ config: NetworkConfig; warnings: string[] }> {
  return parseNetConf(decode(await readBytes(path), path), path, options);
}

async function readBytes(path: string): Promise<Uint8Array> {
  try {
    const info = await stat(path);
    if (info.isDirectory()) throw new NetConfError(`${path}: is a directory; name a file with --net-config-path`);
    // A pipe or a device could keep us waiting for ever.
    if (!info.isFile()) throw new NetConfError(`${path}: is not a regular file; name one with --net-config-path`);
    if (info.size > LARGEST)
      throw new NetConfError(`${path}: has ${info.size} bytes, more than the ${LARGEST} allowed`);
    return await readFile(path);
  } catch (error) {
    if (error instanceof NetConfError) throw error;
    const code = error instanceof Error && "code" in error ? String(error.code) : "";
    throw new NetConfError(`${path}: ${ADVICE[code] ?? `can't be read (${code || error})`}`, { cause: error });
  }
}

function decode(bytes: Uint8Array, path: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    throw new NetConfError(`${path}: is not UTF-8 text; write it anew as JSON`, { cause: error });
  }
}
