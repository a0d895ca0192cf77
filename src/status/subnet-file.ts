import { randomUUID } from "node:crypto";
import { chmodSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import * as v from "valibot";
import { describeError } from "../base/errors.ts";
import { FAMILIES, type Family, type PerFamily } from "../net/family.ts";
import { formatPrefix, makePrefix, nthAddress, type Prefix, splitCidr } from "../net/prefix.ts";

/** subnet.env, by which the CNI plugin learns this node's slice (flannel: WriteSubnetFile). */

export interface SubnetFileContent {
  readonly networks: PerFamily<Prefix>;
  readonly subnets: PerFamily<Prefix>;
  /** bytes; the smallest over the families */
  readonly mtu: number;
  readonly ipMasq: boolean;
}

const KEYS: Readonly<Record<Family, { network: string; subnet: string }>> = {
  4: { network: "FLANNEL_NETWORK", subnet: "FLANNEL_SUBNET" },
  6: { network: "FLANNEL_IPV6_NETWORK", subnet: "FLANNEL_IPV6_SUBNET" },
};

/** The file's text, byte for byte as flannel's: the subnet is written as its first usable address. */
export function renderSubnetFile({ networks, subnets, mtu, ipMasq }: SubnetFileContent): string {
  const lines: string[] = [];
  for (const family of FAMILIES) {
    const network = networks[family];
    const subnet = subnets[family];
    if (network === undefined || subnet === undefined) continue;
    lines.push(`${KEYS[family].network}=${formatPrefix(network)}`);
    lines.push(`${KEYS[family].subnet}=${nthAddress(subnet, 1n)}/${subnet.length}`);
  }
  lines.push(`FLANNEL_MTU=${mtu}`, `FLANNEL_IPMASQ=${ipMasq}`);
  return `${lines.join("\n")}\n`;
}

const Cidr = v.pipe(
  v.string(),
  v.transform(splitCidr),
  v.check((cidr) => cidr !== undefined, "is no address with a prefix length"),
);

const PreviousSubnets = v.object({
  [KEYS[4].subnet]: v.optional(Cidr),
  [KEYS[6].subnet]: v.optional(Cidr),
});

/** The subnets in a file's text. @throws Error that names the line's key */
export function parseSubnetFile(text: string): PerFamily<Prefix> {
  const entries = text.split("\n").flatMap((line) => {
    const match = /^\s*([A-Z][A-Z0-9_]*)=(.*?)\s*$/.exec(line);
    return match ? [[match[1], match[2]]] : [];
  });
  if (entries.length === 0) throw new Error("it has no line of the form KEY=value");
  const result = v.safeParse(PreviousSubnets, Object.fromEntries(entries));
  if (!result.success) throw new Error(`${v.getDotPath(result.issues[0])} ${result.issues[0].message}`);
  const subnets: PerFamily<Prefix> = {};
  for (const family of FAMILIES) {
    const cidr = result.output[KEYS[family].subnet];
    if (cidr === undefined) continue;
    const subnet = makePrefix(cidr.address, cidr.length);
    if (subnet.family !== family) throw new Error(`${KEYS[family].subnet} is no IPv${family} subnet`);
    subnets[family] = subnet;
  }
  return subnets;
}

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
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return { subnets: {} };
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

/** Writes the file so that a reader sees the old or the new one, never a part. @throws Error with its cause */
export function writeSubnetFile(path: string, text: string): void {
  const temporary = `${path}.${randomUUID()}`;
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
    writeFileSync(temporary, text);
    chmodSync(temporary, 0o644);
    renameSync(temporary, path);
  } catch (cause) {
    rmSync(temporary, { force: true });
    throw new Error(`write ${path}`, { cause });
  }
}
