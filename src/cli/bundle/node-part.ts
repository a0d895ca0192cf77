import { readdirSync, readFileSync } from "node:fs";
import { arch, release } from "node:os";
import { join } from "node:path";
import { hasCode } from "../../base/errors.ts";
import { VERSION } from "../../base/version.ts";
import { runningAgents } from "../running-agents.ts";
import type { Collection } from "./collection.ts";

export interface NodeFiles {
  readonly subnetFile: string;
  readonly netConf: string;
  readonly cniFolder: string;
}

const SYSCTLS = [
  "net/ipv4/ip_forward",
  "net/ipv4/conf/all/rp_filter",
  "net/ipv4/conf/default/rp_filter",
  "net/ipv4/conf/all/forwarding",
  "net/ipv4/neigh/default/gc_thresh1",
  "net/ipv4/neigh/default/gc_thresh2",
  "net/ipv4/neigh/default/gc_thresh3",
  "net/ipv6/conf/all/disable_ipv6",
  "net/ipv6/conf/all/forwarding",
  "net/ipv6/neigh/default/gc_thresh3",
  "net/bridge/bridge-nf-call-iptables",
  "net/bridge/bridge-nf-call-ip6tables",
  "net/netfilter/nf_conntrack_count",
  "net/netfilter/nf_conntrack_max",
  "net/core/rmem_max",
];

/** Files and settings of this node. */
export async function takeNode(into: Collection, { subnetFile, netConf, cniFolder }: NodeFiles): Promise<void> {
  await into.take("node/subnet.env", `${subnetFile}, for the CNI plugin`, () => read(subnetFile));
  await into.take("node/net-conf.json", `${netConf}, the network's configuration`, () => read(netConf));
  await into.take("node/cni-files.txt", `names of the files in ${cniFolder}`, () => `${names(cniFolder).join("\n")}\n`);
  for (const name of safely(() => names(cniFolder)).filter((each) => /\.(conf|conflist|json)$/.test(each)))
    await into.take(`node/cni/${name}`, `${join(cniFolder, name)}, a CNI configuration`, () =>
      read(join(cniFolder, name)),
    );
  await into.take("node/os-release", "the distribution", () => read("/etc/os-release"));
  await into.take("node/modules.txt", "kernel modules that are loaded", () => read("/proc/modules"));
  await into.take("node/sysctls.txt", "kernel parameters that matter to pods", sysctls);
  await into.take("node/agents.json", "agents that run here", () => runningAgents());
  await into.take("versions.json", "versions", () => ({
    executable: VERSION,
    bun: Bun.version,
    kernel: release(),
    architecture: arch(),
  }));
}

/** @returns undefined where there is no such file */
function read(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (hasCode(error, "ENOENT", "ENOTDIR")) return undefined;
    throw error;
  }
}

function names(folder: string): string[] {
  return readdirSync(folder).sort();
}

function safely(look: () => string[]): string[] {
  try {
    return look();
  } catch {
    // The list of names says why.
    return [];
  }
}

function sysctls(): string {
  const lines = SYSCTLS.map(
    (path) =>
      `${path.replaceAll("/", ".")} = ${safely(() => [read(`/proc/sys/${path}`)?.trim() ?? "(none)"])[0] ?? "(not readable)"}`,
  );
  return `${lines.join("\n")}\n`;
}
