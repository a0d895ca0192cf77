import { readFileSync } from "node:fs";
import { describeError, hasCode } from "../base/errors.ts";
import { writeWholeFile } from "../base/write-file.ts";
import { parseSubnetFile } from "../config/subnet-env.ts";
import type { PerFamily } from "../net/family.ts";
import type { Prefix } from "../net/prefix.ts";

/** subnet.env as a file: read at the start, looked after, and written (flannel: WriteSubnetFile). */

export interface PreviousSubnet {
  readonly subnets: PerFamily<Prefix>;
  /** why the file could not be used; undefined also when there is none */
  readonly problem?: string;
}

/** The subnets that this node had before. A file that can't be used costs the memory of them, nothing else. */
export function readPreviousSubnet(path: string): PreviousSubnet {
  try {
    return { subnets: parseSubnetFile(readFileSync(path, "utf8")) };
  } catch (error) {
    if (hasCode(error, "ENOENT")) return { subnets: {} };
    return { subnets: {}, problem: `${path} is not used: ${describeError(error)}; it will be written anew` };
  }
}

/** Whether the file is there with exactly this text; otherwise what is wrong. */
export function subnetFileProblem(path: string, text: string): string | undefined {
  try {
    return readFileSync(path, "utf8") === text ? undefined : `${path} has other contents`;
  } catch (error) {
    return `${path} can't be read: ${describeError(error)}`;
  }
}

/** Writes the file as a whole, readable for all. @throws Error with its cause */
export function writeSubnetFile(path: string, text: string): void {
  writeWholeFile(path, text, { mode: 0o644, directoryMode: 0o755 });
}
