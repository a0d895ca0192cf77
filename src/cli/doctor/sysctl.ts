import { join } from "node:path";
import { readIfThere } from "./files.ts";

/** One kernel parameter, as in `net/ipv4/ip_forward`; undefined where the kernel has none of that name. */
export function sysctl(name: string): string | undefined {
  return readIfThere(join("/proc/sys", name))?.trim();
}

/** A parameter's name with dots, as sysctl(8) has it. */
export const dotted = (name: string): string => name.replaceAll("/", ".");

/** The commands that set a parameter now and at each start. */
export const keep = (setting: string): string =>
  `sysctl -w ${setting}\necho ${setting} >> /etc/sysctl.d/90-tartan.conf`;
